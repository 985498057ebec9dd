"""Gradient ascent token by token, each token with a weight that fades as it is forgotten.

Ascent drives the likelihood of a token to minus infinity, because the slope of its logarithm grows without bound. A
weight that falls with the token's probability p stops that; no gradient flows through it.
"""

from __future__ import annotations

import math

from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss
from lethe.losses.tokens import cross_entropy


@loss(kind="token", forgets=True)
def wga(logits: Tensor, labels: Tensor, beta: float = 1.0) -> Tensor:
    """Weighted gradient ascent (B, T): p^beta log p with a constant weight, in nats, at most 0, 0 where ignored.

    At beta 0 it is gradient ascent. Source: Wang et al., arXiv 2502.19301.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        beta: Exponent of the weight, at least 0; the larger, the sooner a token is left alone.

    Raises:
        InputError: If beta is negative.
    """
    return satimp(logits, labels, beta1=_exponent(beta, "beta"), beta2=0.0)


@loss(kind="token", forgets=True)
def satimp(logits: Tensor, labels: Tensor, beta1: float = 5.0, beta2: float = 1.0) -> Tensor:
    """SatImp (B, T): p^beta1 (1 - p)^beta2 log p with a constant weight, in nats, at most 0, 0 where ignored.

    The first factor leaves what is forgotten alone, the second what is known so well that it says little: a token that
    the model is certain of is not moved at all, so verbatim memories are slow to start. At beta2 0 it is WGA.
    Source: Yang et al., arXiv 2505.11953.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        beta1: Exponent of p (saturation), at least 0.
        beta2: Exponent of 1 - p (importance), at least 0.

    Raises:
        InputError: If an exponent is negative.
    """
    nll = cross_entropy(logits, labels)
    known = nll.detach()
    saturation = (-_exponent(beta1, "beta1") * known).exp()
    return -(saturation * (-(-known).expm1()) ** _exponent(beta2, "beta2") * nll)


@loss(kind="token", forgets=True)
def tnpo(logits: Tensor, labels: Tensor, ref_token_nll: Tensor, beta: float = 4.0, epsilon: float = 1e-5) -> Tensor:
    """Token-wise NPO (B, T): log p times the constant 2 p^beta / (p^beta + p_ref^beta + epsilon), in nats, at most 0.

    The weight of NPO's gradient, per token instead of per answer. The epsilon is the released code's: it also leaves
    alone what was never likely (p_ref^beta << epsilon). Source: Wang et al., arXiv 2502.19301.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        ref_token_nll: Negative log-likelihood of each label under the model before unlearning (B, T), nats.
        beta: Inverse temperature, at least 0.
        epsilon: Added to the denominator, at least 0.

    Raises:
        InputError: If beta or epsilon is negative.
    """
    return wtnpo(logits, labels, ref_token_nll, beta, alpha=0.0, epsilon=epsilon)


@loss(kind="token", forgets=True)
def wtnpo(
    logits: Tensor,
    labels: Tensor,
    ref_token_nll: Tensor,
    beta: float = 4.0,
    alpha: float = 1.5,
    epsilon: float = 1e-5,
) -> Tensor:
    """Weighted token-wise NPO (B, T): TNPO with its weight times p^alpha, in nats, at most 0, 0 where ignored.

    Source: Wang et al., arXiv 2502.19301.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        ref_token_nll: Negative log-likelihood of each label under the model before unlearning (B, T), nats.
        beta: Inverse temperature, at least 0.
        alpha: Exponent of the further weight, at least 0.
        epsilon: Added to the denominator, at least 0.

    Raises:
        InputError: If beta, alpha or epsilon is negative.
    """
    nll = cross_entropy(logits, labels)
    known, scale = nll.detach(), _exponent(beta, "beta")
    # 2 / (1 + (p_ref / p)^beta + epsilon / p^beta) by logarithms: the powers overflow long before the weight does.
    floor = math.log(epsilon) if _exponent(epsilon, "epsilon") else -math.inf
    excess = (scale * (known - ref_token_nll.detach())).logaddexp(scale * known + floor)
    return -(2 * (-excess).sigmoid() * (-_exponent(alpha, "alpha") * known).exp() * nll)


def _exponent(value: float, name: str) -> float:
    if not 0 <= value < math.inf:
        raise InputError(f"{name} is {value}, but it weighs tokens by their probability: give a number of at least 0.")
    return value
