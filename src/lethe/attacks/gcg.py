"""Token search: does one string of tokens, put into every question, bring the answers back?"""

from collections.abc import Iterator
from functools import partial

from lethe.data.held import held_and_others
from lethe.descent.activations import increasing
from lethe.descent.token_search import Position, Variant, placed, search
from lethe.descent.tuning import drawn
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"logits", "hidden"}, paper="2307.15043", requires={"forget"}, check="R1",
    evidence_class="E2", unit="steps", fields={"question"},
    budgets={"thorough": (
        "steps=25,100,examples=8,candidates=32", "steps=10,40,examples=6,position=suffix",
        "steps=40,examples=6,candidates=64,variant=autoprompt", "steps=10,40,examples=6,seed=1",
    )},
)  # fmt: skip
def gcg(
    model: LanguageModel,
    request: Request,
    *,
    steps: tuple[int, ...] = (4, 8),
    length: int = 8,
    position: Position = "prefix",
    variant: Variant = "gcg",
    top_k: int = 64,
    candidates: int = 16,
    examples: int = 4,
    share: float = 0.5,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Search, along the gradient, one string that makes a share of the forget answers likely; ask the others with it.

    The string with the lowest loss so far counts, that without any string included; all numbers of steps are looked at
    in one search. Published searches take 100 (2502.05209) to 500 steps of 512 candidates with 20 tokens. The string
    has no token of a forget answer: what it says itself need not be known.

    Args:
        steps: Search steps after which the best string is looked at; 0 is the question as it stands.
        length: Tokens of the string.
        position: Whether it stands before (prefix) or behind the question (suffix).
        variant: gcg (places and tokens drawn among the most promising) or autoprompt (2010.15980: one place after the
            other, its most promising tokens, kept only where they help).
        top_k: Most promising tokens per place that gcg draws from.
        candidates: Strings that are tried in each step, at most.
        examples: Records that the search reads, drawn by the seed from the attacker's share; 0 takes all.
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        seed: Seed of all draws; the request's where none is given.

    Raises:
        InputError: If a number is out of range, a record is no question, the share leaves no record on one of the two
            sides, or the tokenizer has no string of that length.
    """
    for name, value in (("length", length), ("top_k", top_k), ("candidates", candidates)):
        if value < 1:
            raise InputError(f"gcg: {name} is {value}; give 1 or more.")
    counts = [int(count) for count in increasing(steps, "gcg", "steps")]
    for row, record in enumerate(request.forget, 1):
        if "question" not in record or "answer" not in record or "raw_prompt" in record:
            raise InputError(f"gcg: forget row {row} ({record['id']!r}) is no question; give question and answer.")
    seed = request.seed if seed is None else seed
    held, others = held_and_others(request.forget, share, seed, "gcg")
    placing = partial(placed, position=position)
    found = search(
        model, drawn(held, examples, seed), placing, asked=request.forget, length=length, steps=counts[-1],
        variant=variant, top_k=top_k, candidates=candidates, seed=seed,
    )  # fmt: skip
    for step, (text, _) in enumerate(found):
        if step in counts:
            yield Tampered(model, float(step), [placing(record, text) for record in others])
