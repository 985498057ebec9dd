"""Wrong ways of judging representations fail the checks that ours pass."""

from functools import cache

import numpy as np
import torch
from pytest import approx
from torch import Tensor, nn

from lethe.benchmarks.truly_forgetting import truly_forgetting
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.methods.head_mask import head_mask
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.scoring.representation import aligned_distance
from lethe.scoring.similarity import cka
from lethe.task import Task

from . import known_wrong_representations as wrong

SETS = ("forget", "retain", "test", "rotated")


@cache
def task() -> Task:
    return truly_forgetting(split="random")


def seen(model: Model) -> Evidence:
    probes = {name: task().probes[name] for name in SETS}
    return observe(model, probes, Spec(distributions=(), interior=("forget", "rotated")))


@cache
def models() -> dict[str, Evidence]:
    """The original, a head mask of it that forgets as retraining does by all accuracies, and two retrained models."""
    control = task().control
    assert control is not None
    target = task().target(0)
    masked = head_mask(target, task().request)
    with torch.no_grad():  # and a head whose own answers are another matter
        head = [part for part in masked.module.modules() if isinstance(part, nn.Linear)][-1]
        head.weight[[0, 1]] = 0.0
    made = {"original": target, "masked": masked, "control 1": control(1), "control 2": control(2)}
    return {name: seen(model) for name, model in made.items()}


def test_neighbours_in_the_output_see_a_change_of_the_head_and_those_in_the_features_do_not():
    """Before the mask and after it the representations are bit for bit the same."""
    original, masked = models()["original"], models()["masked"]
    for name in ("forget", "rotated"):
        own, before = (compute(f"knn:set={name}", one) for one in (masked, original))
        assert own.items == before.items
    released = [wrong.knn_of_the_output(one, "rotated") for one in (original, masked)]
    assert abs(released[0] - released[1]) > 0.03
    named = compute("knn:set=rotated,layer=output", masked)
    assert named.value == released[1]
    assert named.name == "knn.output@rotated"  # never in one column with the features'


def test_accuracies_alone_call_a_masked_head_forgotten():
    evidence = models()
    accuracies = [[compute(f"accuracy:set={name}", one).value for name in SETS[:3]] for one in evidence.values()]
    assert not wrong.superficial_by_accuracy(accuracies[1], np.mean(accuracies[2:], axis=0).tolist())
    controls = [evidence["control 1"], evidence["control 2"]]
    found = compute("representation_gap", evidence["masked"], controls, evidence["original"])
    assert found.detail["superficial"] is True
    assert (found.value, found.detail["moved"]) == approx((0, 0), abs=1e-9)


def test_few_records_in_the_last_batch_pull_the_mean_up():
    """1,030 unrelated records of width 16 in batches of 512: six are left, and they count for a third."""
    a, b = (np.random.default_rng(seed).normal(size=(1030, 16)) for seed in (0, 1))
    assert wrong.mean_of_batches(a[:1024], b[:1024], 512) < 0.05
    assert wrong.mean_of_batches(a, b, 512) > 0.2
    assert abs(cka(a, b)) < 0.02


def test_wider_than_the_records_are_many_everything_is_alike_and_can_be_aligned():
    a, b = (np.random.default_rng(seed).normal(size=(64, 512)) for seed in (0, 1))
    assert wrong.mean_of_batches(a, b, 512) > 0.85
    assert abs(cka(a, b)) < 0.05
    assert wrong.aligned_in_sample(a, b) < 0.25
    assert aligned_distance(a, b).mean() == approx(1, abs=0.1)


def test_a_second_normalisation_makes_another_model_of_it():
    """A model that normalises for itself gets pixels in [0, 1]; a data set's transform before it is one too many."""

    class Normalising(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner((x - 0.6) / 0.2)

    records = task().probes["test"][:100]
    model = Classifier(Normalising(task().target(0).module).eval())
    twice = [{**record, "image": wrong.normalised_twice(record["image"], 0.6, 0.2)} for record in records]
    spec = Spec(distributions=(), interior=("test",))
    once, again, other = (observe(model, {"test": rows}, spec).layers("test") for rows in (records, records, twice))
    assert cka(once["penultimate"], again["penultimate"]) == approx(1, abs=1e-12)
    assert cka(once["penultimate"], other["penultimate"]) < 0.995  # scale and offset alone do not change it much
