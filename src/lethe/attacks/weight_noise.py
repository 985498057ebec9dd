"""Noise on the weights: is the forgetting as robust as what it hides?"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lethe.data.held import held_and_others
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.losses.weights import shift
from lethe.models.base import Example, Model, per_example
from lethe.registry import attack
from lethe.request import Request


@attack(
    needs={"loss"}, paper="2506.09227", requires={"forget"}, check="R6", evidence_class="E3", unit="RMS",
    budgets={
        "quick": ("draws=2",),
        "standard": ("",),
        "thorough": ("draws=16,scales=0.02,0.05,0.1,0.2,0.4",),
    },
)  # fmt: skip
def weight_noise(
    model: Model,
    request: Request,
    *,
    scales: tuple[float, ...] = (0.05, 0.1, 0.2),
    draws: int = 4,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Add Gaussian noise to every tensor, keep the draw under which the attacker's own records are likeliest.

    What was suppressed by a finely tuned change may come back once that change is blurred. Every tensor's noise is
    scaled by its own root mean square; a draw has one direction, whatever the scale.

    Args:
        scales: Standard deviations of the noise, in root mean squares of each tensor; 0 is the model itself.
        draws: Directions that are tried; the best is chosen at each scale.
        share: Share of the forget records that choose the draw; the others are looked at.
        seed: Seed of the draws; the request's where none is given.

    Raises:
        InputError: If a scale is negative, there is no draw, or the share leaves no record on one of the two sides.
    """
    if not scales or any(not 0 <= scale < float("inf") for scale in scales) or draws < 1:
        raise InputError(
            f"weight_noise: scales are {scales} and draws {draws}; give scales of 0 or more, and at least one draw."
        )
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "weight_noise")
    examples = model.encode(held)
    best = {scale: (float("inf"), 0) for scale in sorted(set(scales))}
    for draw in range(draws):
        direction = noise(model, seed, draw)
        for scale in best:
            best[scale] = min(best[scale], (_loss(_moved(model, direction, scale), examples), draw))
    for scale, (_, draw) in best.items():
        yield Tampered(_moved(model, noise(model, seed, draw), scale), scale, others)


def noise(model: Model, seed: int, draw: int) -> dict[str, Tensor]:
    """One direction over all weights: standard normal numbers times each tensor's root mean square."""
    rng = torch.Generator().manual_seed(seed * 1_000_003 + draw)
    return {
        name: torch.randn(weight.shape, generator=rng).to(weight) * weight.pow(2).mean().sqrt()
        for name, weight in model.inner.named_parameters()
    }


def _moved(model: Model, direction: Mapping[str, Tensor], scale: float) -> Model:
    moved = model.copy()
    weights = dict(moved.inner.named_parameters())
    moved.inner.load_state_dict(shift(weights, direction, scale), strict=False)
    return moved


def _loss(model: Model, examples: Sequence[Example]) -> float:
    """Mean loss per scored token over the examples."""
    sizes = torch.tensor([example.size for example in examples])
    return float((per_example(model, examples) / sizes).mean())
