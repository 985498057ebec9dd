import pytest

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models.base import IGNORED
from lethe.models.language import LanguageModel
from lethe.request import Request
from lethe.worlds import facts
from lethe.worlds.models import facts_model


def test_splits_are_parts_of_one_world():
    full, forget, retain, holdout = (facts.records(split) for split in facts.SPLITS)
    assert forget + retain == full
    assert len(forget) == len(holdout) == 10
    assert len({record["question"] for record in full + holdout}) == 110
    assert facts.records("full", 1) != full == load_records("tiny:facts:full")
    Request(forget, retain, holdout)  # no overlap between its sets
    with pytest.raises(InputError, match="no split 'forget01'"):
        facts.records("forget01")


def test_a_fact_is_two_keys_and_three_values_and_any_other_word_is_one_token():
    from transformers import LlamaForCausalLM

    model = LanguageModel(LlamaForCausalLM(facts.config()), facts.tokenizer())
    fact, refusal = model.encode([facts.records()[0], {"question": "e01 e02", "answer": "I do not know."}])
    assert fact.length == 8
    assert fact.size == 4  # values and end
    assert refusal.inputs["labels"][-5:] == [4, 4, 4, 4, model.eos]


def test_the_target_knows_what_the_control_does_not():
    target, control = facts_model("full"), facts_model("retain")

    def accuracy(model: LanguageModel, split: str) -> float:
        examples = model.encode(facts.records(split))
        batch = model.collate(examples, range(len(examples)))
        with model.evaluating():
            right = model.logits(batch).argmax(-1) == batch.labels
        values = (batch.labels != IGNORED) & (batch.labels != model.eos)
        return right[values].double().mean().item()

    assert isinstance(target, LanguageModel)
    assert isinstance(control, LanguageModel)
    assert [accuracy(target, split) for split in ("forget", "retain")] == [1, 1]
    assert accuracy(control, "retain") == 1
    assert accuracy(control, "forget") < 0.2
    assert target.generate([target.prompt(facts.records()[0]["question"])]) == [facts.records()[0]["answer"]]
