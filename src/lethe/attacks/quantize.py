"""Quantisation: does knowledge return when the weights are rounded?"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Request


@attack(
    needs={"loss"}, paper="2410.16454", requires={"forget"}, check="R5", evidence_class="E3", unit="bits",
    budgets={"quick": ("",)},
)  # fmt: skip
def quantize(model: Model, request: Request, *, bits: tuple[int, ...] = (8, 4)) -> Iterator[Tampered]:
    """Round all weight matrices to a few bits: small unlearning steps inside one rounding cell are undone.

    Weight-only, round to nearest, symmetric, one scale per output channel; simulated in the weights' own type.
    Biases and norms stay as they are.

    Args:
        bits: Bits per weight, each 2 to 16.

    Raises:
        InputError: If a number of bits is out of range.
    """
    if not bits or any(not 2 <= b <= 16 for b in bits):
        raise InputError(f"quantize: bits are {bits}; give numbers from 2 to 16, as in 8 and 4.")
    for width in bits:
        rounded = model.copy()
        with torch.no_grad():
            for module in rounded.module.modules():
                for weight in module.parameters(recurse=False):
                    if weight.dim() >= 2:
                        weight.copy_(round_to_nearest(weight, width, _input_dims(module, weight)))
        yield Tampered(rounded, float(width), request.forget)


def round_to_nearest(weight: Tensor, bits: int, dims: tuple[int, ...]) -> Tensor:
    """The nearest of 2^bits - 1 levels, evenly spaced between plus and minus the largest |w| over `dims`.

    A weight that moved without leaving its rounding cell, while the largest one stayed, comes out as before.
    """
    levels = 2 ** (bits - 1) - 1
    step = weight.abs().amax(dims, keepdim=True) / levels
    return torch.where(step > 0, (weight / step).round() * step, weight)


def _input_dims(module: nn.Module, weight: Tensor) -> tuple[int, ...]:
    """The dimensions that one output channel spans."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return tuple(range(1, weight.dim()))
    if type(module).__name__ == "Conv1D":  # GPT-2's linear layer keeps (inputs, outputs)
        return (0,)
    return (weight.dim() - 1,)  # linear, embedding, and the stacked matrices (experts, outputs, inputs) of a mixture
