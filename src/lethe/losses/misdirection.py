"""Representation misdirection: hidden states are steered to a meaningless place, or held where they were."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.losses.catalogue import loss
from lethe.losses.tokens import Compat, wide


def rmu_direction(dim: int, generator: torch.Generator) -> Tensor:
    """A random unit vector (D,) with no negative coordinate: Uniform[0, 1) per coordinate, then normalised.

    Not Gaussian: its cosine with the all-ones direction tends to sqrt(3)/2. Source: WMDP code, arXiv 2403.03218.
    """
    direction = torch.rand(dim, generator=generator, device=generator.device)
    return direction / direction.norm()


def _mean_over_tokens(values: Tensor, mask: Tensor, compat: Compat) -> Tensor:
    if compat == "reference":
        return values.mean(1)
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp(min=1)


@loss(kind="example", forgets=True)
def rmu(hidden: Tensor, target: Tensor, mask: Tensor, compat: Compat = "masked") -> Tensor:
    """Mean squared distance of each sequence's hidden states to a target (B,), averaged over tokens and channels.

    The forget term of RMU takes a scaled `rmu_direction` as target; its retain term takes the hidden states of the
    model before unlearning. The gradient falls with 1/D, so learning rate and scale depend on the width.
    Source: Li et al., arXiv 2403.03218.

    Args:
        hidden: Output of one block (B, T, D).
        target: One vector (D,) for every token, or a state per token (B, T, D).
        mask: Which tokens count (B, T), bool.
        compat: "masked" averages over the tokens of the mask; "reference" over all, as the released code does, so that
            its value depends on the padding.
    """
    if target.shape not in (hidden.shape, hidden.shape[-1:]):
        raise ValueError(f"rmu: target of shape {tuple(target.shape)} fits neither (D,) nor {tuple(hidden.shape)}")
    distance = (wide(hidden) - wide(target.detach())).square().mean(-1)
    return _mean_over_tokens(distance, mask, compat)


def rmu_coefficient(hidden: Tensor, mask: Tensor, scale: float = 5.0, compat: Compat = "masked") -> Tensor:
    """Length of adaptive RMU's target per sequence (B,): `scale` times the mean norm of its token states.

    The released code averages over the first batch of a topic once; the paper measures each sample with the model
    before unlearning. Source: Huu-Tien et al., arXiv 2408.06223.
    """
    return scale * _mean_over_tokens(wide(hidden.detach()).norm(dim=-1), mask, compat)


def displacement(hidden: Tensor, frozen: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Where hidden states have gone, per sequence (B,), averaged over its tokens.

    `cosine` with the frozen model's states (-1 to 1; 1 before training, near 0 where misdirected), `norm`, and
    `norm_before`, that of the frozen states. On the forget and on the retain set these are the six numbers that RMU's
    code logs per topic (arXiv 2403.03218).

    Args:
        hidden: Output of one block (B, T, D).
        frozen: The same of the model before unlearning (B, T, D).
        mask: Which tokens count (B, T), bool.
    """
    states, before = wide(hidden), wide(frozen)
    values = {
        "cosine": F.cosine_similarity(states, before, dim=-1),
        "norm": states.norm(dim=-1),
        "norm_before": before.norm(dim=-1),
    }
    return {name: _mean_over_tokens(value, mask, "masked") for name, value in values.items()}
