"""Second-order steps on a linear head: the curvature of softmax regression as products, and their solution.

A head W (V, D) scores features X (N, D) as X W^T. Its regularised loss is the mean of -log p(label) plus
damping / 2 ||W||^2: convex, so that one Newton step is exact where the loss is quadratic, and a few are retraining.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError

Product = Callable[[Tensor], Tensor]


def head_gradient(head: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Sum over rows of the gradient of -log p(label), (V, D): (p - one-hot)^T X."""
    excess = (features @ head.T).softmax(-1)
    excess[torch.arange(len(labels), device=labels.device), labels] -= 1
    return excess.T @ features


def head_curvature(head: Tensor, features: Tensor) -> Product:
    """The Hessian of the summed loss as a product with a direction (V, D): never the (VD, VD) matrix itself."""
    p = (features @ head.T).softmax(-1)

    def product(direction: Tensor) -> Tensor:
        moved = p * (features @ direction.T)
        return (moved - p * moved.sum(-1, keepdim=True)).T @ features

    return product


def head_loss(head: Tensor, features: Tensor, labels: Tensor, damping: float) -> Tensor:
    """Mean loss in nats plus damping / 2 ||W||^2, a scalar."""
    return F.cross_entropy(features @ head.T, labels) + damping / 2 * head.square().sum()


def conjugate_gradient(product: Product, right: Tensor, iterations: int = 100, tolerance: float = 1e-10) -> Tensor:
    """Solve A x = right for a symmetric positive definite A that is given by its products; x has the shape of `right`.

    Args:
        product: x -> A x.
        right: Right side, any shape.
        iterations: Most iterations.
        tolerance: Length of the residual, in lengths of the right side, at which the solution is good enough.

    Raises:
        InputError: If A turns out not to be positive definite.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), residual.square().sum()
    goal = tolerance**2 * size
    for _ in range(iterations):
        if size <= goal:
            break
        moved = product(direction)
        bend = (direction * moved).sum()
        if not bend > 0:
            raise InputError("The loss has no positive curvature in some direction; raise the damping.")
        step = size / bend
        solution, residual = solution + step * direction, residual - step * moved
        size, before = residual.square().sum(), size
        direction = residual + size / before * direction
    return solution


def newton_step(
    head: Tensor, features: Tensor, labels: Tensor, damping: float, iterations: int = 100, share: float = 1.0
) -> Tensor:
    """The head after one Newton step on the regularised loss of these rows, halved until that loss falls, (V, D)."""
    count = len(labels)
    curvature = head_curvature(head, features)
    gradient = head_gradient(head, features, labels) / count + damping * head
    step = conjugate_gradient(lambda x: curvature(x) / count + damping * x, gradient, iterations, 1e-8)
    start = head_loss(head, features, labels, damping)
    for _ in range(30):
        moved = head - share * step
        if head_loss(moved, features, labels, damping) <= start:
            return moved
        share /= 2
    return head.clone()


def influence_step(
    head: Tensor, forget: tuple[Tensor, Tensor], retain: tuple[Tensor, Tensor], damping: float, iterations: int = 100
) -> Tensor:
    """What one influence step adds to the head, (V, D): (H_r + damping)^-1 v (Izzo et al.; WoodFisher unlearning).

    v = (1/N) sum_f g - n_f / (N n_r) sum_r g, with H_r the Hessian of the mean loss on the retain rows and N = n_f +
    n_r. At the optimum of all rows v is minus the gradient of the mean retain loss, and both steps are one.

    Args:
        head: W (V, D).
        forget: Features (n_f, D) and labels (n_f,).
        retain: Features (n_r, D) and labels (n_r,).
        damping: Added to the diagonal of the Hessian.
        iterations: Most iterations of conjugate gradient.
    """
    n_f, n_r = len(forget[1]), len(retain[1])
    away = head_gradient(head, *forget) / (n_f + n_r)
    away = away - n_f / ((n_f + n_r) * n_r) * head_gradient(head, *retain)
    curvature = head_curvature(head, retain[0])
    return conjugate_gradient(lambda x: curvature(x) / n_r + damping * x, away, iterations, 1e-8)
