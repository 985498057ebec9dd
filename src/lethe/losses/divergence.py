"""Divergences between the output distributions of two models."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss
from lethe.losses.tokens import Compat, valid, wide


def forward_kl(ref_logits: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(reference^T || model^T) over the last dimension: (..., V) -> (...), nats, at least 0.

    Both sides are normalised here, so a constant added to the logits of a position changes nothing. The factor T^2
    keeps the gradient on the scale of T = 1 (Hinton et al., arXiv 1503.02531).

    Raises:
        InputError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}, but it divides logits: give a number greater than 0.")
    reference = F.log_softmax(wide(ref_logits.detach()) / temperature, dim=-1)
    model = F.log_softmax(wide(logits) / temperature, dim=-1)
    weight = reference.exp()
    # A token the reference rules out (logit -inf) adds 0, where the plain product would be nan.
    return temperature**2 * (weight * (reference - model)).masked_fill(weight == 0, 0).sum(-1)


@loss(kind="token", forgets=False)
def kl(
    ref_logits: Tensor,
    logits: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    compat: Compat = "masked",
) -> Tensor:
    """KL(reference || model) at each position (B, T) in nats, at least 0: the model keeps what the reference says.

    Used as a retain term by TOFU's KL (arXiv 2401.06121) and NPO (arXiv 2404.05868).

    Args:
        ref_logits: Scores of the model before unlearning (B, T, V).
        logits: Scores of the model being trained (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        temperature: Divides both logits; the value is multiplied by its square.
        compat: "masked" is 0 at ignored positions; "reference" scores them too, as the released code does, which
            divides by the number of all positions, so that its value depends on the padding.

    Raises:
        InputError: If the temperature is not positive.
    """
    values = forward_kl(ref_logits, logits, temperature)
    return values if compat == "reference" else values.masked_fill(~valid(labels), 0)


@loss(kind="token", forgets=False)
def soft_cross_entropy(ref_logits: Tensor, logits: Tensor, labels: Tensor, compat: Compat = "masked") -> Tensor:
    """Cross-entropy with the reference's distribution (B, T), nats: the gradient of `kl`, plus a constant in the value.

    LLMU's term on normal data as its code computes it (arXiv 2310.10683).

    Args:
        ref_logits: Scores of the model before unlearning (B, T, V).
        logits: Scores of the model being trained (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
        compat: "masked" is 0 at ignored positions; "reference" scores them too.
    """
    weight = F.softmax(wide(ref_logits.detach()), dim=-1)
    values = -(weight * F.log_softmax(wide(logits), dim=-1)).masked_fill(weight == 0, 0).sum(-1)
    return values if compat == "reference" else values.masked_fill(~valid(labels), 0)
