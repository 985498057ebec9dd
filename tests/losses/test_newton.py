"""Second-order steps on a head: against the explicit Hessian, the closed form, and retraining."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.newton import (
    conjugate_gradient,
    head_curvature,
    head_gradient,
    head_loss,
    influence_step,
    newton_step,
)

WIDTH, CLASSES = 5, 3


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(count, WIDTH, generator=rng, dtype=torch.float64)
    return features, torch.randint(CLASSES, (count,), generator=rng)


def trained(features: Tensor, labels: Tensor, damping: float) -> Tensor:
    """The head that plain optimisation ends at."""
    head = torch.zeros(CLASSES, WIDTH, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [head], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head_loss(head, features, labels, damping)
        loss.backward()
        return loss

    optimizer.step(closure)
    return head.detach()


def test_gradient_and_curvature_are_those_of_the_loss():
    features, labels = rows(20, 0)
    head = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def summed(flat: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(features @ flat.view(CLASSES, WIDTH).T, labels, reduction="sum")

    gradient: Any = torch.autograd.functional.jacobian(summed, head.flatten())
    hessian: Any = torch.autograd.functional.hessian(summed, head.flatten())
    direction = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.allclose(head_gradient(head, features, labels).flatten(), gradient, atol=1e-12)
    assert torch.allclose(
        head_curvature(head, features)(direction).flatten(), hessian @ direction.flatten(), atol=1e-12
    )


def test_on_a_quadratic_loss_one_step_from_anywhere_is_retraining():
    """Ridge regression without the forget rows: w - H_r^-1 g_r, with the solver that the method uses."""
    features, _ = rows(30, 3)
    answers = torch.randn(30, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    kept, aims = features[6:], answers[6:]
    hessian = kept.T @ kept / 24 + 0.1 * torch.eye(WIDTH, dtype=torch.float64)
    retrained = torch.linalg.solve(hessian, kept.T @ aims / 24)
    start = torch.linalg.lstsq(features, answers).solution
    gradient = kept.T @ (kept @ start - aims) / 24 + 0.1 * start
    step = conjugate_gradient(lambda x: hessian @ x, gradient, tolerance=1e-14)
    assert (start - step - retrained).norm() < 1e-12 < (start - retrained).norm()


def test_newton_steps_end_where_retraining_the_head_ends():
    everything, labels = rows(60, 5)
    head, retrained = trained(everything, labels, 0.05), trained(everything[8:], labels[8:], 0.05)
    once = newton_step(head, everything[8:], labels[8:], 0.05)
    assert (once - retrained).norm() < 0.1 * (
        head - retrained
    ).norm()  # close after one step, as certified removal has it
    for _ in range(5):
        once = newton_step(once, everything[8:], labels[8:], 0.05)
    assert torch.allclose(once, retrained, atol=1e-8)


def test_a_step_that_would_overshoot_is_shortened():
    """From far away, where the curvature is gone, the full step would land nowhere."""
    features, labels = rows(40, 6)
    far = 30 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    after = newton_step(far, features, labels, 1e-3)
    assert head_loss(after, features, labels, 1e-3) < head_loss(far, features, labels, 1e-3)


def test_at_the_optimum_influence_and_newton_are_one_step():
    everything, labels = rows(60, 8)
    head = trained(everything, labels, 0.0)
    forget, retain = (everything[:5], labels[:5]), (everything[5:], labels[5:])
    moved = influence_step(head, forget, retain, 1e-9)
    gradient = head_gradient(head, *retain) / 55
    curvature = head_curvature(head, retain[0])
    newton = -conjugate_gradient(lambda x: curvature(x) / 55 + 1e-9 * x, gradient, tolerance=1e-8)
    assert moved.norm() > 1e-2
    assert torch.allclose(moved, newton, atol=1e-4 * float(newton.norm()))


def test_a_curvature_that_is_none_is_refused():
    with pytest.raises(InputError, match="raise the damping"):
        conjugate_gradient(lambda x: -x, torch.ones(2))
