"""Attacks on pairs of models, and the forgetting score of the NeurIPS 2023 competition."""

import numpy as np
import pytest
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import forgetting, lira, roc
from lethe.scoring.detection_references import model_lira

PAIRS, POINTS = 24, 40


def worlds(shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points that differ widely in difficulty, and members that are `shift` above the rest."""
    rng = np.random.default_rng(seed)
    level = 5 * rng.normal(size=POINTS)
    return level + shift + rng.normal(size=(PAIRS, POINTS)), level + rng.normal(size=(PAIRS, POINTS))


def test_lira_by_hand():
    inside, outside = np.array([[2.0, 3, 4]]), np.array([[-1.0, 0, 1]])
    unit = np.sqrt(3 / 2)  # of deviation 1
    assert model_lira(phi=[2.0], phi_in=3 + unit * (inside - 3), phi_out=unit * outside, spread="record") == approx(1.5)


def told(shift: float, seed: int = 0, draws: int = 1000) -> tuple[lira.Attack, np.ndarray, np.ndarray]:
    """Half of the pairs attacked by what is known of the others."""
    inside, outside = worlds(shift, seed)
    known, asked = slice(0, PAIRS // 2), slice(PAIRS // 2, None)
    members, others = (lira.ratio(side[asked], inside[known], outside[known]) for side in (inside, outside))
    return lira.attack(members, others, seed=0, draws=draws), members, others


def test_the_ratio_is_that_of_lira_and_turns_with_the_sides():
    inside, outside = worlds(1.0)
    found = lira.ratio(inside[:1], inside[1:], outside[1:])
    assert found[0] == approx(model_lira(phi=inside[0], phi_in=inside[1:].T, phi_out=outside[1:].T, spread="record"))
    assert -lira.ratio(inside[:1], outside[1:], inside[1:]) == approx(found)
    shared = lira.ratio(inside[:1], inside[1:], outside[1:], spread="global")
    assert not np.allclose(shared, found)


def test_a_population_threshold_overlooks_what_each_point_tells():
    found, members, others = told(2.0)
    inside, outside = worlds(2.0)
    population = lira.attack(inside, outside, seed=0, threshold=float(np.median([inside, outside])))
    assert found.accuracy.low > population.accuracy.high
    assert found.auc.low > 0.8
    assert found.auc.value == approx(roc.auc(members.ravel(), others.ravel()))


def test_chance_is_within_the_interval_nine_times_in_ten():
    found = [told(0, seed, 200)[0].accuracy for seed in range(40)]
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) >= 0.9


def test_attack_of_known_scores():
    members, others = np.array([[3.0, 1.0], [0.0, 2.0]]), np.array([[-1.0, 0.0], [-2.0, 2.0]])
    found = lira.attack(members, others, seed=0, draws=50)
    assert found.accuracy.value == approx((3.5 / 4 + 2.5 / 4) / 2)
    assert found.auc.value == approx(roc.auc(members.ravel(), others.ravel()))
    assert found.tpr.value == approx(0.25)
    assert not found.resolved
    perfect = lira.attack(np.ones((4, 50)), -np.ones((4, 50)), seed=0, draws=50)
    assert all(one == approx((1, 1, 1)) for one in perfect[:3])
    assert perfect.resolved


def test_what_cannot_be_attacked_is_refused():
    with pytest.raises(InputError, match="2 and 3 reference models"):
        lira.ratio(np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(InputError, match="phi of 3, 4 and 4 points"):
        lira.ratio(np.ones((2, 3)), np.ones((3, 4)), np.ones((3, 4)))
    with pytest.raises(InputError, match="differ"):
        lira.attack(np.ones((3, 3)), np.ones((3, 4)), seed=0)


@pytest.mark.parametrize(
    ("fpr", "fnr", "expected"), [(0.1, 0.5, 1.609418), (0.2, 0.3, 1.252749), (0.01, 0.9, 2.302485), (0.5, 0.5, 0)]
)
def test_epsilon_of_the_specification(fpr: float, fnr: float, expected: float):
    assert forgetting.epsilon(fpr, fnr) == approx(expected, abs=1e-6)


def test_epsilon_at_the_ends():
    assert forgetting.epsilon([0.0], [0.0])[0] == np.inf
    assert np.isnan(forgetting.epsilon([0.0, 0.3], [0.3, 0.0])).all()
    assert forgetting.epsilon([1.0], [0.9]) == approx(0)  # nothing is proved by a rule that is always wrong
    with pytest.raises(InputError, match=r"rates in 0\.\.1"):
        forgetting.epsilon([1.1], [0.0])


def test_points_halve_with_every_half():
    assert forgetting.points([0, 0.49, 0.5, 1, 2, 6, 7, np.inf]) == approx(
        [1, 1, 0.5, 0.25, 0.0625, 2**-12, 2**-12, 2**-12]
    )


def brute_force(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """All intervals of a fine grid and their complements, one after the other."""
    edges = [-np.inf, *np.unique([*unlearned, *retrained]) + 1e-9, np.inf]
    best = 0.0
    for i, low in enumerate(edges):
        for high in edges[i + 1 :]:
            for says in (lambda x, a=low, b=high: (a < x) & (x < b), lambda x, a=low, b=high: (x < a) | (x > b)):
                value = forgetting.epsilon(says(retrained).mean(), (~says(unlearned)).mean())
                best = max(best, float(np.nan_to_num(value, posinf=np.inf)))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_the_best_rule_is_that_of_all_rules(seed: int):
    rng = np.random.default_rng(seed)
    unlearned, retrained = rng.normal(size=9), rng.normal(0.5 * seed, 1 + seed, size=7)
    assert forgetting.example_epsilon(unlearned, retrained) == approx(brute_force(unlearned, retrained))


def test_two_thresholds_see_a_spread_that_one_does_not():
    wide, narrow = np.linspace(-3, 3, 40), np.linspace(-0.5, 0.5, 40)
    assert forgetting.example_epsilon(wide, narrow) > 1.5
    assert forgetting.example_epsilon([5.0, 6.0], [1.0, 2.0]) == np.inf


def test_the_best_of_many_rules_sees_a_difference_where_there_is_none():
    """Even with many models: a short interval with one false alarm is always found. The bound is not taken in."""
    rng = np.random.default_rng(0)
    for models in (16, 128):
        same = forgetting.forgetting(rng.normal(size=(models, 20)), rng.normal(size=(models, 20)))
        assert same.quality < 0.3
        assert same.bound > 0.9
    apart = forgetting.forgetting(rng.normal(6, 1, size=(64, 20)), rng.normal(size=(64, 20)))
    assert apart.quality < 0.01
    assert apart.quality <= apart.bound < 0.1
    assert forgetting.forgetting_score(0.8, 0.9, 1.0, 0.6, 0.8) == approx(0.8 * 0.9 * 0.75)
