"""Activation noise: does what is hidden come forth when the states are disturbed?"""

from collections.abc import Iterator

import torch

from lethe.data.held import held_and_others
from lethe.data.order import mix
from lethe.descent.activations import chosen_blocks, increasing, most_telling, scale
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, Place, steered
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"hidden"}, paper="2502.05209", requires={"forget"},
    check="R7", evidence_class="E3", unit="RMS of the states",
    budgets={"quick": ("draws=2",), "standard": ("draws=16",), "thorough": ("draws=128,scales=0.05,0.1,0.2,0.4,0.8",)},
)  # fmt: skip
def activation_noise(
    model: LanguageModel,
    request: Request,
    *,
    scales: tuple[float, ...] = (0.1, 0.2, 0.4),
    draws: int = 4,
    layers: tuple[int, ...] = (),
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Add Gaussian noise to the outputs of all blocks; of several draws the most telling one is looked at.

    A draw is one vector per block, the same for every token, so that an answer hangs on nothing else in its batch. At
    each scale the draw counts under which the attacker's own share of the records is likeliest; looked at are the
    others. It is the weakest way to change activations: a failure says little.

    Args:
        scales: Standard deviations of the noise, in root mean squares of each block's outputs; 0 is none.
        draws: Draws to choose from.
        layers: Blocks to disturb, negative counts from the end; all where none is named.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of all draws; the request's where none is given.

    Raises:
        InputError: If a scale or the number of draws is out of range, there is no such block, or the share leaves no
            record on one of the two sides.
    """
    sizes = increasing(scales, "activation_noise", "scales")
    if draws < 1:
        raise InputError(f"activation_noise: draws is {draws}; at least one draw is needed.")
    blocks = chosen_blocks(model, layers, "activation_noise")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "activation_noise")
    examples = model.encode(held)
    lengths = {block: scale(model, examples, block) for block in blocks}

    def disturbed(size: float, draw: int) -> LanguageModel:
        changes: dict[Place, torch.nn.Module] = {}
        for block, (length, width) in lengths.items():
            noise = torch.randn(width, generator=torch.Generator().manual_seed(mix(seed, 59, draw, block)))
            changes[block] = Added(size * length / width**0.5 * noise.to(model.device))
        return steered(model, changes)

    for size in sizes:
        _, best = most_telling(((draw, disturbed(size, draw)) for draw in range(draws)), examples)
        yield Tampered(best, size, others)
