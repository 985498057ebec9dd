"""Gradient ascent: the likelihood itself, with its sign turned."""

from __future__ import annotations

from torch import Tensor

from lethe.losses.catalogue import loss


@loss(kind="example", forgets=True)
def ga(nll: Tensor) -> Tensor:
    """Gradient ascent: the log-likelihood of each answer (B,), which minimising drives to minus infinity.

    Divided by the number of scored tokens this is the ascent of the TOFU code (arXiv 2401.06121). With a retain term
    it is gradient difference; over classes it is NegGrad, weighted against the retain term it is NegGrad+.

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats.
    """
    return -nll
