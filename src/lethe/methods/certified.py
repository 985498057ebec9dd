"""Certified removal from the linear head of a network."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.descent.features import class_features
from lethe.errors import InputError
from lethe.losses.certified import budget, fit, gradient, remove
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request, classes_of

SCALES = [2.0**k for k in range(-6, 11)]  # of the head's scores; those of rows no longer than 1 are small


@method(
    families={"classifier"}, needs={"logits", "features"}, intent="removal", level="parameter", paper="1911.03030",
    requires={"forget", "retain"},
)  # fmt: skip
def certified(
    model: Model,
    request: Request,
    *,
    damping: float = 1e-2,
    sigma: float = 1.0,
    epsilon: float = 1.0,
    delta: float = 1e-4,
    over_budget: Literal["refuse", "retrain"] = "retrain",
    at_once: int = 1,
    seed: int | None = None,
) -> Model:
    """Certified removal of the linear head alone: (epsilon, delta) for what it says given the features below it.

    The head is fitted to the frozen features of all records, each class against the rest, with noise in its objective;
    Newton steps then remove the forget records. The layers below have seen the forget records and keep what they learnt
    of them: for the network nothing is certified. A folder of weights holds no rows, so every request starts with a new
    fit; where requests come one after another keep a `lethe.certified.CertifiedClassifier`, and the noise to yourself.

    Rows must be no longer than 1: features, less the mean of the retain records, and a constant for the bias are
    divided by their length where it is above 1. The head is then set back to the features as they are, and scaled so
    that the retain records are the most likely. All this depends on these records alone, so it changes no certificate.

    Args:
        damping: Weight lambda of ||w||^2 / 2 per record.
        sigma: Standard deviation of the noise; more noise, more budget, less accuracy.
        epsilon: Certified bound on the privacy loss, nats.
        delta: Probability with which it may be exceeded.
        over_budget: What becomes of a request that the budget does not cover: refuse, or retrain (the head, on the
            retain records, with new noise).
        at_once: Records removed per Newton step; one by one costs the least budget and the most time.
        seed: Seed of the noise; the request's where none is given. Whoever knows it can take the noise off again.

    Raises:
        InputError: If the network does not end in a linear layer, a number is out of range, or (over_budget=refuse) the
            budget does not cover the request.
    """
    allowed = budget(sigma, epsilon, delta)
    if not damping > 0 or at_once < 1:
        raise InputError(f"certified: damping={damping:g} must be above 0, at_once={at_once} at least 1.")
    classes_of(request.forget, "certified")
    served = model.copy()
    head = _head(served, request)
    bias = _bias(head)
    records = [*request.forget, *request.retain]
    features, labels, classes = class_features(served, served.encode(records))
    centre = features[len(request.forget) :].double().mean(0) * (bias is not None)
    rows = _shortened(features.double() - centre, bias is not None)
    answers = torch.where(labels == torch.arange(classes, device=labels.device)[:, None], 1.0, -1.0).double()
    gone = torch.arange(len(records), device=rows.device) < len(request.forget)
    rng = torch.Generator().manual_seed(request.seed if seed is None else seed)

    def noise() -> Tensor:
        drawn = torch.randn(classes, rows.shape[1], generator=rng, dtype=torch.float64)
        return (sigma * drawn).to(rows.device)

    first = noise()
    weights = fit(rows, answers, damping, first)
    made = remove(weights, rows, answers, gone, damping, at_once=at_once)
    spent = float((gradient(weights, rows, answers, damping, first, "logistic").norm(dim=-1) + made.bound).norm())
    weights = made.weights
    if spent > allowed:
        if over_budget == "refuse":
            raise InputError(
                f"certified: removing {len(request.forget)} records would spend {spent:.3g} of a budget of "
                f"{allowed:.3g}; give over_budget=retrain, or more sigma or damping."
            )
        weights = fit(rows[~gone], answers[:, ~gone], damping, noise())
    kept = features[len(request.forget) :].double() - centre
    said = kept @ weights[:, : kept.shape[1]].T + (weights[:, -1] if bias is not None else 0.0)
    weights = weights * min(SCALES, key=lambda scale: float(F.cross_entropy(scale * said, labels[~gone])))
    with torch.no_grad():
        head.weight.copy_(weights[:, : head.in_features])
        if bias is not None:
            bias.copy_(weights[:, -1] - weights[:, :-1] @ centre)
    return served


def _head(model: Model, request: Request) -> nn.Linear:
    """The last linear layer, if what it says is what the network says."""
    module: Any = model.module
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if linear:
        batch = next(model.batches(model.encode(request.forget[:2])))
        with model.evaluating():
            said, read = model.logits(batch)[:, 0], model.features(batch)  # pyright: ignore[reportAttributeAccessIssue]
            if read.dim() == 2 and said.shape[-1] == linear[-1].out_features and torch.equal(linear[-1](read), said):
                return linear[-1]
    raise InputError(
        f"certified: {type(module).__name__} does not end in a linear layer, and only such a head can be certified; "
        "take another method."
    )


def _bias(head: nn.Linear) -> Tensor | None:
    return head.bias


def _shortened(features: Tensor, bias: bool) -> Tensor:
    """Features with a constant for the bias, no longer than 1."""
    rows = torch.cat([features, torch.ones_like(features[:, :1])], 1) if bias else features
    return rows / rows.norm(dim=1).clamp(min=1)[:, None]
