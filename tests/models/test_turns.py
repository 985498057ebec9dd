"""Turns of a dialogue before the question: where they stand, that they are read, and that they are not scored."""

import numpy as np
import pytest
import torch
from tests.attacks.tiny import byte_level, llama

from lethe.errors import InputError
from lethe.evidence import Spec, observe
from lethe.models.base import IGNORED
from lethe.models.language import LanguageModel
from lethe.worlds.fame_model import CHAT

TURNS = [["Who wrote Salt?", "Ada Vane"], ["And Rain?", "Ben Moor"]]
RECORD = {"id": "r", "question": "Who wrote Snow?", "answer": "Cleo Day"}


def model(context: int = 256, template: str | None = None) -> LanguageModel:
    tokenizer = byte_level(["Question: Who wrote Salt?\nAnswer: Ada Vane"])
    tokenizer.chat_template = template
    return llama(tokenizer, context)


def test_without_a_template_they_are_answered_questions():
    assert model().prompt_of({**RECORD, "turns": TURNS}) == (
        "Question: Who wrote Salt?\nAnswer: Ada Vane\nQuestion: And Rain?\nAnswer: Ben Moor\n"
        "Question: Who wrote Snow?\nAnswer:"
    )
    assert model().prompt_of({**RECORD, "turns": []}) == model().prompt_of(RECORD)


def test_a_chat_template_gets_them_as_turns():
    template = "{% for turn in messages %}<{{ turn['role'] }}>{{ turn['content'] }}{% endfor %}<assistant>"
    assert model(template=template).prompt_of({**RECORD, "turns": TURNS[:1]}) == (
        "<user>Who wrote Salt?<assistant>Ada Vane<user>Who wrote Snow?<assistant>"
    )


@pytest.mark.parametrize("template", [None, CHAT])
def test_they_are_read_but_not_scored(template: str | None):
    one = model(template=template)
    plain, after = one.encode([RECORD, {**RECORD, "turns": TURNS}])
    scored = [[label for label in example.inputs["labels"] if label != IGNORED] for example in (plain, after)]
    assert scored[0] == scored[1] and len(scored[0]) == plain.size
    assert after.length > plain.length + 20
    seen = observe(one, {"a": [RECORD], "b": [{**RECORD, "turns": TURNS}]}, Spec(generate=(), distributions=()))
    assert seen.passes["texts"] == 2  # evidence tells them apart
    assert abs(seen.nll("a")[0] - seen.nll("b")[0]) > 1e-6


def test_a_dialogue_in_a_batch_of_mixed_lengths_reads_as_alone():
    one = model()
    records = [RECORD, {**RECORD, "turns": TURNS}, {**RECORD, "turns": TURNS[:1]}]
    with one.evaluating():
        together = torch.cat([one.loss(batch) for batch in one.batches(one.encode(records), 3)])
        alone = torch.cat([one.loss(batch) for record in records for batch in one.batches(one.encode([record]), 1)])
    assert np.allclose(np.sort(together.numpy()), np.sort(alone.numpy()), atol=1e-4)


def test_the_longest_version_that_fits_is_taken():
    versions = [{**RECORD, "turns": TURNS[start:]} for start in range(3)]
    lengths = [len(example.inputs["input_ids"]) for example in model().encode(versions)]
    assert [model(length).fitting(versions) for length in lengths] == [0, 1, 2]
    assert model(lengths[0] - 1).fitting(versions) == 1
    assert model(lengths[2] - 1).fitting(versions) is None
    told = [
        {**one, "perturbed_answer": ["no", "Cleo Day of the hill"], "paraphrased_answer": "Day"} for one in versions
    ]
    assert model(lengths[0]).fitting(told) == 1  # a wrong answer is longer than the right one


@pytest.mark.parametrize("turns", [["Who?"], [["Who?"]], [["a", "b", "c"]], ["ab"]])
def test_turns_that_are_no_pairs_are_refused(turns: list):
    with pytest.raises(InputError, match="record 'r', field 'turns': must be pairs"):
        model().prompt_of({**RECORD, "turns": turns})
