"""Losses with an explicit target distribution: the model is told what to say instead, so none is unbounded.

The target is the reference without its answer (UNDIAL), the model's own without it (CE-U), the uniform one (ME), or
the tokens of a refusal (JensUn).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss
from lethe.losses.tokens import IGNORED, Compat, valid, wide

FLOOR = 1e-9  # least probability in JensUn's divergence, as in its code


@loss(kind="token", forgets=True)
def undial(ref_logits: Tensor, logits: Tensor, labels: Tensor, beta: float = 10.0, compat: Compat = "masked") -> Tensor:
    """UNDIAL (B, T): cross-entropy in nats with the reference whose logit of the label is lowered by beta.

    At beta 0 it distils the reference. Source: Dong et al., arXiv 2402.10052.

    Args:
        ref_logits: Scores of the model before unlearning (B, T, V).
        logits: Scores of the model being trained (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        beta: How far the label's logit is lowered, at least 0.
        compat: "masked" is 0 at ignored positions; "reference" distils the reference there, too, as the released code
            does but for its defect (there -100 counts from the end of the vocabulary and lowers an unrelated token).

    Raises:
        InputError: If beta is negative.
    """
    if not 0 <= beta < math.inf:
        raise InputError(f"beta is {beta}, but it lowers the logit of the answer: give a number of at least 0.")
    scored = valid(labels).unsqueeze(-1)
    reference = wide(ref_logits.detach())
    target = reference.scatter_add(-1, _named(labels), -beta * scored.to(reference.dtype)).softmax(-1)
    return _unless_reference(_cross_entropy(target, logits), labels, compat)


@loss(kind="token", forgets=True)
def ceu(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy unlearning (B, T): with the model's own distribution q renormalised without the label, in nats.

    The gradient for the logits is p - q: p(label) for the label and at most 0 for all others. As the label vanishes the
    loss tends to the entropy of p, not to 0. Source: Yang, arXiv 2503.01224.

    Args:
        logits: Scores (B, T, V), V at least 2.
        labels: Token ids (B, T), -100 where nothing is scored; see `without_first`.
    """
    rest = wide(logits.detach()).scatter(-1, _named(labels), -math.inf).softmax(-1)
    return _cross_entropy(rest, logits).masked_fill(~valid(labels), 0)


@loss(kind="token", forgets=True)
def me(logits: Tensor, labels: Tensor, compat: Compat = "masked") -> Tensor:
    """Maximum entropy (B, T): KL(uniform || model) in nats, 0 only where the model has no opinion at all.

    Source: Yuan et al., arXiv 2410.08109. Over all positions it is what ULD (arXiv 2406.08607) asks of its assistant on
    the retain set.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        compat: "masked" is 0 at ignored positions; "reference" scores them, too.
    """
    values = -math.log(logits.shape[-1]) - wide(logits).log_softmax(-1).mean(-1)
    return _unless_reference(values, labels, compat)


@loss(kind="token", forgets=True)
def jensun_forget(logits: Tensor, alt_labels: Tensor) -> Tensor:
    """JensUn's forget term (B, T): Jensen-Shannon divergence in nats to a token of a refusal, 0 to log 2.

    Its gradient vanishes where the refusal has no probability left, and where it has all of it.
    Source: Singh et al., arXiv 2509.02820.

    Args:
        logits: Scores (B, T, V).
        alt_labels: Tokens to be said instead (B, T), -100 where nothing is scored; see `repeated`.
    """
    p = wide(logits).softmax(-1)
    certain = torch.zeros_like(p).scatter(-1, _named(alt_labels), 1.0)
    return _jensen_shannon(p, certain).masked_fill(~valid(alt_labels), 0)


@loss(kind="token", forgets=False)
def jensun_retain(ref_logits: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """JensUn's retain term (B, T): Jensen-Shannon divergence in nats to the reference, 0 to log 2.

    Source: Singh et al., arXiv 2509.02820.

    Args:
        ref_logits: Scores of the model before unlearning (B, T, V).
        logits: Scores of the model being trained (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
    """
    values = _jensen_shannon(wide(ref_logits.detach()).softmax(-1), wide(logits).softmax(-1))
    return values.masked_fill(~valid(labels), 0)


def without_first(labels: Tensor, count: int) -> Tensor:
    """The labels with the first `count` scored tokens of each sequence ignored (CE-U skips those that give no hint)."""
    return labels.masked_fill(valid(labels).cumsum(1) <= count, IGNORED)


def repeated(labels: Tensor, pattern: Sequence[int]) -> Tensor:
    """The pattern over and over in place of the scored labels (B, T): the k-th gets `pattern[k % len(pattern)]`."""
    scored = valid(labels)
    turn = (scored.cumsum(1) - 1).clamp(min=0) % len(pattern)
    return torch.tensor(pattern, device=labels.device)[turn].masked_fill(~scored, IGNORED)


def _named(labels: Tensor) -> Tensor:
    """Labels as indices (B, T, 1); where nothing is scored some token, whose value nobody reads."""
    return labels.masked_fill(labels == IGNORED, 0).unsqueeze(-1)


def _cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    # A token that the target rules out adds 0, also where the model rules it out too and the product would be nan.
    return -(target * wide(logits).log_softmax(-1)).masked_fill(target == 0, 0).sum(-1)


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    p, q = p.clamp(min=FLOOR), q.clamp(min=FLOOR)
    middle = (p + q) / 2
    return (p * (p / middle).log() + q * (q / middle).log()).sum(-1) / 2


def _unless_reference(values: Tensor, labels: Tensor, compat: Compat) -> Tensor:
    return values if compat == "reference" else values.masked_fill(~valid(labels), 0)
