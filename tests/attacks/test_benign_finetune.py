"""Fine-tuning on other data: whose data, and that none of it holds an answer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.attacks.tiny import classifier, language

from lethe.attacks.benign_finetune import benign_finetune
from lethe.errors import InputError
from lethe.registry import find


def test_it_is_training_on_what_holds_no_answer_and_looks_at_every_forget_record():
    world = language()
    answers = {record["answer"] for record in world.request.forget}
    clean = [record for record in world.request.retain if record["answer"] not in answers]
    assert 0 < len(clean) < len(world.request.retain)
    (point,) = benign_finetune(world.target, world.request, steps=(3,))
    (same,) = benign_finetune(world.target, replace(world.request, retain=clean), steps=(3,))
    assert point.model.fingerprint() == same.model.fingerprint() != world.target.fingerprint()
    assert list(point.forget) == list(world.request.forget)


def test_no_steps_change_nothing():
    world = classifier()
    (point,) = benign_finetune(world.target, world.request, steps=(0,), data="holdout")
    assert point.model.fingerprint() == world.target.fingerprint()


def test_a_file_of_texts(tmp_path: Path):
    world = language()
    file = tmp_path / "plain.txt"
    file.write_text("The tram was late again.\nIt rained all day in the harbour.\n")
    (point,) = benign_finetune(world.target, world.request, data=str(file), steps=(2,))
    assert point.model.fingerprint() != world.target.fingerprint()


def test_a_file_that_gives_an_answer_away_is_refused(tmp_path: Path):
    world = language()
    file = tmp_path / "leaking.jsonl"
    told = world.request.forget[0]["answer"]
    file.write_text("\n".join(json.dumps({"text": text}) for text in ("Nothing.", f"It was in {told}, they say.")))
    with pytest.raises(InputError, match=f"row 2 .* holds 100% of the answer of .*'{told}'"):
        list(benign_finetune(world.target, world.request, data=str(file)))


def test_missing_data_are_named():
    world = language()
    with pytest.raises(InputError, match="there are no holdout records;"):
        list(benign_finetune(world.target, replace(world.request, holdout=()), data="holdout"))
    with pytest.raises(InputError, match="did you mean 'retain'"):
        list(benign_finetune(world.target, world.request, data="retian"))
    same = [{**world.request.retain[0], "answer": world.request.forget[0]["answer"]}]
    with pytest.raises(InputError, match="no retain records without a forgotten answer"):
        list(benign_finetune(world.target, replace(world.request, retain=same)))


def test_the_published_row_is_a_preset():
    assert find("attack", "benign_finetune").presets["benign_1"]["steps"] == (50,)
