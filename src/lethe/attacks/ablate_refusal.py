"""Refusal ablation: are the answers back once the model cannot tell what to refuse?"""

from collections.abc import Iterator

from lethe.data.held import held_and_others
from lethe.descent.activations import chosen_blocks, increasing, most_telling, prompt_states
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.models.steered import Ablated, Place, steered
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"hidden"}, paper="2406.11717", requires={"forget", "retain"},
    check="R7", evidence_class="E3", fields={"answer"}, unit="share taken out",
    budgets={"quick": ("amounts=1",), "standard": ("",), "thorough": ("amounts=0.25,0.5,0.75,1,1.5,2",)},
)  # fmt: skip
def ablate_refusal(
    model: LanguageModel,
    request: Request,
    *,
    amounts: tuple[float, ...] = (0.5, 1.0),
    layers: tuple[int, ...] = (),
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Take the direction that tells forget from retain prompts out of the embeddings and of every block's output.

    The direction is a difference of means at the last token of the prompt: forget prompts, which are refused, minus
    retain prompts, which are answered. Each block has one; of these the one counts under which, taken out everywhere,
    the attacker's own share of the forget records is likeliest. Looked at are the others. The paper projects the
    outputs of attention and feed-forward layers as well; here a block is seen as a whole.

    Args:
        amounts: Shares of the component that are taken out; 0 is none, 1 is all, 2 turns it round.
        layers: Blocks to take the direction from, negative counts from the end; all where none is named.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If an amount is out of range, there is no such block, or the share leaves no record on one side.
    """
    sizes = increasing(amounts, "ablate_refusal", "amounts")
    blocks = chosen_blocks(model, layers, "ablate_refusal")
    held, others = held_and_others(request.forget, share, request.seed if seed is None else seed, "ablate_refusal")
    refused, answered = (prompt_states(model, records, blocks) for records in (held, request.retain))
    directions = {block: refused[block].mean(0) - answered[block].mean(0) for block in blocks}
    places: list[Place] = ["embeddings", *range(len(model.blocks()))]
    examples = model.encode(held)
    for size in sizes:
        candidates = (
            (block, steered(model, {place: Ablated(direction, size) for place in places}))
            for block, direction in directions.items()
        )
        _, best = most_telling(candidates, examples)
        yield Tampered(best, size, others)
