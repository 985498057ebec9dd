"""Certified removal from linear models: the perturbed objective, the Newton removal step, and what it may leak.

    L_b(w) = sum_i l(w.x_i, y_i) + (damping n / 2) ||w||^2 + b.w,    b ~ N(0, sigma^2 I)

A step that removes rows leaves a gradient of the remaining objective, the residual, where retraining leaves none. As
long as its length stays below sigma epsilon / c, the noise b hides it: nobody can tell the weights from retrained ones
but with (epsilon, delta). K problems on the same rows (one-vs-rest) are solved side by side. All their noise together
is one Gaussian, so one budget bounds the length of all their residuals together.

Source: Guo et al. 2020, arXiv 1911.03030. Rows must be no longer than 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError

STEPS = 200  # of Newton's method; some ten are enough from zero


@dataclass(frozen=True)
class Loss:
    """A loss of the score z and the answer y, with its first two derivatives in z.

    `slope_bound` is C, the largest |l'|; `lipschitz` is gamma, how fast l'' may change.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    bend: Callable[[Tensor, Tensor], Tensor]
    slope_bound: float
    lipschitz: float


def _bell(z: Tensor, y: Tensor) -> Tensor:
    p = z.sigmoid()
    return p * (1 - p)


LOSSES: dict[str, Loss] = {
    "logistic": Loss(lambda z, y: F.softplus(-y * z), lambda z, y: -y * (-y * z).sigmoid(), _bell, 1.0, 0.25),
    "squared": Loss(
        lambda z, y: (z - y).square() / 2, lambda z, y: z - y, lambda z, y: torch.ones_like(z), math.inf, 0.0
    ),
}


@dataclass(frozen=True)
class Removal:
    """The weights (K, D) after a removal, and by how much the residual of each problem (K,) can have grown."""

    weights: Tensor
    bound: Tensor  # data-dependent, computable without the removed rows
    worst_case: float  # of every problem, before any row was seen


def objective(weights: Tensor, rows: Tensor, answers: Tensor, damping: float, noise: Tensor, loss: str) -> Tensor:
    """L_b of each problem, (K,).

    Args:
        weights: w (K, D).
        rows: x (N, D).
        answers: y (K, N); of the logistic loss -1 or 1.
        damping: The weight lambda of ||w||^2 / 2 per row.
        noise: b (K, D).
        loss: logistic, or squared (half the squared error).
    """
    value = LOSSES[loss].value(weights @ rows.T, answers).sum(-1)
    return value + damping * len(rows) / 2 * weights.square().sum(-1) + (noise * weights).sum(-1)


def gradient(weights: Tensor, rows: Tensor, answers: Tensor, damping: float, noise: Tensor, loss: str) -> Tensor:
    """Gradient of L_b, (K, D); where the model was to be retrained on these rows, its length is the residual."""
    return LOSSES[loss].slope(weights @ rows.T, answers) @ rows + damping * len(rows) * weights + noise


def hessian(weights: Tensor, rows: Tensor, answers: Tensor, damping: float, loss: str) -> Tensor:
    """Hessian of L_b, (K, D, D): sum of l'' x x^T plus damping n on the diagonal."""
    bend = LOSSES[loss].bend(weights @ rows.T, answers)
    diagonal = damping * len(rows) * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    return rows.T @ (bend[..., None] * rows) + diagonal


def fit(rows: Tensor, answers: Tensor, damping: float, noise: Tensor, loss: str = "logistic") -> Tensor:
    """The minimum of L_b by Newton's method with halved steps, (K, D); arguments as in `objective`.

    Raises:
        InputError: If it is not found, as with a damping near 0.
    """
    weights, slope = torch.zeros_like(noise), noise
    for _ in range(STEPS):
        slope = gradient(weights, rows, answers, damping, noise, loss)
        if bool((slope.norm(dim=-1) <= 1e-12 * len(rows)).all()):
            return weights
        step = torch.linalg.solve(hessian(weights, rows, answers, damping, loss), slope)
        weights = weights - _length(weights, step, slope, rows, answers, damping, noise, loss)[:, None] * step
    if bool((slope.norm(dim=-1) <= 1e-8 * len(rows)).all()):
        return weights
    raise InputError(f"The minimum is not found in {STEPS} steps at damping {damping:g}; raise the damping.")


