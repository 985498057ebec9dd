"""Second-order unlearning of the last layer."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.losses.newton import influence_step, newton_step
from lethe.models.base import IGNORED, Model
from lethe.registry import method
from lethe.request import Record, Request, classes_of


@method(
    families={"language", "classifier"},
    needs={"logits"},
    intent="removal",
    level="parameter",
    paper="1911.03030",
    requires={"forget", "retain"},
    presets={"paper": {"solver": "newton", "steps": 1, "damping": 1e-4}},
)
def newton(
    model: Model,
    request: Request,
    *,
    solver: Literal["influence", "newton"] = "influence",
    steps: int = 10,
    damping: float = 3e-3,
    alpha: float = 1.0,
    iterations: int = 50,
) -> Model:
    """Newton: move the last layer to where the retain records alone would have it, by its curvature.

    One step is what certified removal takes on a linear model; several retrain the head, all below it unchanged. The
    Hessian is never formed: conjugate gradient on its products. Nothing is certified for a network, whose features have
    seen the forget records.

    Args:
        solver: influence adds the inverse Hessian times the forget gradient once, as if the head stood at the optimum
            of all records; newton steps on the regularised retain loss, wherever the head stands.
        steps: Newton steps; influence always takes one.
        damping: Weight of ||W||^2 / 2 beside the mean loss per token (newton), or added to the Hessian (influence).
        alpha: Factor of the influence step.
        iterations: Conjugate-gradient iterations per step.

    Raises:
        InputError: If the last layer is no linear one of its own (tied embeddings), a classifier's records have several
            labels, or a number is out of range.
    """
    if steps < 1 or iterations < 1 or not damping > 0:
        raise InputError(
            f"newton: steps={steps} and iterations={iterations} must be at least 1, damping={damping} above 0."
        )
    if model.family == "classifier":
        classes_of(request.forget, "newton")
    unlearned = model.copy()
    head = _head(unlearned)
    forget, retain = (_rows(unlearned, head, records) for records in (request.forget, request.retain))
    weight = _joined(head)
    if solver == "influence":
        weight = weight + alpha * influence_step(weight, forget, retain, damping, iterations)
    else:
        for _ in range(steps):
            weight = newton_step(weight, *retain, damping, iterations)
    with torch.no_grad():
        head.weight.copy_(weight[:, : head.in_features])
        if (bias := _bias(head)) is not None:
            bias.copy_(weight[:, -1])
    return unlearned


def _head(model: Model) -> nn.Linear:
    module: Any = model.module
    found = getattr(module, "get_output_embeddings", lambda: None)()
    if model.family == "classifier":
        linear = [one for one in module.modules() if isinstance(one, nn.Linear)]
        found = linear[-1] if linear else None
    if not isinstance(found, nn.Linear):
        raise InputError(f"newton: {type(module).__name__} has no linear last layer.")
    embeddings = getattr(module, "get_input_embeddings", lambda: None)() if model.family == "language" else None
    if embeddings is not None and embeddings.weight is found.weight:
        raise InputError(
            f"newton: the last layer of {type(module).__name__} is its input embedding, too; untie them first."
        )
    return found


def _joined(head: nn.Linear) -> Tensor:
    """Weight and bias as one matrix (V, D [+ 1]), float64."""
    bias = _bias(head)
    parts = [head.weight] if bias is None else [head.weight, bias[:, None]]
    return torch.cat(parts, 1).detach().double()


def _bias(head: nn.Linear) -> Tensor | None:
    return head.bias


def _rows(model: Model, head: nn.Linear, records: Sequence[Record]) -> tuple[Tensor, Tensor]:
    """What the head reads at every scored token (N, D [+ 1]), and the labels (N,)."""
    seen: list[Tensor] = []
    features, labels = [], []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with model.evaluating():
            for batch in model.batches(model.encode(records)):
                seen.clear()
                model.logits(batch)
                read = seen[0] if seen[0].dim() == 3 else seen[0][:, None]  # a classifier is a sequence of one
                scored = batch.labels != IGNORED
                features.append(read[:, : scored.shape[1]][scored].double())
                labels.append(batch.labels[scored])
    finally:
        hook.remove()
    found = torch.cat(features)
    if _bias(head) is not None:
        found = torch.cat([found, torch.ones_like(found[:, :1])], 1)
    return found, torch.cat(labels)
