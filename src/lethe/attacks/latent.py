"""Latent attack: does one vector, added inside the model, bring the answers back?"""

from collections.abc import Iterator

from lethe.data.held import held_and_others
from lethe.descent.activations import chosen_blocks, increasing, universal
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, steered
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"hidden"}, paper="2502.05209", requires={"forget"},
    check="R7", evidence_class="E3", unit="mean state lengths",
    budgets={
        "quick": ("radii=0.5,1",),
        "standard": ("steps=30",),
        "thorough": tuple(f"steps=100,radii=0.25,0.5,1,2,seed={seed}" for seed in range(3)),
    },
)  # fmt: skip
def latent(
    model: LanguageModel,
    request: Request,
    *,
    radii: tuple[float, ...] = (0.25, 0.5, 1.0),
    layers: tuple[int, ...] = (),
    steps: int = 10,
    batch_size: int = 8,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Add one universal vector to the output of a block, trained to make a share of the forget answers likely.

    The vector is the same for every token. Every block is tried; at each radius the one counts under which the
    attacker's own records are likeliest. Looked at are the others.

    Args:
        radii: Greatest lengths of the vector, in mean lengths of the block's outputs; 0 is none.
        layers: Blocks to try, negative counts from the end; all where none is named.
        steps: Gradient steps per radius and block.
        batch_size: Records per step.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of the draw and of the training; the request's where none is given.

    Raises:
        InputError: If a radius is out of range, there is no such block, or the share leaves no record on one side.
    """
    bounds = increasing(radii, "latent", "radii")
    blocks = chosen_blocks(model, layers, "latent")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "latent")
    examples = model.encode(held)
    paths = [
        universal(model, examples, block, bounds, steps=steps, batch_size=batch_size, seed=seed) for block in blocks
    ]
    for radius, found in zip(bounds, zip(*paths, strict=True), strict=True):
        best = min(range(len(blocks)), key=lambda number: found[number][1])
        yield Tampered(steered(model, {blocks[best]: Added(found[best][0])}), radius, others)
