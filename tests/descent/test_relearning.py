"""Relearn time: the steps that it takes, counted as by hand, of a model that stays as it is."""

import pytest
import torch

from lethe.descent.relearning import mean_loss, relearn_time
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.recipe import Recipe
from lethe.train import Term, train

RATE = {"lr": 1e-2, "batch_size": 8}


def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(MLP(inputs=4, classes=3, width=16))


def records() -> list[dict]:
    rng = torch.Generator().manual_seed(1)
    rows = torch.randn((12, 4), generator=rng).numpy()
    return [{"id": str(i), "features": row, "label": i % 3} for i, row in enumerate(rows)]


def test_the_first_step_at_which_the_loss_is_back():
    own, forget = model(), records()
    before = own.fingerprint()
    losses = []
    twin = own.copy()

    def keep(current: Classifier) -> float:
        losses.append(mean_loss(current, forget))
        return 0.0

    recipe = Recipe(**RATE, steps=30, seed=5, evaluate_every=1)
    train(twin, [Term("relearn", twin.encode(forget), own_loss)], recipe, evaluate=keep)  # pyright: ignore[reportArgumentType]
    bound = sorted(losses)[10]
    expected = next(step for step, loss in enumerate(losses, 1) if loss <= bound)
    found = relearn_time(own, forget, bound, cap=30, seed=5, recipe=RATE)
    assert (found.steps, found.censored) == (expected, False)
    assert own.fingerprint() == before
    assert own.module.training == model().module.training


def test_a_model_that_never_left_needs_no_step_and_one_that_does_not_come_back_is_censored():
    own, forget = model(), records()
    assert relearn_time(own, forget, mean_loss(own, forget), cap=5, seed=0, recipe=RATE) == (0, False)
    assert relearn_time(own, forget, 0.0, cap=5, seed=0, recipe=RATE) == (5, True)
    with pytest.raises(InputError, match="steps"):
        relearn_time(own, forget, 0.0, cap=0, seed=0, recipe=RATE)
