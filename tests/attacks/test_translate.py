"""Translations: which languages, and what no glossary holds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.attacks.tiny import talkative

from lethe.attacks.translate import translate
from lethe.errors import InputError


def test_the_strength_of_a_translation_is_its_languages_number():
    world = talkative()
    points = list(translate(world.target, world.request, languages=("Spanish", "French")))
    assert [point.strength for point in points] == [1, 3]
    assert points[0].forget[0]["question"] == (
        f"Please answer in English. Où est né {world.request.forget[0]['entity']} ?"
    )
    assert len(list(translate(world.target, world.request))) == 5


def test_what_no_glossary_holds_is_refused(tmp_path: Path):
    world = talkative()
    with pytest.raises(InputError, match="no 'Frensh', did you mean 'French'"):
        list(translate(world.target, world.request, languages=("Frensh",)))
    odd = [world.request.forget[0], {**world.request.forget[1], "question": "Who?"}]
    request = replace(world.request, forget=odd)
    with pytest.raises(InputError, match=r"no French for the question of forget row 2 .*, 'Who\?'"):
        list(translate(world.target, request))
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"Latin": {"Who?": "Quis?", "Where was {name} born?": "Ubi {name} natus est?"}}))
    (point,) = translate(world.target, request, file=str(file))
    assert point.forget[1]["question"] == "Please answer in English. Quis?"
