"""Certified removal of a network's head: what is below it stays, what is no linear head is refused."""

import pytest
import torch
from tests.attacks.tiny import classifier
from torch import nn

from lethe.errors import InputError
from lethe.methods.certified import certified
from lethe.models.classifier import Classifier


def test_only_the_head_moves():
    world = classifier()
    made = certified(world.target, world.request, damping=0.1)
    before, after = world.target.module.state_dict(), made.module.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}


def test_removed_step_by_step_it_is_near_the_head_retrained_without_the_records():
    """Hardly any noise: an epsilon that covers all of it for the steps, a common one for retraining."""
    world = classifier()

    def head(**options: float) -> torch.Tensor:
        made = certified(world.target, world.request, damping=0.1, sigma=1e-6, **options)
        return made.module.state_dict()["head.weight"]

    stepped, leapt, retrained = head(epsilon=1e9), head(epsilon=1e9, at_once=40), head()
    near, far = (float((one - retrained).norm() / retrained.norm()) for one in (stepped, leapt))
    assert 3 * near < far < 1e-3


def test_past_the_budget_it_is_refused_or_retrained():
    world = classifier()
    with pytest.raises(InputError, match=r"removing 40 records would spend .* of a budget of 0\.00228"):
        certified(world.target, world.request, sigma=0.01, over_budget="refuse")
    made = certified(world.target, world.request, sigma=0.01)
    assert made.fingerprint() != world.target.fingerprint()


def test_a_network_without_a_linear_head_is_refused():
    world = classifier()
    bent = Classifier(nn.Sequential(nn.Linear(16, 4), nn.LogSoftmax(-1)).eval())
    for model in (bent, Classifier(nn.Sequential(nn.Unflatten(1, (16, 1)), nn.Conv1d(16, 4, 1), nn.Flatten()).eval())):
        with pytest.raises(InputError, match="Sequential does not end in a linear layer"):
            certified(model, world.request)


def test_bad_numbers_are_refused():
    world = classifier()
    for options in ({"damping": 0.0}, {"at_once": 0}, {"sigma": 0.0}, {"delta": 1.0}):
        with pytest.raises(InputError, match="must be"):
            certified(world.target, world.request, **options)
