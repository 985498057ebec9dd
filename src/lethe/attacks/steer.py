"""Activation steering: does a push along one direction bring the answers back?"""

from collections.abc import Iterator
from typing import Literal

from lethe.data.held import held_and_others
from lethe.descent.activations import chosen_blocks, increasing, most_telling, prompt_states
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, steered
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"hidden"}, paper="2312.06681", requires={"forget", "retain"},
    variants=("original", "contrast"), check="R7", evidence_class="E3", fields={"answer"}, unit="difference vectors",
    budgets={
        "quick": ("",),
        "standard": ("", "variant=contrast"),
        "thorough": ("coefficients=0.25,0.5,1,2,4,8", "variant=contrast,coefficients=0.25,0.5,1,2,4,8"),
    },
)  # fmt: skip
def steer(
    model: LanguageModel,
    request: Request,
    original: LanguageModel,
    *,
    variant: Literal["original", "contrast"] = "original",
    coefficients: tuple[float, ...] = (0.5, 1.0, 2.0),
    layers: tuple[int, ...] = (),
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Add a difference of mean states to the output of one block, at every token, several times as strong.

    States are those of the last token of the prompt. Whoever holds the original pushes forget prompts to where it has
    them; whoever holds the unlearned model alone pushes them to where it has the questions that it answers. At each
    coefficient the block counts under which the attacker's own share of the records is likeliest; looked at are the
    others.

    Args:
        variant: original is the mean on forget prompts of the original minus that of the model; contrast is the model's
            mean on retain prompts minus its mean on forget prompts.
        coefficients: How many times the vector is added; 0 is not at all.
        layers: Blocks to try, negative counts from the end; all where none is named.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If a coefficient is out of range, there is no such block, the share leaves no record on one of the
            two sides, or the two models differ in their number of blocks.
    """
    sizes = increasing(coefficients, "steer", "coefficients")
    blocks = chosen_blocks(model, layers, "steer")
    held, others = held_and_others(request.forget, share, request.seed if seed is None else seed, "steer")
    if len(original.blocks()) != len(model.blocks()):
        raise InputError("steer: the model and the original differ in their number of blocks; give two of one kind.")
    known = (original, held) if variant == "original" else (model, request.retain)
    here, there = prompt_states(model, held, blocks), prompt_states(*known, blocks)
    vectors = {block: there[block].mean(0) - here[block].mean(0) for block in blocks}
    examples = model.encode(held)
    for size in sizes:
        candidates = ((block, steered(model, {block: Added(size * vector)})) for block, vector in vectors.items())
        _, best = most_telling(candidates, examples)
        yield Tampered(best, size, others)
