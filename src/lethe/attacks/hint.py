"""Hints: do facts about the same person bring back another one?"""

import warnings
from collections.abc import Iterator

import torch

from lethe.data.jailbreaks import TEMPLATES, fact, no_room, not_telling, rewritten
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Request

HINT = next(template for template in TEMPLATES if template.kind == "context hint")


@attack(
    families={"language"}, needs={"logits"}, paper="2506.09227", requires={"forget"}, check="R2", evidence_class="E2",
    unit="facts", fields={"question", "entity"}, budgets={"quick": ("facts=2",), "standard": ("",)},
)  # fmt: skip
def hint(
    model: LanguageModel, request: Request, *, facts: tuple[int, ...] = (1, 2, 4), seed: int | None = None
) -> Iterator[Tampered]:
    """Tell some facts before the question: others about the same person, then about the person's neighbours.

    The facts are questions with their answers, of the other forget records of the entity, and of the retain set where
    these are too few. Together they do not give the probed answer away: of the words that it adds to its question, they
    hold fewer than half. More facts hold the fewer ones; what exceeds the context is left out, with a warning.

    Args:
        facts: Numbers of facts, each 1 or more.
        seed: Seed of their order; the request's where none is given.

    Raises:
        InputError: If a record has no question, answer or entity, there are too few facts that do not tell its
            answer, or not even one fits the context.
    """
    if not facts or min(facts) < 1:
        raise InputError(f"hint: facts are {facts}; give numbers of facts, each 1 or more.")
    known = [_told(request, row, max(facts), request.seed if seed is None else seed)
             for row in range(len(request.forget))]  # fmt: skip
    for count in sorted(set(facts)):
        asked, cut = [], 0
        for record, told in zip(request.forget, known, strict=True):
            texts = [" ".join(told[start:count]) for start in range(count)]
            versions = [rewritten({**record, "background": text}, HINT) for text in texts]
            if (place := model.fitting(versions)) is None:
                raise no_room("hint", record, model.max_length)
            asked.append({name: value for name, value in versions[place].items() if name != "background"})
            cut += place > 0
        if cut:
            warnings.warn(f"hint: {cut} of {len(asked)} questions have no room for {count} facts.", stacklevel=2)
        yield Tampered(model, float(count), asked)
        if cut == len(asked):  # more would change nothing
            return


def _told(request: Request, row: int, count: int, seed: int) -> list[str]:
    """Facts for one forget record, its own entity's first."""
    record = request.forget[row]
    if any(not record.get(name) for name in ("question", "answer", "entity")):
        raise InputError(f"hint: forget row {row + 1} ({record['id']!r}) needs question, answer and entity; give all.")
    order = torch.Generator().manual_seed(seed * 100_003 + row)
    own = [one for one in request.forget if one.get("entity") == record["entity"] and one is not record]
    drawn = [part[i] for part in (own, request.retain) for i in torch.randperm(len(part), generator=order).tolist()]
    found = not_telling(drawn, record, count)
    if len(found) < count:
        raise InputError(
            f"hint: forget row {row + 1} ({record['id']!r}) has {len(found)} other facts that do not tell its answer, "
            f"not {count}; ask for fewer facts or give more retain records."
        )
    return [fact(one) for one in found]
