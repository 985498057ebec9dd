"""Quantisation: does knowledge return when the weights are rounded?"""

from collections.abc import Iterator, Sequence
from functools import cache
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Request

Grid = Literal["uniform", "normal"]
Scale = Literal["channel", "tensor", "block"]
MOST: dict[str, int] = {"uniform": 16, "normal": 8}  # bits


@attack(
    needs={"loss"}, paper="2410.16454", requires={"forget"}, check="R5", evidence_class="E3", unit="bits",
    budgets={
        "quick": ("",),
        "standard": ("", "bits=4,grid=normal,scale=block"),
        "thorough": ("", "bits=4,grid=normal,scale=block", "scale=tensor", "scale=block", "bits=3,grid=normal"),
    },
    presets={"nf4": {"bits": (4,), "grid": "normal", "scale": "block", "block": 64}},
)  # fmt: skip
def quantize(
    model: Model,
    request: Request,
    *,
    bits: tuple[int, ...] = (8, 4),
    grid: Grid = "uniform",
    scale: Scale = "channel",
    block: int = 64,
) -> Iterator[Tampered]:
    """Round all weight matrices to a few bits: small unlearning steps inside one rounding cell are undone.

    Weight-only and to the nearest level; simulated in the weights' own type. Biases and norms stay as they are. The
    preset nf4 is QLoRA's data type (arXiv 2305.14314) without its second quantisation, that of the scales.

    Args:
        bits: Bits per weight, each 2 to 16 (to 8 on the normal grid).
        grid: uniform (2^bits - 1 evenly spaced levels) or normal (2^bits NormalFloat levels, evenly likely under a
            normal distribution).
        scale: What shares one scale, the largest |weight| in it: channel (of outputs), tensor, or block.
        block: Weights of a block, in the order in which they are stored.

    Raises:
        InputError: If a number of bits is out of range, or a block is empty.
    """
    most = MOST[grid]
    if not bits or any(not 2 <= b <= most for b in bits):
        raise InputError(f"quantize: bits are {bits}; give numbers from 2 to {most}, as in 8 and 4.")
    if block < 1:
        raise InputError(f"quantize: a block of {block} weights is empty; give 1 or more, as in 64.")
    for width in bits:
        levels = LEVELS[grid](width)
        rounded = model.copy()
        with torch.no_grad():
            for module in rounded.module.modules():
                for weight in module.parameters(recurse=False):
                    if weight.dim() >= 2:
                        weight.copy_(_rounded(module, weight, levels, scale, block))
        yield Tampered(rounded, float(width), request.forget)


@cache
def uniform(bits: int) -> tuple[float, ...]:
    """2^bits - 1 levels from -1 to 1, evenly spaced."""
    top = 2 ** (bits - 1) - 1
    return tuple(level / top for level in range(-top, top + 1))


@cache
def normal_float(bits: int) -> tuple[float, ...]:
    """The 2^bits levels of NormalFloat from -1 to 1, increasing (QLoRA, arXiv 2305.14314, section 3).

    Quantiles of the standard normal distribution at evenly spaced probabilities on each side of 0, scaled to 1: half of
    the levels above 0, and one fewer below it, for 0 is a level, too.
    """
    half = 2 ** (bits - 1)
    outermost = 1 - (1 / (4 * half) + 1 / (4 * half - 2)) / 2

    def side(count: int) -> list[float]:
        """`count` quantiles on the way from the outermost to the middle, which is left out."""
        probabilities = (outermost + (0.5 - outermost) * step / count for step in range(count))
        return [NormalDist().inv_cdf(probability) for probability in probabilities]

    above, below = side(half), side(half - 1)
    return tuple(sorted([*(value / above[0] for value in above), 0.0, *(-value / below[0] for value in below)]))


LEVELS = {"uniform": uniform, "normal": normal_float}


def round_to_nearest(weight: Tensor, levels: Sequence[float], dims: tuple[int, ...]) -> Tensor:
    """The nearest level times the largest |w| over `dims`.

    A weight that moved without leaving its rounding cell, while the largest one stayed, comes out as before.

    Args:
        weight: Any shape.
        levels: From -1 to 1, increasing.
        dims: The dimensions that share one scale.
    """
    known = torch.tensor(levels, dtype=torch.float64, device=weight.device)
    largest = weight.abs().amax(dims, keepdim=True).double()
    share = (weight.double() / largest.clamp(min=torch.finfo(torch.float64).tiny)).contiguous()
    nearest = known[torch.bucketize(share, (known[1:] + known[:-1]) / 2)]
    return (nearest * largest).to(weight.dtype)


def _rounded(module: nn.Module, weight: Tensor, levels: Sequence[float], scale: Scale, block: int) -> Tensor:
    if scale == "tensor":
        return round_to_nearest(weight, levels, tuple(range(weight.dim())))
    if scale == "channel":
        return round_to_nearest(weight, levels, _input_dims(module, weight))
    flat = weight.flatten()
    rows = nn.functional.pad(flat, (0, -len(flat) % block)).view(-1, block)
    return round_to_nearest(rows, levels, (1,)).flatten()[: len(flat)].view_as(weight)


def _input_dims(module: nn.Module, weight: Tensor) -> tuple[int, ...]:
    """The dimensions that one output channel spans."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return tuple(range(1, weight.dim()))
    if type(module).__name__ == "Conv1D":  # GPT-2's linear layer keeps (inputs, outputs)
        return (0,)
    return (weight.dim() - 1,)  # linear, embedding, and the stacked matrices (experts, outputs, inputs) of a mixture
