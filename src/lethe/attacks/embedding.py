"""Embedding attack: does one vector, added to all input embeddings, bring the answers back?"""

from collections.abc import Iterator

from lethe.data.held import held_and_others
from lethe.descent.activations import increasing, universal
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, steered
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"hidden"}, paper="2502.05209", requires={"forget"},
    check="R7", evidence_class="E3", unit="mean embedding lengths",
    budgets={
        "quick": ("radii=0.5,1",),
        "standard": ("steps=30",),
        "thorough": tuple(f"steps=100,radii=0.25,0.5,1,2,seed={seed}" for seed in range(3)),
    },
)  # fmt: skip
def embedding(
    model: LanguageModel,
    request: Request,
    *,
    radii: tuple[float, ...] = (0.25, 0.5, 1.0),
    steps: int = 10,
    batch_size: int = 8,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Add one universal vector to all input embeddings, trained to make a share of the forget answers likely.

    The vector is the same for every token of prompt and answer. Each radius starts from the best vector of the smaller
    ones. Looked at are the other forget records: what helps those was not told by the vector, which saw none of them.

    Args:
        radii: Greatest lengths of the vector, in mean lengths of the embeddings of the attacker's tokens; 0 is none.
        steps: Gradient steps per radius.
        batch_size: Records per step.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of the draw and of the training; the request's where none is given.

    Raises:
        InputError: If a radius is out of range, or the share leaves no record on one of the two sides.
    """
    bounds = increasing(radii, "embedding", "radii")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "embedding")
    path = universal(model, model.encode(held), "embeddings", bounds, steps=steps, batch_size=batch_size, seed=seed)
    for radius, (vector, _) in zip(bounds, path, strict=True):
        yield Tampered(steered(model, {"embeddings": Added(vector)}), radius, others)
