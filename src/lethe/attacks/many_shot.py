"""Many shots: does a model go on answering once it has answered often enough?"""

import warnings
from collections.abc import Iterator

import torch

from lethe.data.jailbreaks import no_room, not_telling
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"logits"}, paper="2310.06387", requires={"forget", "retain"}, check="R1",
    evidence_class="E2", unit="shots", fields={"question"},
    budgets={"quick": ("shots=2",), "standard": ("",), "thorough": ("shots=1,2,4,8,16,32",)},
)  # fmt: skip
def many_shot(
    model: LanguageModel, request: Request, *, shots: tuple[int, ...] = (1, 2, 4), seed: int | None = None
) -> Iterator[Tampered]:
    """Put answered questions of the retain set before the question, as turns of one dialogue.

    Every record gets its own draw, without what gives its answer away; more shots hold the fewer ones. Where they
    exceed the context, the first ones are left out, with a warning.

    Args:
        shots: Numbers of answered questions, each 1 or more.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If a record is no question, there are too few retain questions, or not even one fits the context.
    """
    if not shots or min(shots) < 1:
        raise InputError(f"many_shot: shots are {shots}; give numbers of answered questions, each 1 or more.")
    seed = request.seed if seed is None else seed
    known = [_shots(request, row, max(shots), seed) for row in range(len(request.forget))]
    for count in sorted(set(shots)):
        asked, cut = [], 0
        for record, turns in zip(request.forget, known, strict=True):
            versions = [{**record, "turns": turns[start:count]} for start in range(count)]
            if (place := model.fitting(versions)) is None:
                raise no_room("many_shot", record, model.max_length)
            asked.append(versions[place])
            cut += place > 0
        if cut:
            warnings.warn(f"many_shot: {cut} of {len(asked)} questions have no room for {count} shots.", stacklevel=2)
        yield Tampered(model, float(count), asked)
        if cut == len(asked):  # more would change nothing
            return


def _shots(request: Request, row: int, count: int, seed: int) -> list[list[str]]:
    record = request.forget[row]
    if "question" not in record or "answer" not in record:
        raise InputError(f"many_shot: forget row {row + 1} ({record['id']!r}) has no question and answer.")
    order = torch.randperm(len(request.retain), generator=torch.Generator().manual_seed(seed * 100_003 + row))
    shown = not_telling((request.retain[i] for i in order.tolist()), record, count)
    if len(shown) < count:
        raise InputError(
            f"many_shot: {len(shown)} retain questions do not tell the answer of forget row {row + 1} "
            f"({record['id']!r}), not {count}; ask for fewer shots or give more retain records."
        )
    return [[str(one["question"]), str(one["answer"])] for one in shown]
