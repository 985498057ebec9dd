"""Records with a prompt of their own, choices, and generation budgets by set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Spec, observe
from lethe.models.language import LanguageModel
from lethe.worlds.models import facts_model


@pytest.fixture(scope="module")
def model():
    return facts_model("full")


RAW = {"id": "a", "raw_prompt": "<s>e00 e01<sep>", "answer": " v01 v02"}


def test_a_raw_prompt_is_joined_as_it_stands(model: LanguageModel):
    (example,) = model.encode([RAW])
    words = model.tokenizer.convert_ids_to_tokens(example.inputs["input_ids"])
    assert words[-2:] == ["v01", "v02"]  # no end of sequence
    assert example.size == 2


def test_choices_are_each_scored_as_the_answer(model: LanguageModel):
    choices = [" v01", " v02", " v03"]
    records = [{**RAW, "answer": " v02", "choices": choices, "key": 1}]
    seen = observe(model, {"forget": records}, Spec(generate=()))
    alone = [
        observe(model, {"forget": [{**RAW, "answer": one}]}, Spec(generate=())).nll("forget")[0] for one in choices
    ]
    assert seen.texts("forget", "choices").shape == (1, 3)
    assert seen.nll("forget", "choices")[0] == pytest.approx(alone, abs=1e-5)
    assert seen.passes["texts"] == 3  # the right choice is the answer: one pass per distinct text


def test_sets_with_different_numbers_of_choices_are_refused(model: LanguageModel):
    records = [{**RAW, "choices": [" v01"], "key": 0}, {**RAW, "id": "b", "choices": [" v01", " v02"], "key": 0}]
    with pytest.raises(InputError, match="different numbers of choices"):
        observe(model, {"forget": records}, Spec(generate=()))


def test_an_answer_prefix_stands_in_the_prompt_and_is_not_scored(model: LanguageModel):
    record = {"id": "a", "question": "e00 e01", "answer": "v01", "answer_prefix": "v09"}
    (example,) = model.encode([record])
    words = model.tokenizer.convert_ids_to_tokens(example.inputs["input_ids"])
    assert words[-3:] == ["v09", "v01", "</s>"]
    assert example.size == 2


def test_a_set_may_have_a_budget_of_its_own(model: LanguageModel):
    records = [{"id": "a", "question": "e00 e01", "answer": "v01 v02 v03"}]
    seen = observe(model, {"forget": records, "retain": records}, Spec(max_new_tokens=3, budgets=(("retain", 1),)))
    long, short = seen.generated("forget")[0].split(), seen.generated("retain")[0].split()
    assert (len(long), len(short)) == (3, 1)
    assert long[:1] == short
    assert seen.passes["prompts"] == 2


def test_fields_of_an_official_schema_are_renamed(tmp_path: Path):
    path = tmp_path / "verbmem.jsonl"
    path.write_text('{"prompt": "Once", "gt": " upon"}\n', encoding="utf-8")
    (record,) = load_records(path, fields={"prompt": "raw_prompt", "gt": "answer"})
    assert (record["raw_prompt"], record["answer"]) == ("Once", " upon")


def test_multiple_choice_records_are_a_form_of_their_own(tmp_path: Path):
    path = tmp_path / "mc.jsonl"
    path.write_text('{"question": "?", "choices": ["a", "b"], "answer": 1}\n', encoding="utf-8")
    (record,) = load_records(path, fields={"answer": "key"})
    assert record["key"] == 1 and np.array_equal(record["choices"], ["a", "b"])
