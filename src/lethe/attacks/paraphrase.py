"""Rephrasing: was the knowledge forgotten, or only its wording?"""

from collections.abc import Iterator

from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Request


@attack(
    families={"language"}, needs={"logits"}, paper="2401.06121", requires={"forget"},
    check="B3", evidence_class="E1", unit="form", fields={"paraphrased_question"}, budgets={"quick": ("",)},
)  # fmt: skip
def paraphrase(model: Model, request: Request) -> Iterator[Tampered]:
    """Ask the forget questions in other words; the model stays as it is.

    Raises:
        InputError: If a forget record has no paraphrased question.
    """
    for row, record in enumerate(request.forget, 1):
        if not str(record.get("paraphrased_question") or "").strip():
            raise InputError(
                f"paraphrase: forget row {row} ({record['id']!r}) has no paraphrased_question; give every record "
                "one, or leave this attack out."
            )
    asked = [{**record, "question": record["paraphrased_question"]} for record in request.forget]
    yield Tampered(model, 1.0, asked)
