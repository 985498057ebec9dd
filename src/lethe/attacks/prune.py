"""Pruning: was the forgetting written into weights that hardly matter?"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.descent.adapters import aimed
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.losses.pruning import lowest, wanda
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.models.projections import ATTENTION, OUTPUT, input_norms
from lethe.registry import attack
from lethe.request import Request

Masked = tuple[Tensor, Tensor]  # a weight, and what of it is set to zero

CURVE = "0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7"


@attack(
    needs={"loss"}, paper="2306.11695", requires={"forget"}, check="R6", evidence_class="E3", unit="share",
    budgets={
        "quick": ("",),
        "standard": ("", "variant=wanda", "variant=structured"),
        "thorough": (f"shares={CURVE}", f"variant=wanda,shares={CURVE}", f"variant=structured,shares={CURVE}"),
    },
)  # fmt: skip
def prune(
    model: Model,
    request: Request,
    *,
    variant: Literal["magnitude", "wanda", "structured"] = "magnitude",
    shares: tuple[float, ...] = (0.1, 0.3, 0.5),
    calibration: int = 32,
) -> Iterator[Tampered]:
    """Set the weights that matter least to zero; all else stays as it is.

    magnitude: the smallest |w| of each tensor but embeddings and a language model's output head (a network of nothing
    else is pruned in its embeddings). wanda: the smallest |w| times the norm of its input over retain records, in each
    output row of every linear and convolution layer but that head (the stacked experts of a mixture stay). structured:
    whole hidden units, those that write least, of every layer (of a language model's MLPs, each expert's). Of equal
    scores the first goes.

    Args:
        variant: What is removed: magnitude, wanda or structured.
        shares: Shares that are removed, each 0 to below 1; 0 is the model itself.
        calibration: Retain records, from the first, that wanda reads; 0 takes all.

    Raises:
        InputError: If a share is out of range, wanda has no retain records, or the model has no such layers.
    """
    if not shares or any(not 0 <= share < 1 for share in shares):
        raise InputError(
            f"prune: shares are {shares}; give shares of the weights from 0 to below 1, as in 0.1 and 0.3."
        )
    norms = _input_norms(model, request, calibration) if variant == "wanda" else {}
    for share in sorted(set(shares)):
        pruned = model.copy()
        with torch.no_grad():
            for weight, mask in VARIANTS[variant](pruned, share, norms):
                weight.masked_fill_(mask, 0)
        yield Tampered(pruned, share, request.forget)


def _input_norms(model: Model, request: Request, calibration: int) -> dict[str, Tensor]:
    if not request.retain:
        raise InputError("prune: variant=wanda reads retain records; there are none: give some, or variant=magnitude.")
    records = request.retain[:calibration] if calibration else request.retain
    return input_norms(model, aimed(model.inner, (), "prune", matrices=True), records)


def _by_magnitude(model: Model, share: float, _: Mapping[str, Tensor]) -> Iterator[Masked]:
    module: Any = model.inner
    head = getattr(module, "get_output_embeddings", lambda: None)()
    spared = [m for m in module.modules() if m is head or isinstance(m, nn.Embedding)]
    kept = {id(weight) for m in spared for weight in m.parameters(recurse=False)}
    every = [weight for weight in module.parameters() if weight.dim() >= 2]
    for weight in [weight for weight in every if id(weight) not in kept] or every:
        yield weight, lowest(weight.abs().view(1, -1), share).view_as(weight)


def _by_input(model: Model, share: float, norms: Mapping[str, Tensor]) -> Iterator[Masked]:
    modules = dict(model.inner.named_modules())
    for name, known in norms.items():
        weight = _weight(modules[name])
        kernel = weight[0, 0].numel()
        scores = wanda(weight.flatten(1), known.repeat_interleave(kernel))
        yield weight, lowest(scores, share).view_as(weight)


def _by_unit(model: Model, share: float, _: Mapping[str, Tensor]) -> Iterator[Masked]:
    """A unit is a column of the layer that reads it: without that, nothing of the unit is left."""
    for weight in _read(model):
        stacked = weight if weight.dim() == 3 else weight.flatten(0, -2)[None]  # experts have units of their own
        mask = lowest(stacked.norm(dim=1), share)
        yield weight, mask[:, None] if weight.dim() == 3 else mask[0]


def _read(model: Model) -> list[Tensor]:
    """Weights that read hidden units: (outputs, units), (experts, outputs, units), (outputs, height, width, units)."""
    modules: dict[str, Any] = dict(model.inner.named_modules())
    if not isinstance(model, LanguageModel):
        layers = aimed(model.inner, (), "prune", matrices=True)
        return [_weight(modules[name]).movedim(1, -1) for name in layers[1:]]  # the first one reads the data
    ends = {
        name: weight
        for full, weight in model.inner.named_parameters()
        if weight.dim() >= 2 and OUTPUT.search(name := full.removesuffix(".weight")) and not ATTENTION.search(name)
    }
    if not ends:
        raise InputError(f"prune: {type(model.inner).__name__} has no layer that ends an MLP; take another variant.")
    return [_weight(modules[name]) if name in modules else weight for name, weight in ends.items()]


VARIANTS = {"magnitude": _by_magnitude, "wanda": _by_input, "structured": _by_unit}


def _weight(layer: Any) -> Tensor:
    """(outputs, inputs, ...), sharing memory with the layer's weight; GPT-2's Conv1D stores it transposed."""
    return layer.weight.T if type(layer).__name__ == "Conv1D" else layer.weight
