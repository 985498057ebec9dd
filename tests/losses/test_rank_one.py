"""The closed form of concept redirection, against the dense formula and the numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.rank_one import NullSpace, null_space, portion, redirect

KEY = torch.tensor([[1.0], [2.0], [2.0]]).double()
RESIDUAL = torch.tensor([[3.0], [-3.0]]).double()
PLANE = null_space(torch.diag(torch.tensor([1.0, 0.0, 0.0])), 0.02)  # P = diag(0, 1, 1)


def everything(size: int) -> NullSpace:
    return null_space(torch.zeros(size, size), 1.0)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(keys: Tensor, residuals: Tensor, projector: Tensor, ridge: float, moment: Tensor) -> Tensor:
    """The formula as it is printed."""
    inside = projector @ (keys @ keys.T + moment) + ridge * torch.eye(len(keys)).double()
    return (torch.linalg.inv(inside) @ projector @ keys @ residuals.T).T


def test_the_worked_example():
    change = redirect(KEY, RESIDUAL, PLANE)
    two_thirds = torch.tensor([[0, 2 / 3, 2 / 3], [0, -2 / 3, -2 / 3]]).double()
    assert torch.allclose(change, two_thirds, atol=1e-14)
    assert torch.allclose(change @ KEY, RESIDUAL * 8 / 9, atol=1e-14)
    assert torch.linalg.matrix_rank(change) == 1
    assert (change @ torch.tensor([5.0, 0, 0]).double() == 0).all()


@pytest.mark.parametrize(("ridge", "share"), [(0.1, 0.98765), (1.0, 0.88889), (10.0, 0.44444)])
def test_the_ridge_says_how_much_is_realised(ridge: float, share: float):
    assert (redirect(KEY, RESIDUAL, PLANE, ridge) @ KEY / RESIDUAL)[0].item() == pytest.approx(share, abs=5e-6)


def test_a_projector_is_symmetric_and_idempotent():
    keys = random(6, 9)
    space = null_space(keys @ keys.T, 5.0)
    assert 0 < space.rank < 6
    assert torch.allclose(space.projector, space.projector.T, atol=1e-14)
    assert torch.allclose(space.projector @ space.projector, space.projector, atol=1e-13)
    assert torch.allclose(space.project(keys), space.projector @ keys, atol=1e-13)


def test_a_threshold_is_absolute_or_a_share_of_the_largest():
    moment = torch.diag(torch.tensor([4.0, 1.0, 0.01]))
    assert null_space(moment, 0.02).rank == 1
    assert null_space(moment, 0.3, relative=True).rank == 2
    assert null_space(100 * moment, 0.02).rank == 0  # absolute thresholds depend on the scale of the activations
    assert null_space(100 * moment, 0.3, relative=True).rank == 2


def test_the_whole_space_is_ridge_regression_and_none_is_no_edit():
    keys, residuals = random(5, 2), random(3, 2, seed=1)
    ridge = residuals @ keys.T @ torch.linalg.inv(keys @ keys.T + 0.5 * torch.eye(5).double())
    assert torch.allclose(redirect(keys, residuals, everything(5), 0.5), ridge, atol=1e-12)
    assert (redirect(keys, residuals, null_space(torch.eye(5), 0.5), 0.5) == 0).all()


def test_taking_the_change_off_again_restores_a_matrix_up_to_rounding_only():
    """Bits come back from the kept matrix alone, which is why an edit is of a copy."""
    matrix, change = random(3, 6).float(), redirect(random(6, 1, seed=1), random(3, 1, seed=2), everything(6)).float()
    restored = matrix + change - change
    assert torch.allclose(restored, matrix, atol=1e-6)
    assert not torch.equal(restored, matrix)


@pytest.mark.parametrize("earlier", [0, 3])
def test_it_equals_the_dense_formula(earlier: int):
    others, keys, kept, residuals = random(8, 5), random(8, 2, seed=1), random(8, earlier, seed=2), random(4, 2, seed=3)
    space = null_space(others @ others.T, 1e-6)
    assert space.rank == 3
    expected = dense(keys, residuals, space.projector, 0.7, kept @ kept.T)
    made = redirect(keys, residuals, space, 0.7, kept if earlier else None)
    assert torch.allclose(made, expected, atol=1e-12)
    assert (made @ others).abs().max() < 1e-12


def test_earlier_edits_are_kept():
    first, second, residual = random(6, 1), random(6, 1, seed=1), random(3, 1, seed=2)
    space = everything(6)
    careless = redirect(second, residual, space) @ first
    careful = redirect(second, residual, space, kept=first) @ first
    assert 0 < careful.norm() < careless.norm()
    apart = torch.eye(6).double()
    for kept in (None, apart[:, :1]):  # orthogonal keys do not feel each other
        assert (redirect(apart[:, 1:2], residual, space, kept=kept) @ apart[:, :1] == 0).all()


@pytest.mark.parametrize(
    ("realised", "steps", "left"), [(1.0, [1 / 3] * 3, 0.0), (8 / 9, [0.33333, 0.35185, 0.39095], 0.04344)]
)
def test_later_layers_make_up_for_earlier_ones(realised: float, steps: list[float], left: float):
    target, current = torch.ones(1).double(), torch.zeros(1).double()
    for place, expected in enumerate(steps):
        added = portion(target, current, place, 3)
        assert added.item() == pytest.approx(expected, abs=5e-6)
        current = current + realised * added
    assert (target - current).item() == pytest.approx(left, abs=5e-6)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="ridge is 0"):
        redirect(KEY, RESIDUAL, PLANE, 0.0)
    with pytest.raises(InputError, match="square matrix"):
        null_space(torch.ones(2, 3), 0.1)
    with pytest.raises(InputError, match="threshold"):
        null_space(torch.eye(2), -1.0)
