"""FLAT: a template answer is to be told from the one to forget, by a variational f-divergence of their probabilities.

With Pe and Pf the mean token probabilities of template and forget answer, the loss is -(g(Pe) - f*(g(Pf))): g is the
activation that keeps a critic in the domain of the conjugate f* (Nowozin et al., arXiv 1606.00709). No logarithm of a
probability occurs, so tokens that are forgotten exert no pull. Source: Wang et al., arXiv 2410.11143.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss
from lethe.losses.tokens import Compat, cross_entropy, valid
from lethe.registry import did_you_mean

Name = Literal["tv", "kl", "js", "pearson", "jeffrey", "reverse_kl", "hellinger", "neyman"]


@dataclass(frozen=True)
class Divergence:
    """An f-divergence by its critic: `activation` g(v) of a mean probability, `conjugate` f*(u) of a critic's value."""

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]


def _itself(v: Tensor) -> Tensor:
    return v


def _below_one(v: Tensor) -> Tensor:
    return 1 - (-v).exp()


# Generators f(t): |t - 1| / 2; t log t; t log t - (t + 1) log((1 + t) / 2); (t - 1)^2; (t - 1) log t; -log t;
# (sqrt t - 1)^2; (1 - t)^2 / t. The last three have the signs of the f-divergence table: the released code has them
# the other way round and raises the probability of what it is to forget. Jeffrey has a conjugate in special functions
# only; this is the cubic that the released code takes for it, right to 0.02 up to u = 1.
DIVERGENCES: dict[Name, Divergence] = {
    "tv": Divergence(lambda v: v.tanh() / 2, _itself),
    "kl": Divergence(_itself, lambda u: (u - 1).exp()),
    "js": Divergence(lambda v: math.log(2) + F.logsigmoid(v), lambda u: -(2 - u.exp()).log()),
    "pearson": Divergence(_itself, lambda u: u.square() / 4 + u),
    "jeffrey": Divergence(_itself, lambda u: u + u.square() / 4 + u**3 / 16),
    "reverse_kl": Divergence(lambda v: -(-v).exp(), lambda u: -1 - (-u).log()),
    "hellinger": Divergence(_below_one, lambda u: u / (1 - u)),
    "neyman": Divergence(_below_one, lambda u: 2 - 2 * (1 - u).sqrt()),
}


@loss(kind="example", forgets=True)
def flat(logits: Tensor, labels: Tensor, alt_logits: Tensor, alt_labels: Tensor, divergence: Name = "tv") -> Tensor:
    """FLAT (B,): minus the divergence that the critic sees between template and forget answer, no unit, bounded.

    It falls as the template becomes likelier and as the forget answer becomes less likely, whatever the divergence.
    The released code takes the batch mean of both probabilities first: `contrast` of two scalars.

    Args:
        logits: Scores of the forget answer (B, T, V).
        labels: Its token ids (B, T), -100 where nothing is scored.
        alt_logits: Scores of the template answer to the same prompt (B, S, V).
        alt_labels: Its token ids (B, S), -100 where nothing is scored.
        divergence: tv, kl, js, pearson, jeffrey, reverse_kl, hellinger or neyman.

    Raises:
        InputError: If there is no such divergence.
    """
    return contrast(mean_probability(alt_logits, alt_labels), mean_probability(logits, labels), divergence)


def contrast(template: Tensor, forget: Tensor, divergence: Name) -> Tensor:
    """-(g(Pe) - f*(g(Pf))), elementwise, of mean probabilities Pe of the template and Pf of the forget answer.

    Raises:
        InputError: If there is no such divergence.
    """
    if divergence not in DIVERGENCES:
        known = get_args(Name)
        raise InputError(f"There is no divergence {divergence!r}{did_you_mean(divergence, known)}; one of {known}.")
    chosen = DIVERGENCES[divergence]
    return chosen.conjugate(chosen.activation(forget)) - chosen.activation(template)


def mean_probability(logits: Tensor, labels: Tensor, compat: Compat = "masked") -> Tensor:
    """Arithmetic mean of the probabilities of an answer's tokens (B,), 0 to 1; not the exponential of a mean.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        compat: "masked" divides by the number of scored tokens; "reference" by that of all positions, as the released
            code does: the longer the padding, the nearer every divergence is to its linear part.
    """
    scored = valid(labels)
    total = (-cross_entropy(logits, labels)).exp().masked_fill(~scored, 0).sum(1)
    return total / (labels.shape[1] if compat == "reference" else scored.sum(1).clamp(min=1))
