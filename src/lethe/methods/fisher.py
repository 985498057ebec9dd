"""Noise where the retain set does not mind it."""

from __future__ import annotations

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.weights import fisher_spread
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request, classes_of

CEILING, HEAD_CEILING = 1e3, 1e2  # largest inverse Fisher information, and the last layer's
MORE = 10.0  # times as much variance in the last layer and in vectors


@method(
    families={"classifier"}, needs={"logits"}, intent="removal", level="parameter", paper="1911.04933",
    requires={"retain", "forget"},
)  # fmt: skip
def fisher(model: Model, request: Request, *, alpha: float = 1e-6, seed: int | None = None) -> Model:
    """Fisher forgetting: disturb every weight by as much as the retain set can bear, once.

    Where whole classes are forgotten, the head's rows of these classes are drawn anew around 0.

    Args:
        alpha: Scale of the noise's variance.
        seed: Seed of the noise; the request's where none is given.

    Raises:
        InputError: If alpha is negative.
    """
    if alpha < 0:
        raise InputError(f"fisher: alpha is {alpha:g}; it scales a variance, give 0 or more.")
    noisy = model.copy()
    information = expected_fisher(noisy, request)
    rng = torch.Generator().manual_seed(request.seed if seed is None else seed)
    head = [name for name, weight in noisy.module.named_parameters() if weight.dim() == 2][-1].rpartition(".")[0]
    gone: set[int] = set()
    if all("label" in record for record in (*request.forget, *request.retain)):  # several labels are no class
        gone = set(classes_of(request.forget, "fisher")) - set(classes_of(request.retain, "fisher"))
    with torch.no_grad():
        for name, weight in noisy.module.named_parameters():
            last = name.rpartition(".")[0] == head
            spread = fisher_spread(information[name], alpha, HEAD_CEILING if last else CEILING)
            if weight.dim() > 1:
                spread = spread.mean(1, keepdim=True).expand_as(weight)
            if last or weight.dim() == 1:
                spread = spread * MORE
            mean = weight.clone()
            if last:  # of no other layer, even one whose width happens to be the number of classes
                for label in gone:
                    mean[label], spread = 0.0, spread.clone()
                    spread[label] = 1e-4 * (alpha > 0)
            noise = torch.randn(weight.shape, generator=rng).to(weight)
            weight.copy_(mean + spread.sqrt() * noise if alpha > 0 else weight)
    return noisy


def expected_fisher(model: Model, request: Request) -> dict[str, Tensor]:
    """Diagonal Fisher information on the retain set: squared gradients of log p(y), averaged over data and y ~ p."""
    named = dict(model.module.named_parameters())
    total = {name: torch.zeros_like(weight) for name, weight in named.items()}
    examples = model.encode(request.retain)
    with model.evaluating(), torch.enable_grad():
        for row, example in enumerate(examples):
            logp = model.logits(model.collate([example], [row]).to(model.device))[0].log_softmax(-1).flatten()
            # Labels of one record are independent under the model, and scores have mean 0: their information adds up.
            for label, share in enumerate(logp.detach().exp().tolist()):
                slopes = torch.autograd.grad(
                    logp[label], list(named.values()), retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for name, slope in zip(named, slopes, strict=True):
                    total[name] += share * slope.square()
    return {name: value / len(examples) for name, value in total.items()}
