"""Known wrong second-order steps do not end where retraining ends; ours do."""

import numpy as np
import torch

from lethe.losses.curvature import fisher_inverse, influence_direction, woodfisher_published

from . import known_wrong_influence as wrong

SPREAD = np.array([1.0, 0.5, 2.0])


def off(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


def test_a_recursion_that_keeps_its_first_direction_inverts_nothing():
    """Over twenty draws of 1,000 gradients: what comes out is much the v that went in, far from the inverse."""
    v, left, missed = np.ones(3), [], []
    for seed in range(20):
        gradients = np.random.default_rng(seed).normal(size=(1000, 3)) * SPREAD
        exact = np.linalg.solve(np.eye(3) + gradients.T @ gradients / 1000, v)
        assert np.all((exact > 0.15) & (exact < 0.85))
        found = wrong.woodfisher_that_never_turns(gradients, v)
        left.append(off(found, v))
        missed.append(off(found, exact))
        tensors = torch.from_numpy(gradients), torch.from_numpy(v)
        assert off(fisher_inverse(*tensors, 1.0).numpy(), exact) < 1e-12
        if not seed:  # the variant is what it says
            assert off(woodfisher_published(*tensors, 1000).numpy(), found) < 1e-12
    assert np.median(left) < 0.1 and min(missed) > 0.5


def test_the_true_recursion_applies_the_inverse_so_far_to_every_gradient():
    rng = np.random.default_rng(1)
    gradients, v = rng.normal(size=(40, 5)), rng.normal(size=5)
    inverse = np.eye(5) / 0.3
    for g in gradients:
        o = inverse @ g
        inverse -= np.outer(o, o) / (40 + g @ o)
    assert off(fisher_inverse(torch.from_numpy(gradients), torch.from_numpy(v), 0.3).numpy(), inverse @ v) < 1e-12


def least_squares(rows: np.ndarray, aims: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(rows, aims, rcond=None)[0]


def test_a_retain_gradient_from_the_forget_loader_does_not_end_at_the_retrained_weights():
    rng = np.random.default_rng(2)
    rows, aims = rng.normal(size=(60, 4)), rng.normal(size=60)
    # Away from the minimum, as where training stopped early, the retain gradient is no multiple of the forget gradient.
    for start, ours_is_exact in ((least_squares(rows, aims), True), (least_squares(rows, aims) + 0.3, False)):
        slopes = rows * (rows @ start - aims)[:, None]
        forget, retain = slopes[:5].sum(0), slopes[5:].sum(0)
        hessian, goal = rows[5:].T @ rows[5:] / 55, least_squares(rows[5:], aims[5:])
        v = influence_direction(torch.from_numpy(forget), torch.from_numpy(retain), 5, 55).numpy()
        bad = wrong.influence_direction_with_the_forget_loader_twice(forget, retain, 5, 55)
        assert (off(start + np.linalg.solve(hessian, v), goal) < 1e-12) == ours_is_exact
        assert off(start + np.linalg.solve(hessian, bad), goal) > 1e-3


def test_scif_adds_the_mean_gradient_only_where_it_is_none():
    """A Newton step on the edited objective, from the minimum and from elsewhere; squared loss, so it is exact."""
    rng = np.random.default_rng(3)
    rows, aims = rng.normal(size=(60, 4)), rng.normal(size=60)
    edited = aims.copy()
    edited[:5] = 0.1
    goal = least_squares(rows, edited)
    hessian = rows.T @ rows

    def step(start: np.ndarray, sign: int) -> float:
        def summed(answers: np.ndarray, upto: int = 5) -> np.ndarray:
            return rows[:upto].T @ (rows[:upto] @ start - answers[:upto])

        mean = summed(aims, 60) / 60
        parts = summed(aims), summed(edited), mean, 60
        direction = wrong.scif_with_a_plus(*parts) if sign > 0 else parts[0] - parts[1] - 60 * mean
        return off(start + np.linalg.solve(hessian, direction), goal)

    minimum = least_squares(rows, aims)
    assert step(minimum, -1) < 1e-12 and step(minimum, 1) < 1e-12
    assert step(minimum + 0.3, -1) < 1e-12 < 0.5 < step(minimum + 0.3, 1)
