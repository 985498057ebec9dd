"""What inverts a Hessian that is never formed: influence directions, Fisher estimates, and the series of GIF.

All take flat vectors (P,) and products with them. `lethe.losses.newton.conjugate_gradient` solves the same systems to a
residual that it states, and is what methods use unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.newton import Product


def influence_direction(forget: Tensor, retain: Tensor, n_forget: int, n_retain: int) -> Tensor:
    """Direction (P,) in which forgetting moves: v = (1/N) sum_f g - n_f / (N n_r) sum_r g, N = n_f + n_r.

    Source: arXiv 2304.04934, after Izzo et al. At the optimum of the mean loss of all records, v is minus the gradient
    of the mean retain loss, so that H_r^-1 v with the Hessian of that loss is a Newton step on it: exact where the loss
    is quadratic.

    Args:
        forget: Sum of the gradients of the forget records (P,).
        retain: The same of the retain records.
        n_forget: Number of forget records.
        n_retain: Number of retain records.
    """
    return (forget - n_forget / n_retain * retain) / (n_forget + n_retain)


def softmax_product(logits: Tensor, direction: Tensor) -> Tensor:
    """Hessian of -log p(label) in the logits times a direction, row by row: p d - p (p.d); both (..., V)."""
    p = logits.softmax(-1)
    moved = p * direction
    return moved - p * moved.sum(-1, keepdim=True)


def fisher_inverse(gradients: Tensor, v: Tensor, damping: float) -> Tensor:
    """(damping I + (1/N) sum_i g_i g_i^T)^-1 v, (P,): the rank-one updates of WoodFisher, all at once.

    Woodbury's identity on the N x N matrix of inner products; the same as the recursion in which every step applies the
    inverse so far to the next gradient (Singh and Alistarh, arXiv 2004.14340).

    Args:
        gradients: g_i of one record each (N, P).
        v: Right side (P,).
        damping: Added to the diagonal, above 0.

    Raises:
        InputError: If damping is not positive.
    """
    if not damping > 0:
        raise InputError(f"The damping is {damping:g}; it must be above 0.")
    inner = (gradients @ gradients.T).double()
    inner.diagonal().add_(len(gradients) * damping)
    weights = torch.linalg.solve(inner, (gradients @ v.to(gradients.dtype)).double())
    return (v - (weights.to(gradients.dtype) @ gradients).to(v.dtype)) / damping


def woodfisher_published(gradients: Iterable[Tensor], v: Tensor, count: int) -> Tensor:
    """What the recursion of released unlearning code makes of v, (P,).

        o = g_1, k = v;   for each further g:  t = o.g,  k <- k - (k.g) / (count + t) o,  o <- o - t / (count + t) o

    o never leaves the direction of g_1: k is v with at most that one direction shortened, no F^-1 v. For comparison
    with published numbers only; `fisher_inverse` is what it is meant to be.

    Args:
        gradients: g_1, g_2, ... (P,), of one record each.
        v: Right side (P,).
        count: The N_w of the formulas.
    """
    rest = iter(gradients)
    o, k = next(rest).clone(), v.clone()
    for g in rest:
        t = float(o @ g)
        k = k - float(k @ g) / (count + t) * o
        o = o - t / (count + t) * o
    return k


def kernel_weights(jacobian: Tensor, residual: Tensor, ridge: float) -> Tensor:
    """-J^T (J J^T + ridge I)^-1 residual, (P,): where a linearised network under weight decay goes from 0.

    The minimum of ||J w + residual||^2 + ridge ||w||^2, by the neural tangent kernel J J^T (Golatkar et al., arXiv
    2003.02960); its cost grows with the cube of the outputs.

    Args:
        jacobian: J, one row per output of each record (M, P).
        residual: f_0 - y (M,).
        ridge: n times the weight decay, above 0.
    """
    kernel = (jacobian @ jacobian.T).double()
    kernel.diagonal().add_(ridge)
    solved = torch.linalg.solve(kernel, residual.double())
    return -(solved.to(jacobian.dtype) @ jacobian).double()


def neumann(product: Product, v: Tensor, iterations: int, scale: float, damp: float = 0.0) -> Tensor:
    """The series of GIF, (P,): h / scale after iterations h <- v + (1 - damp) h - H h / scale from h = v.

    Source: arXiv 2304.02835. Without damping it tends to H^-1 v, if no eigenvalue of H / scale reaches 2.

    Raises:
        InputError: If it grows without bound, with the remedy.
    """
    h = v.clone()
    for _ in range(iterations):
        h = v + (1 - damp) * h - product(h) / scale
    if not math.isfinite(length := float(h.norm())) or length > 1e6 * (iterations + 1) * float(v.norm()):
        raise InputError(
            f"The iteration diverges at scale {scale:g}; the largest curvature exceeds twice that: raise it."
        )
    return h / scale
