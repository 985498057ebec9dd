"""Who is in which model: balanced, reproducible, and what is to be forgotten in no reference model."""

import numpy as np
import pytest

from lethe.detection.pools import draw
from lethe.errors import InputError


def test_every_record_is_in_exactly_half_of_the_reference_models():
    pools = draw(200, targets=3, references=6, seed=1)
    assert (len(pools.pool), len(pools.shadow)) == (100, 100)
    assert not set(pools.pool) & set(pools.shadow)
    assert sorted([*pools.pool, *pools.shadow]) == list(range(200))
    assert (pools.inside.sum(axis=1) == 3).all()
    assert (pools.members.sum(axis=1) == 50).all()
    assert (pools.references.sum(axis=1) == 50).all()
    assert pools.shadow_members.sum() == 50
    assert pools.members.shape == (3, 100)
    assert (pools.rows == pools.pool).all()
    assert len(pools.controls) == 0
    assert len({row.tobytes() for row in (*pools.targets, *pools.references)}) == 9


def test_the_same_seed_draws_the_same_and_another_does_not():
    one, same, other = (draw(100, targets=2, references=4, seed=seed) for seed in (0, 0, 1))
    assert (one.targets == same.targets).all()
    assert (one.references == same.references).all()
    assert (one.pool != other.pool).any()


def test_what_is_to_be_forgotten_is_in_all_targets_no_control_and_no_reference_model():
    pools = draw(400, targets=2, references=4, seed=0, forget=0.1)
    members = pools.members
    assert len(pools.audited) == 40
    assert (members.sum(axis=1) == 20).all()
    assert (members[0] == members[1]).all()
    assert not pools.inside.any()
    forgotten = pools.audited[members[0]]
    assert pools.targets[:, forgotten].all()
    assert not pools.controls[:, pools.audited].any()
    others = np.setdiff1d(np.arange(200), forgotten)
    assert (pools.controls[:, others] == pools.targets[:, others]).all()  # nothing else was taken out
    assert (pools.references[0] | pools.references[1]).sum() == 160


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"targets": 0, "references": 2}, "0 targets and 2 references"),
        ({"targets": 1, "references": 3}, "in pairs"),
        ({"targets": 1, "references": 2, "forget": 0.3}, "from 0 to 0.25"),
        ({"targets": 1, "references": 2, "forget": 0.05}, "leaves 5 records to forget"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict, told: str):
    with pytest.raises(InputError, match=told):
        draw(200, **given)
