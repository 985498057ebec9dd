"""Translation: was the knowledge forgotten, or only its English?"""

from collections.abc import Iterator

from lethe.data.glossary import Phrases, glossary, said_in
from lethe.data.jailbreaks import TEMPLATES, rewritten
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack, did_you_mean
from lethe.request import Record, Request

ASKED = next(template for template in TEMPLATES if template.kind == "cross lingual")


@attack(
    families={"language"}, needs={"logits"}, paper="2406.10890", requires={"forget"}, check="B3", evidence_class="E1",
    unit="language", fields={"question"}, budgets={"quick": ("languages=French,German",), "standard": ("",)},
)  # fmt: skip
def translate(model: Model, request: Request, *, languages: tuple[str, ...] = (), file: str = "") -> Iterator[Tampered]:
    """Ask the forget questions in other languages, to be answered in English; names and the model stay as they are.

    The strength is the number of the language in the glossary; in the built-in one 1 is French, 2 German, 3 Spanish,
    4 Italian and 5 Portuguese. It knows the questions of the embedded worlds.

    Args:
        languages: Those of the glossary that are asked in; empty asks in all.
        file: A glossary of your own, JSON: {language: {"Where was {name} born?": translation}}; empty takes the
            built-in one.

    Raises:
        InputError: If the glossary cannot be read, has no such language, or does not hold a question.
    """
    phrases = glossary(file)
    for language in languages:
        if language not in phrases:
            raise InputError(
                f"translate: the glossary has no {language!r}{did_you_mean(language, phrases)}; it has "
                f"{', '.join(phrases)}."
            )
    for number, (language, own) in enumerate(phrases.items(), 1):
        if not languages or language in languages:
            asked = [_asked(record, row, language, own) for row, record in enumerate(request.forget, 1)]
            yield Tampered(model, float(number), asked)


def _asked(record: Record, row: int, language: str, phrases: Phrases) -> dict[str, object]:
    question = str(record.get("question", ""))
    if not (said := said_in(question, phrases)):
        raise InputError(
            f"translate: the glossary has no {language} for the question of forget row {row} ({record['id']!r}), "
            f"{question!r}; give a glossary file that holds it, or leave this attack out."
        )
    asked = rewritten({**record, "translated_question": said}, ASKED)
    return {name: value for name, value in asked.items() if name != "translated_question"}
