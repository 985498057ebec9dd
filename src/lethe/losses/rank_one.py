"""Closed-form edits of one linear map: what a key is answered with changes, what other keys are answered with stays.

A linear map W (D, d) answers a key k (d,) with W k. Rank-one concept redirection (ROCR, arXiv 2506.07795) adds the dW
that minimises ||dW k - r||^2 + ||dW S^(1/2)||^2 + lambda ||dW||^2 over the matrices that vanish outside the near-null
space of the keys to be kept. Everything is solved in float64: the systems are small and badly scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lethe.errors import InputError


class NullSpace(NamedTuple):
    """Orthonormal basis (d, rank) of the directions that an edit may use; `values` (d,) is the whole spectrum."""

    basis: Tensor
    values: Tensor

    @property
    def rank(self) -> int:
        """Dimension of the space; at 0 an edit does nothing, at d nothing is protected."""
        return self.basis.shape[1]

    @property
    def projector(self) -> Tensor:
        """P (d, d): symmetric, idempotent."""
        return self.basis @ self.basis.T

    def project(self, keys: Tensor) -> Tensor:
        """P keys, (d, n) -> (d, n), without the square matrix."""
        return self.basis @ (self.basis.T @ keys)


def null_space(moment: Tensor, threshold: float, relative: bool = False) -> NullSpace:
    """Eigenvectors of the keys' second moment E[k k^T] (d, d) whose eigenvalue lies below a threshold.

    Args:
        moment: Symmetric, positive semidefinite, (d, d), in squared units of the keys.
        threshold: In the units of the moment (0.02 in the paper), or as a share of the largest eigenvalue.
        relative: Whether it is that share.

    Raises:
        InputError: If the matrix is not square, or the threshold is negative.
    """
    if moment.dim() != 2 or moment.shape[0] != moment.shape[1]:
        raise InputError(f"A second moment is a square matrix, not {tuple(moment.shape)}.")
    if not threshold >= 0:
        raise InputError(f"The threshold of a null space is {threshold}; it must be at least 0.")
    values, vectors = torch.linalg.eigh(moment.double())
    limit = threshold * float(values[-1]) if relative else threshold
    return NullSpace(vectors[:, values < limit], values)


def redirect(
    keys: Tensor, residuals: Tensor, space: NullSpace, ridge: float = 1.0, kept: Tensor | None = None
) -> Tensor:
    """Return dW (D, d) = ((P (K K^T + S) + lambda I)^-1 P K R^T)^T (arXiv 2506.07795, equation of the edit).

    With one key and S = 0 this is r (P k)^T / (lambda + k^T P k). Solved in the span of the keys (Woodbury), so that
    its cost is that of a few products with the keys, whatever d is.

    Args:
        keys: K (d, n), one column per concept.
        residuals: R (D, n), what is to be added to the answer of each.
        space: Directions that the edit may use, P = `space.projector`.
        ridge: lambda > 0, in squared units of the keys.
        kept: Keys (d, m) of earlier edits; S is the sum of their outer products.

    Raises:
        InputError: If the ridge is not positive.
    """
    if not ridge > 0:
        raise InputError(f"redirect: ridge is {ridge}; it must be above 0, or the edit may have no solution.")
    new = keys.double()
    known = new if kept is None else torch.cat([kept.double(), new], 1)  # K K^T + S = A A^T
    projected, inner = space.project(known), space.project(new)
    system = known.T @ projected + ridge * torch.eye(known.shape[1], dtype=torch.float64, device=known.device)
    solution = (inner - projected @ torch.linalg.solve(system, known.T @ inner)) / ridge
    return residuals.double() @ solution.T


def portion(target: Tensor, current: Tensor, place: int, places: int) -> Tensor:
    """What the edit of the `place`-th of `places` layers (from 0) adds: an equal share of the way that is left.

    The way is measured anew after each edit, so that later layers make up for what earlier ones did not realise.
    """
    return (target - current) / (places - place)
