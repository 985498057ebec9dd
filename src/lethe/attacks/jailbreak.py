"""Jailbreaks: does it matter how the question is wrapped?"""

import warnings
from collections.abc import Iterator

from lethe.data.jailbreaks import TEMPLATES, Template, kind_of, lacking, no_room, rewritten
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.language import LanguageModel
from lethe.registry import attack
from lethe.request import Request

ALONE = ("plain",)  # asks as the record does; made only where it is named


@attack(
    families={"language"}, needs={"logits"}, paper="2406.10890", requires={"forget"}, check="R1", evidence_class="E2",
    unit="template", fields={"question"},
    budgets={"quick": ("kinds=prefix injection,affirmative suffix,prefilled answer",), "standard": ("",)},
)  # fmt: skip
def jailbreak(model: LanguageModel, request: Request, *, kinds: tuple[str, ...] = ()) -> Iterator[Tampered]:
    """Ask in ways that get at what a model keeps to itself; the model stays as it is.

    The strength is the number of the template: 1 prefix injection, 2 affirmative suffix, 3 role playing, 4 multiple
    choice, 5 reverse query (scored on the name), 6 synonym manipulation, 7 context hint, 8 in-context learning,
    9 cross lingual, 10 persona, 11 grandmother, 12 excerpt, 13 translation, 14 plain, 15 to 19 irrelevant prefix,
    20 to 23 role-play prefix, 24 prefilled answer; `lethe.data.jailbreaks.TEMPLATES` has their words and sources.

    Args:
        kinds: Kinds of templates, as in "role playing"; empty makes all that every forget record has the fields for
            and the context has room for.

    Raises:
        InputError: On an unknown kind, a record that is no question, or one without the fields of a kind that is
            named, or too long for it.
    """
    for row, record in enumerate(request.forget, 1):
        if "question" not in record or "answer" not in record:
            raise InputError(f"jailbreak: forget row {row} ({record['id']!r}) has no question and answer to rewrite.")
    without_room = []
    for number, template in _chosen(request, kinds):
        asked = [rewritten(record, template, request.retain) for record in request.forget]
        full = next((record for record in asked if model.fitting([record]) is None), None)
        if full and kinds:
            raise no_room(f"jailbreak ({template.kind})", full, model.max_length)
        if full:
            without_room.append(template.kind)
        else:
            yield Tampered(model, float(number), asked)
    if without_room:
        warnings.warn(f"jailbreak: the model's context has no room for {', '.join(without_room)}.", stacklevel=2)


def _chosen(request: Request, kinds: tuple[str, ...]) -> list[tuple[int, Template]]:
    """The numbered templates of the kinds, or those that can be made of every record."""
    numbered = list(enumerate(TEMPLATES, 1))
    if kinds:
        named = {kind_of(kind) for kind in kinds}
        return [(number, template) for number, template in numbered if template.kind in named]
    return [
        (number, template)
        for number, template in numbered
        if template.kind not in ALONE
        and not any(lacking(record, template, request.retain) for record in request.forget)
    ]
