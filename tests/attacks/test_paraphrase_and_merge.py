"""Rephrased questions, and averages with the original."""

from dataclasses import replace

import pytest
import torch
from tests.attacks.tiny import classifier, language
from torch import nn

from lethe.attacks.merge import merge
from lethe.attacks.paraphrase import paraphrase
from lethe.auditing.recovery import attacked
from lethe.errors import InputError
from lethe.models.classifier import Classifier


def test_only_the_question_is_rephrased():
    world = language()
    (point,) = paraphrase(world.target, world.request)
    assert point.model is world.target
    for asked, record in zip(point.forget, world.request.forget, strict=True):
        assert asked["question"] == record["paraphrased_question"] != record["question"]
        assert (asked["id"], asked["answer"]) == (record["id"], record["answer"])


def test_a_record_without_a_paraphrase_is_named():
    world = language()
    plain = [{k: v for k, v in record.items() if k != "paraphrased_question"} for record in world.request.forget]
    request = replace(world.request, forget=[world.request.forget[0], *plain[1:]])
    with pytest.raises(InputError, match=f"forget row 2 \\('{plain[1]['id']}'\\) has no paraphrased_question"):
        list(paraphrase(world.target, request))


def test_merging_is_a_weighted_mean():
    world = classifier()
    points = list(merge(world.controls[0], world.request, world.target, alphas=(0.25, 0.75)))
    for point in points:
        for name, weight in point.model.module.named_parameters():
            own, other = (dict(m.module.named_parameters())[name] for m in (world.controls[0], world.target))
            assert torch.allclose(weight, (1 - point.strength) * own + point.strength * other, atol=1e-6)


def test_merging_needs_the_original_and_one_architecture():
    world = classifier()
    with pytest.raises(InputError, match="needs the model before unlearning"):
        attacked("merge", world.target, world.request, world.measure)
    with pytest.raises(InputError, match="one architecture"):
        list(merge(world.target, world.request, Classifier(nn.Linear(16, 4))))
    for alphas in ((), (0.0,), (0.5, 1.0)):
        with pytest.raises(InputError, match="between 0 and 1"):
            list(merge(world.target, world.request, world.target, alphas=alphas))


def test_lists_of_paraphrases_are_asked_one_after_the_other():
    world = language()
    lists = [["a?", "b?", "c?"], ["d?"], "e?"]
    records = [{**r, "paraphrased_question": own} for r, own in zip(world.request.forget, lists, strict=False)]
    points = list(paraphrase(world.target, replace(world.request, forget=records)))
    assert [point.strength for point in points] == [1, 2, 3]
    asked = [[record["question"] for record in point.forget] for point in points]
    assert asked == [["a?", "d?", "e?"], ["b?", "d?", "e?"], ["c?", "d?", "e?"]]
