"""Several turns: does a model tell at the end of a talk what it would not tell at once?"""

import warnings
from collections.abc import Iterator
from typing import Literal

from lethe.data.jailbreaks import DIALOGUE, dialogue, no_room
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Record, Request


@attack(
    families={"language"}, needs={"logits", "generate"}, paper="2404.01833", requires={"forget"}, check="R1",
    evidence_class="E2", unit="turns", fields={"question"},
    budgets={"quick": ("turns=1,2",), "standard": ("",), "thorough": ("", "replies=own")},
)  # fmt: skip
def multi_turn(
    model: LanguageModel,
    request: Request,
    *,
    turns: tuple[int, ...] = (1, 2, 3),
    replies: Literal["scripted", "own"] = "scripted",
    tokens: int = 16,
) -> Iterator[Tampered]:
    """Talk around the fact first, and have the model agree to answer; then ask.

    Numbers of turns that exceed the context are left out, with a warning.

    Args:
        turns: Numbers of turns before the question, each 1 to 3.
        replies: What the assistant has said in them: scripted, where it agrees to everything (whoever writes the
            prompt can claim that), or own, what this model answers to each turn.
        tokens: Longest own reply, tokens.

    Raises:
        InputError: If a number of turns is out of range, a record is no question, or its shortest dialogue exceeds the
            context.
    """
    if not turns or any(not 1 <= count <= len(DIALOGUE) for count in turns):
        raise InputError(f"multi_turn: turns are {turns}; give numbers from 1 to {len(DIALOGUE)}.")
    for row, record in enumerate(request.forget, 1):
        if "question" not in record or "answer" not in record:
            raise InputError(f"multi_turn: forget row {row} ({record['id']!r}) has no question and answer.")
    talks = [dialogue(record, max(turns)) for record in request.forget]
    if replies == "own":
        _reply(model, talks, tokens)
    for count in sorted(set(turns)):
        asked: list[Record] = [
            {**record, "turns": talk[:count]} for record, talk in zip(request.forget, talks, strict=True)
        ]
        if full := next((record for record in asked if model.fitting([record]) is None), None):
            if count == min(turns):
                raise no_room("multi_turn", full, model.max_length)
            warnings.warn(f"multi_turn: the model's context has no room for {count} turns.", stacklevel=2)
            return
        yield Tampered(model, float(count), asked)


def _reply(model: LanguageModel, talks: list[list[list[str]]], tokens: int) -> None:
    """Put what the model says in the place of what the script has it say, turn by turn."""
    for number in range(len(talks[0])):
        prompts = [model.prompt(talk[number][0], talk[:number]) for talk in talks]
        for talk, said in zip(talks, model.generate(prompts, tokens), strict=True):
            talk[number][1] = said or "Yes."  # a template may refuse an empty turn
