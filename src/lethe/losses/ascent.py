"""Gradient ascent: the likelihood itself, with its sign turned."""

from __future__ import annotations

from torch import Tensor

from lethe.errors import InputError
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


@loss(kind="example", forgets=True)
def capped_ga(nll: Tensor, sizes: Tensor, limit: float = 100.0) -> Tensor:
    """Gradient ascent (B,) that lets go of an answer once it costs `limit` nats per token.

    The released code of LLMU (arXiv 2310.10683) ends its run when the batch's loss passes 100; here each answer stops
    being pushed, which needs no state and leaves the other terms at work.

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats.
        sizes: Number of scored tokens of each answer (B,).
        limit: Nats per token beyond which an answer is left alone.

    Raises:
        InputError: If the limit is not positive.
    """
    if not limit > 0:
        raise InputError(f"limit is {limit}, but it bounds nats per token from above: give a number greater than 0.")
    return -nll.minimum(limit * sizes)
