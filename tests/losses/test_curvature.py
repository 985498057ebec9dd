"""Inverting a Hessian without it: closed forms, and the series of GIF."""

from typing import Any

import pytest
import torch

from lethe.errors import InputError
from lethe.losses.curvature import fisher_inverse, influence_direction, kernel_weights, neumann, softmax_product
from lethe.losses.newton import conjugate_gradient

DIAGONAL = torch.tensor([1.0, 2.0]).double()
ONES = torch.ones(2).double()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_influence_step_is_retraining_where_the_loss_is_quadratic():
    rows, aims = drawn(40, 5), drawn(40, seed=1)
    start = torch.linalg.lstsq(rows, aims).solution
    slopes = rows * (rows @ start - aims)[:, None]
    v = influence_direction(slopes[:6].sum(0), slopes[6:].sum(0), 6, 34)
    retrained = torch.linalg.lstsq(rows[6:], aims[6:]).solution
    moved = start + torch.linalg.solve(rows[6:].T @ rows[6:] / 34, v)
    assert (moved - retrained).norm() < 1e-10 < 1e-2 < (start - retrained).norm()


def test_the_softmax_product_is_the_hessian_of_the_loss():
    logits, direction = drawn(4), drawn(4, seed=1)
    hessian: Any = torch.autograd.functional.hessian(lambda z: -z.log_softmax(-1)[2], logits)
    assert torch.allclose(softmax_product(logits, direction), hessian @ direction, atol=1e-12)


def test_the_series_of_gif_ends_at_the_inverse():
    def product(x: torch.Tensor) -> torch.Tensor:
        return DIAGONAL * x

    assert torch.allclose(neumann(product, ONES, 500, 10.0), torch.tensor([1.0, 0.5]).double(), atol=1e-12)
    early = neumann(product, ONES, 5, 10.0)
    by_hand = sum((1 - DIAGONAL / 10) ** k for k in range(6)) / 10
    assert torch.allclose(early, torch.as_tensor(by_hand))
    damped = neumann(product, ONES, 500, 10.0, damp=0.1)
    assert torch.allclose(damped, 1 / (DIAGONAL + 1.0), atol=1e-12)  # damp * scale on the diagonal


def test_a_scale_below_half_the_curvature_is_refused():
    with pytest.raises(InputError, match=r"diverges at scale 0\.9"):
        neumann(lambda x: DIAGONAL * x, ONES, 500, 0.9)
    with pytest.raises(InputError, match="damping is 0"):
        fisher_inverse(drawn(3, 2), ONES, 0.0)


def test_the_kernel_solves_the_ridge_problem_of_the_weights():
    slopes, residual = drawn(6, 9), drawn(6, seed=1)
    primal = -torch.linalg.solve(slopes.T @ slopes + 0.3 * torch.eye(9).double(), slopes.T @ residual)
    assert torch.allclose(kernel_weights(slopes, residual, 0.3), primal, atol=1e-12)


def ridge(rows: torch.Tensor, aims: torch.Tensor, weight: float) -> torch.Tensor:
    return torch.linalg.solve(rows.T @ rows + weight * torch.eye(rows.shape[1]).double(), rows.T @ aims)


def test_ridge_per_user_is_exact_with_the_hessian_of_what_stays_and_too_short_with_that_of_all():
    """Item factors are fixed; the ridge does not grow with the rows."""
    items, aims, weight = drawn(50, 4), drawn(50, seed=1), 0.3
    start, goal = ridge(items, aims, weight), ridge(items[1:], aims[1:], weight)
    g = items[0] * (items[0] @ start - aims[0])
    whole = items.T @ items + weight * torch.eye(4).double()
    rest = whole - torch.outer(items[0], items[0])

    def solved(matrix: torch.Tensor) -> torch.Tensor:
        return conjugate_gradient(lambda x: matrix @ x, g, tolerance=1e-14)

    assert (start + solved(rest) - goal).norm() < 1e-10 < 1e-3 < (start - goal).norm()
    leverage = items[0] @ torch.linalg.solve(whole, items[0])
    assert torch.allclose(solved(whole), (1 - leverage) * (goal - start), atol=1e-12)


@pytest.mark.parametrize("count", [50, 800])
def test_of_a_mean_loss_the_gradient_must_be_that_of_the_new_objective(count: int):
    items, aims, weight = drawn(count, 4), drawn(count, seed=1), 0.1

    def parts(rows: torch.Tensor, answers: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hessian = rows.T @ rows / len(rows) + weight * torch.eye(4).double()
        return hessian, rows.T @ (rows @ at - answers) / len(rows) + weight * at

    start = ridge(items, aims, weight * count)
    goal = ridge(items[1:], aims[1:], weight * (count - 1))
    hessian, gradient = parts(items[1:], aims[1:], start)
    g = items[0] * (items[0] @ start - aims[0])
    assert (start - torch.linalg.solve(hessian, gradient) - goal).norm() < 1e-12
    short = start + torch.linalg.solve(hessian, g) / count
    assert 0.01 < (short - goal).norm() / (goal - start).norm() < 0.5