def _length(weights: Tensor, step: Tensor, slope: Tensor, *problem: object) -> Tensor:
    """For each problem the first of 1, 1/2, 1/4, ... at which the objective falls, (K,)."""
    start, promised = objective(weights, *problem), (slope * step).sum(-1)  # pyright: ignore[reportArgumentType]
    share = torch.ones_like(start)
    for _ in range(30):
        there = objective(weights - share[:, None] * step, *problem)  # pyright: ignore[reportArgumentType]
        worse = there > start - 1e-4 * share * promised + 1e-12 * start.abs()
        if not bool(worse.any()):
            break
        share = torch.where(worse, share / 2, share)
    return share


def removal_step(
    weights: Tensor,
    removed: tuple[Tensor, Tensor],
    left: tuple[Tensor, Tensor],
    damping: float,
    loss: str = "logistic",
    slack: float = 0.0,
) -> Removal:
    """One Newton step, w + H^-1 Delta, on the objective of the rows that are left; it need not know the noise.

    Delta = m damping w + sum over the m removed rows of grad l is minus that objective's gradient where w is the
    minimum with them. Exact for the squared loss.

    Args:
        weights: w (K, D), as trained on both parts.
        removed: Rows (m, D) and answers (K, m).
        left: Rows (n, D) and answers (K, n).
        damping: Weight of ||w||^2 / 2 per row.
        loss: logistic or squared.
        slack: What keeps w from the minimum without noise: ||b|| and the residual so far; widens the worst case.

    Raises:
        InputError: If no row is left.
    """
    (rows, answers), (kept, kept_answers) = removed, left
    if not len(kept):
        raise InputError("No row would be left; a removal needs rows that stay.")
    curve = LOSSES[loss]
    delta = curve.slope(weights @ rows.T, answers) @ rows + damping * len(rows) * weights
    step = torch.linalg.solve(hessian(weights, kept, kept_answers, damping, loss), delta)
    size, length = torch.linalg.matrix_norm(kept, 2), step.norm(dim=-1)
    bound = curve.lipschitz * size * length * (step @ kept.T).norm(dim=-1)
    worst = worst_case(curve, damping, len(kept) + len(rows), len(rows), slack)
    return Removal(weights + step, bound, worst)


def remove(
    weights: Tensor,
    rows: Tensor,
    answers: Tensor,
    gone: Tensor,
    damping: float,
    loss: str = "logistic",
    at_once: int = 1,
) -> Removal:
    """The rows that `gone` (N,) marks, so many in every step; bounds add up over the steps.

    The bound of a step grows with the square of its rows: one by one costs the least budget and the most time. Other
    arguments as in `removal_step`; `rows` (N, D) and `answers` (K, N) are those before.
    """
    left, bound, worst = torch.ones_like(gone), torch.zeros_like(weights[:, 0]), 0.0
    for chosen in gone.nonzero()[:, 0].split(at_once):
        left[chosen] = False
        away, kept = ((rows[part], answers[:, part]) for part in (chosen, left))
        step = removal_step(weights, away, kept, damping, loss)
        weights, bound, worst = step.weights, bound + step.bound, worst + step.worst_case
    return Removal(weights, bound, worst)


def worst_case(loss: Loss, damping: float, count: int, removed: int = 1, slack: float = 0.0) -> float:
    """4 gamma m^2 C^2 / (damping^2 (n - m)): the most that removing m of n rows can leave, whatever the rows.

    Args:
        loss: Its C and gamma.
        damping: Weight of ||w||^2 / 2 per row.
        count: n, rows before.
        removed: m.
        slack: Length of what pulls w beside the losses; the paper's bound has none: ||w|| <= C / damping.
    """
    if loss.lipschitz == 0:
        return 0.0
    pull = 2 * loss.slope_bound + slack / count
    return loss.lipschitz * (removed * pull) ** 2 / (damping**2 * (count - removed))


def budget(sigma: float, epsilon: float, delta: float) -> float:
    """Longest residual that noise of this size hides: sigma epsilon / c with c = sqrt(2 ln(1.5 / delta)).

    Raises:
        InputError: If a number is not positive, or delta not below 1.
    """
    if not (sigma > 0 and epsilon > 0 and 0 < delta < 1):
        raise InputError(
            f"sigma={sigma:g} and epsilon={epsilon:g} must be above 0 and delta={delta:g} between 0 and 1."
        )
    return sigma * epsilon / math.sqrt(2 * math.log(1.5 / delta))
