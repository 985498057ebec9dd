"""Rephrasing: was the knowledge forgotten, or only its wording?"""

from collections.abc import Iterator

from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Record, Request


@attack(
    families={"language"}, needs={"logits"}, paper="2401.06121", requires={"forget"},
    check="B3", evidence_class="E1", unit="form", fields={"paraphrased_question"}, budgets={"quick": ("",)},
)  # fmt: skip
def paraphrase(model: Model, request: Request) -> Iterator[Tampered]:
    """Ask the forget questions in other words; the model stays as it is.

    Where records have lists of paraphrases, the strength is the number of the one that is asked; a record with fewer
    begins anew.

    Raises:
        InputError: If a forget record has no paraphrased question.
    """
    wordings = [_wordings(record, row) for row, record in enumerate(request.forget, 1)]
    for number in range(max(map(len, wordings))):
        asked = [
            {**record, "question": own[number % len(own)]} for record, own in zip(request.forget, wordings, strict=True)
        ]
        yield Tampered(model, number + 1.0, asked)


def _wordings(record: Record, row: int) -> list[str]:
    given = record.get("paraphrased_question") or ()
    if found := [text for text in ([given] if isinstance(given, str) else map(str, given)) if text.strip()]:
        return found
    raise InputError(
        f"paraphrase: forget row {row} ({record['id']!r}) has no paraphrased_question; give every record one, or leave "
        "this attack out."
    )
