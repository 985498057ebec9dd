"""Runs that fine-tune, looked at on the way."""

from itertools import pairwise

import pytest
import torch
from tests.attacks.tiny import classifier, language

from lethe.descent.terms import own_loss
from lethe.descent.tuning import SMOOTH, TAMPERING, Published, drawn, tuned
from lethe.descent.where import lora
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.train import Term, train

RECIPE = Recipe(lr=3e-3, batch_size=8)


def runs(steps: tuple[int, ...], where: str) -> list[tuple[int, Model]]:
    world = language()
    return list(tuned(world.target, world.request, world.request.retain[:12], steps, RECIPE, where, "test"))


def test_steps_of_a_published_row():
    """Presentations over the batch size, rounded up in every pass; 16 steps of 8 show 64 records twice."""
    assert Published("forget", "all", 1e-3, 8, 64, 2).steps == 16
    assert Published("forget", "all", 1e-3, 64, 400).steps == 7
    assert all(row.options["steps"] == (row.steps,) for row in (TAMPERING | SMOOTH).values())


@pytest.mark.parametrize("where", ["all", "lora:rank=2"])
def test_a_snapshot_is_the_model_of_a_run_that_ends_there(where: str):
    both, alone = runs((2, 4), where), runs((2,), where)
    assert [steps for steps, _ in both] == [2, 4]
    assert both[0][1].fingerprint() == alone[0][1].fingerprint() != both[1][1].fingerprint()


def test_it_is_ordinary_training_of_adapters():
    world = language()
    ((_, found),) = runs((3,), "lora:rank=2")
    twin = world.target.copy()
    selection = lora(twin, world.request, rank=2)
    terms = [Term("x", twin.encode(world.request.retain[:12]), own_loss, per="token")]
    train(twin, terms, Recipe(lr=3e-3, batch_size=8, steps=3), selection=selection)
    selection.finish()
    assert twin.fingerprint() == found.fingerprint() != world.target.fingerprint()
    assert {name for name, _ in found.module.named_parameters()} == {
        name for name, _ in world.target.module.named_parameters()
    }


def test_the_model_stays_and_what_may_not_move_stays():
    world = classifier()
    before = world.target.fingerprint()
    records = world.request.retain[:8]
    ((_, found),) = tuned(world.target, world.request, records, (2,), RECIPE, "layers:match=head", "test")
    assert world.target.fingerprint() == before
    own = dict(world.target.module.named_parameters())
    moved = {name for name, weight in found.module.named_parameters() if not torch.equal(weight, own[name])}
    assert moved == {"head.weight", "head.bias"}


def test_a_choice_that_reads_the_forget_set_is_given_the_attackers_records():
    """Saliency is the attacker's own: with other records to train on, other weights move."""
    world = classifier()
    moved = []
    for records in (world.request.retain[:8], world.request.retain[50:58]):
        ((_, found),) = tuned(world.target, world.request, records, (1,), RECIPE, "saliency:keep=0.1", "test")
        own = dict(world.target.module.named_parameters())
        moved.append({name: weight != own[name] for name, weight in found.module.named_parameters()})
    assert any(not torch.equal(moved[0][name], moved[1][name]) for name in moved[0])


def test_records_are_drawn_in_their_order():
    records = [{"id": str(row)} for row in range(20)]
    few = [int(record["id"]) for record in drawn(records, 5, 0)]
    assert len(few) == 5 and all(a < b for a, b in pairwise(few))
    assert drawn(records, 5, 0) == drawn(records, 5, 0) != drawn(records, 5, 1)
    assert drawn(records, 0, 0) == drawn(records, 99, 0) == records


def test_a_place_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="where=lroa does not exist, did you mean 'lora'"):
        runs((1,), "lroa")
