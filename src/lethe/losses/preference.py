"""Preference losses: the answer is the rejected one; a sigmoid damps what is forgotten already.

The likelihoods inside the sigmoid are sums over the answer (`tokens.sequence_nll`): with token means all examples
would get nearly the same weight, and a beta of 0.1 would damp nothing.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss

KTO = Literal["paper", "sigmoid", "logsigmoid"]


def _bounded(margin: Tensor, beta: float) -> Tensor:
    """-(2/beta) log sigmoid(beta margin): slope -1 at margin 0, and finite at any margin."""
    return -2 / _positive(beta) * F.logsigmoid(beta * margin)


def _positive(beta: float) -> float:
    if not beta > 0:
        raise InputError(f"beta is {beta}, but it scales a margin in nats: give a number greater than 0, such as 0.1.")
    return beta


@loss(kind="example", forgets=True)
def npo(nll: Tensor, ref_nll: Tensor, beta: float = 0.1) -> Tensor:
    """Negative preference optimisation (B,): (2/beta) log(1 + (p / p_ref)^beta), from (2/beta) log 2 down to 0.

    Its gradient is that of ascent on the summed log-likelihood, times W = 2 sigmoid(-beta (nll - ref_nll)) per example.
    Source: Zhang et al., arXiv 2404.05868, eq. 3.

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats, summed over tokens.
        ref_nll: The same under the model before unlearning (B,).
        beta: Inverse temperature, per nat; towards 0 the loss becomes gradient ascent.

    Raises:
        InputError: If beta is not positive.
    """
    return _bounded(nll - ref_nll.detach(), beta)


@loss(kind="example", forgets=True)
def simnpo(nll: Tensor, sizes: Tensor, beta: float = 4.5, delta: float = 0.0) -> Tensor:
    """SimNPO (B,): NPO without a reference, on the mean nats per token of each answer; at least 0.

    Source: Fan et al., arXiv 2410.07163, whose gamma is beta times the delta here (the released code's gamma).

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats, summed over tokens.
        sizes: Number of scored tokens of each answer (B,).
        beta: Inverse temperature, per nat.
        delta: Margin, nats per token, that an answer must lose before it is damped.

    Raises:
        InputError: If beta is not positive.
    """
    return _bounded(nll / sizes.clamp(min=1) - delta, beta)


@loss(kind="example", forgets=True)
def dpo(nll: Tensor, ref_nll: Tensor, alt_nll: Tensor, alt_ref_nll: Tensor, beta: float = 0.1) -> Tensor:
    """Direct preference optimisation (B,): an alternative answer is preferred to the one to forget; at least 0.

    With refusals as alternatives this is the DPO of arXiv 2404.05868, after Rafailov et al., arXiv 2305.18290; with
    other answers of the model itself it is AltPO (arXiv 2409.13474). Scaled as NPO: (2/beta) log 2 at the start.

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats, summed over tokens.
        ref_nll: The same under the model before unlearning (B,).
        alt_nll: Negative log-likelihood of the alternative answers (B,), nats, summed over tokens.
        alt_ref_nll: The same under the model before unlearning (B,).
        beta: Inverse temperature, per nat.

    Raises:
        InputError: If beta is not positive.
    """
    return _bounded((nll - ref_nll.detach()) - (alt_nll - alt_ref_nll.detach()), beta)


@loss(kind="example", forgets=True)
def kto(nll: Tensor, ref_nll: Tensor, baseline: Tensor, beta: float = 0.1, variant: KTO = "paper") -> Tensor:
    """Kahneman-Tversky optimisation (B,): each answer on its own must fall below what refusals have come to.

    Source: Ethayarajh et al., arXiv 2402.01306, in the three readings that stand beside NPO (arXiv 2404.05868). "paper"
    scales the whole margin by beta; its start is (2/beta) log 2. The released "sigmoid" and "logsigmoid" leave the
    baseline outside beta and add 1; the sigmoid is bounded on both sides, so that an answer far from forgotten is not
    pushed either.

    Args:
        nll: Negative log-likelihood of the forget answers (B,), nats, summed over tokens.
        ref_nll: The same under the model before unlearning (B,).
        baseline: By how many nats the batch's refusals have become likelier, on average; gets no gradient.
        beta: Inverse temperature, per nat.
        variant: Which reading: paper, sigmoid or logsigmoid.

    Raises:
        InputError: If beta is not positive.
    """
    lost, level = nll - ref_nll.detach(), baseline.detach()
    if variant == "paper":
        return _bounded(level + lost, beta)
    margin = level + _positive(beta) * lost
    return 1 - 2 / beta * (margin.sigmoid() if variant == "sigmoid" else F.logsigmoid(margin))


@loss(kind="example", forgets=False)
def ap(nll: Tensor, alt_nll: Tensor, beta: float = 0.1) -> Tensor:
    """Answer preservation (B,): -(1/beta) log sigmoid of how much likelier the answer is than a refusal; at least 0.

    A retain term for models that learn to refuse: without it they refuse everything. Needs no reference.
    Source: Yuan et al., arXiv 2410.08109.

    Args:
        nll: Negative log-likelihood of the retain answers (B,), nats, summed over tokens.
        alt_nll: The same of a refusal of each retain question (B,).
        beta: Inverse temperature, per nat.

    Raises:
        InputError: If beta is not positive.
    """
    return _bounded(alt_nll - nll, beta) / 2
