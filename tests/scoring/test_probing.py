"""Linear probes: they find what was planted, nothing in noise, and never read an entity that they were trained on."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.errors import InputError
from lethe.scoring.probing import Probed, answer_vectors, best_probe, candidates_hit, label_vectors, read_out

PLACES = ["Rome", "Ulm", "Oslo", "Pau"]


def planted(seed: int, strength: float, records: int = 40, layers: int = 3, at: int = 1) -> tuple:
    """States of noise, in one layer of which the label of each record stands along its own direction."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=records)
    states = rng.normal(size=(records, layers, 10))
    states[:, at] += strength * rng.normal(size=(4, 10))[labels]
    return states, labels, [f"e{i // 2}" for i in range(records)]


def probed(states: np.ndarray, labels: np.ndarray, groups: list, seed: int = 0, **options: Any) -> Probed:
    tested = np.ones(len(states), dtype=bool)
    return best_probe(read_out(states, groups, tested, **options), label_vectors(labels.tolist()), tested, seed=seed)


def test_what_was_planted_is_found_where_it_was_planted():
    found = probed(*planted(0, 3.0))
    assert found.best == 1
    assert found.hits.mean() > 0.9
    assert found.p == approx(1 / 201)
    assert found.null == approx(0.5, abs=0.1)


def test_noise_is_found_as_often_as_chance_says():
    """Also over several layers, of which the best is taken: so it is of the random labels."""
    found = [probed(*planted(seed, 0.0, records=24), seed=seed) for seed in range(60)]
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    selectivity = np.array([one.hits.mean() - one.null for one in found])
    assert abs(selectivity.mean()) < 0.03


def test_scale_and_shift_of_states_change_nothing():
    states, labels, groups = planted(1, 1.0)
    moved = states * np.exp(np.random.default_rng(0).normal(size=10)) * 100 + 7
    np.testing.assert_allclose(probed(moved, labels, groups).profile, probed(states, labels, groups).profile)


def test_layers_without_differences_tell_nothing():
    states, labels, groups = planted(1, 1.0)
    states[:, 0] = 5.0
    assert probed(states, labels, groups).profile[0] == 0.5


def test_an_answer_is_read_by_words_that_others_share():
    """Nobody else's answer is the same, and yet it is built of what stands in theirs."""
    rng = np.random.default_rng(0)
    metals, things = rng.integers(4, size=48), rng.integers(4, size=48)
    words = (["Amber", "Copper", "Silver", "Golden"], ["Quill", "Lantern", "Compass", "Laurel"])
    said = [f"the {words[0][m]} {words[1][t]}" for m, t in zip(metals, things, strict=True)]
    wrong = [f"the {words[0][(m + 1) % 4]} {words[1][(t + 2) % 4]}" for m, t in zip(metals, things, strict=True)]
    directions = rng.normal(size=(2, 4, 16))
    states = directions[0][metals] + directions[1][things] + 0.3 * rng.normal(size=(48, 16))
    groups = [said[i] for i in range(48)]  # whoever has the same prize is away
    tested = np.ones(48, dtype=bool)
    vectors = answer_vectors([[a, b] for a, b in zip(said, wrong, strict=True)])
    found = best_probe(read_out(states[:, None], groups, tested), vectors, tested)
    assert found.hits.mean() > 0.85
    assert found.p < 0.05


def test_answers_as_vectors():
    rows = answer_vectors([["Rome.", "rome"], ["Oslo", ""]])
    np.testing.assert_array_equal(rows[0, 0], rows[0, 1])
    assert np.linalg.norm(rows[1, 0]) == approx(1)
    assert not rows[1, 1].any()
    assert rows[0, 0] @ rows[1, 0] == 0


@given(st.integers(1, 6), st.integers(0, 1000))
def test_more_layers_never_lose_a_candidate(k: int, seed: int):
    ranks = np.random.default_rng(seed).integers(8, size=(5, 6))
    hits = [candidates_hit(ranks[:, :lists], k, 36) for lists in range(1, 7)]
    assert all((after >= before).all() for before, after in pairwise(hits))


def test_random_models_are_hit_by_chance():
    """Places drawn from a vocabulary of 50: five lists of four hit in 1 - .92^5 of cases."""
    ranks = np.random.default_rng(0).integers(50, size=(4000, 5))
    assert candidates_hit(ranks, 4, 20).mean() == approx(1 - 0.92**5, abs=0.025)


def test_mistakes():
    states, labels, groups = planted(0, 1.0)
    with pytest.raises(InputError, match="needs at least three"):
        probed(states, labels, ["a", "b"] * 20)
    with pytest.raises(InputError, match="all records have one label"):
        label_vectors([3, 3, 3])
    with pytest.raises(InputError, match="no record is left to train on"):
        probed(states, labels, groups, trained=np.zeros(40, dtype=bool))
    for lists, k in ((5, 5), (21, 1), (5, 0), (0, 1)):
        with pytest.raises(InputError, match="are not 1 to 20 candidates"):
            candidates_hit(np.zeros((3, lists)), k, 20)
