"""The relearning attack: what it holds back, and that it exposes a method which only hides."""

from itertools import pairwise

import pytest
import torch
from tests.attacks.tiny import classifier, language

from lethe.attacks.relearn import relearn
from lethe.auditing.recovery import attacked, recovery
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.registry import find
from lethe.train import Recipe, Term, train


def test_the_attackers_records_are_never_looked_at():
    world = classifier()
    (point,) = relearn(world.target, world.request, share=0.25, steps=(1,))
    looked_at = {record["id"] for record in point.forget}
    assert len(looked_at) == 30
    others = [relearn(world.target, world.request, share=0.25, steps=(1,), seed=seed) for seed in (1, 2)]
    drawn = [{record["id"] for record in next(iter(points)).forget} for points in others]
    assert drawn[0] != drawn[1]


def test_a_snapshot_is_the_model_of_a_run_that_ends_there():
    world = classifier()
    at_both = list(relearn(world.controls[0], world.request, steps=(2, 6)))
    alone = list(relearn(world.controls[0], world.request, steps=(6,)))
    assert [point.strength for point in at_both] == [2, 6]
    assert at_both[1].model.fingerprint() == alone[0].model.fingerprint() != at_both[0].model.fingerprint()


def test_it_is_ordinary_training_on_the_attackers_records():
    world = classifier()
    (point,) = relearn(world.controls[0], world.request, steps=(4,), lr=1e-3, batch_size=8)
    looked_at = {record["id"] for record in point.forget}
    held = [record for record in world.request.forget if record["id"] not in looked_at]
    by_hand = world.controls[0].copy()
    train(by_hand, [Term("x", by_hand.encode(held), own_loss, per="token")], Recipe(lr=1e-3, steps=4, batch_size=8))
    assert by_hand.fingerprint() == point.model.fingerprint()


def test_bad_shares_and_steps_are_refused():
    world = classifier()
    for share in (0.0, 1.0, 0.001):
        with pytest.raises(InputError, match="both sides need at least one"):
            next(iter(relearn(world.target, world.request, share=share)))
    for steps in ((), (0, 5)):
        with pytest.raises(InputError, match="each 1 or more"):
            next(iter(relearn(world.target, world.request, steps=steps)))


def test_misdirected_representations_come_back():
    """RMU leaves the target silent; a few steps on half of the forget set bring back the other half, in no control."""
    world = language()
    silent = find("method", "rmu").function(world.target, world.request, lr=3e-3, epochs=15)
    assert world.known(silent) < world.known(world.controls[0])
    traces = [
        attacked("relearn", model, world.request, world.measure) for model in (silent, world.controls[0], world.target)
    ]
    found = recovery(*traces)
    assert found.adjusted is not None and found.low is not None
    assert found.adjusted > 0.5 and found.low > 0.2
    assert max(point.control or 0 for point in found.points) < 0.2


def test_more_steps_teach_more():
    world = classifier()
    after = attacked("relearn:steps=5,20,80", world.controls[0], world.request, world.measure).after
    assert all(sum(few) < sum(many) for few, many in pairwise(after))
    assert torch.get_num_threads() == 1
