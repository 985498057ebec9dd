"""Losses that public code is known to get wrong, written from the descriptions of their defects.

Each stands here to be rejected by test_losses.py: it must give the wrong number its defect predicts, and fail the check
that the right implementation passes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.losses.tokens import cross_entropy, sequence_nll, token_mean, valid


def npo_on_raw_logits(logits: Tensor, ref_logits: Tensor, labels: Tensor, beta: float = 0.1) -> Tensor:
    """MUSE bench and SimNPO's MUSE folder: logits stand in for log-probabilities; the labels are never read."""
    return (-2 / beta * F.logsigmoid(beta * (ref_logits - logits))).mean()


def npo_on_token_mean(logits: Tensor, ref_logits: Tensor, labels: Tensor, beta: float = 0.1) -> Tensor:
    """SimNPO's WMDP folder and RMU forks: one sigmoid on the batch's token mean, so no weight per example."""
    nll, ref_nll = (token_mean(cross_entropy(z, labels), labels) for z in (logits, ref_logits))
    return -2 / beta * F.logsigmoid(beta * (nll - ref_nll))


def npo_by_log_of_sigmoid(logits: Tensor, ref_logits: Tensor, labels: Tensor, beta: float = 0.1) -> Tensor:
    """The formula typed in as it is printed: the sigmoid underflows where the answer became much likelier."""
    margin = sequence_nll(logits, labels) - sequence_nll(ref_logits, labels)
    return (-2 / beta * torch.log(torch.sigmoid(beta * margin))).mean()


def dpo_overwritten(nll: Tensor, ref_nll: Tensor, alt_nll: Tensor, alt_ref_nll: Tensor) -> Tensor:
    """LoKU's "dpo": the value is overwritten, and what is left to optimise is the likelihood of the refusal."""
    return alt_nll


def sizes_before_shift(labels: Tensor) -> Tensor:
    """SimNPO and open-unlearning: labels are counted before the shift, one too many if the first token is labelled."""
    return valid(labels).sum(1) + 1


def kl_on_raw_logits(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """MUSE bench: raw logits passed to a divergence that expects log-probabilities, divided by the sequences."""
    return (ref_logits.exp() * (ref_logits - logits)).sum() / len(logits)


def kl_reversed(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """KL(model || reference) where the papers have KL(reference || model)."""
    model, reference = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return token_mean((model.exp() * (model - reference)).sum(-1), labels)


def kl_unmasked(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """TOFU and its successors: prompt and padding count, so the value depends on what a batch was padded to."""
    reference = ref_logits.log_softmax(-1)
    return (reference.exp() * (reference - logits.log_softmax(-1))).sum(-1).mean()


def kl_by_mean_reduction(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """Bad teacher: the mean over examples and classes, so value and gradient are too small by the number of classes."""
    reference = ref_logits.log_softmax(-1)
    return (reference.exp() * (reference - logits.log_softmax(-1))).mean()


def flatten_everywhere(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """open-unlearning's first PDU: the mean is over prompt and padding as well."""
    return (logits.amax(-1) - logits.mean(-1)).square().mean()


def flatten_by_unshifted_mask(logits: Tensor, labels: Tensor) -> Tensor:
    """open-unlearning's later PDU: labels that are not shifted mask outputs that are not, so each mask is one late."""
    return token_mean((logits.amax(-1) - logits.mean(-1)).square(), labels)


def mean_of_sequence_means(values: Tensor, labels: Tensor) -> Tensor:
    """A mean per sequence, then over the batch: a token of a short answer counts more than one of a long answer."""
    return (values.sum(1) / valid(labels).sum(1)).mean()


def reverse_bpr_with_two_signs(pos: Tensor, neg: Tensor) -> Tensor:
    """A public recommender framework: `sign * -logsigmoid(sign * diff)` with sign -1 raises the forgotten item."""
    sign = -1
    return sign * -F.logsigmoid(sign * (pos - neg))


def rmu_direction_gaussian(dim: int, generator: torch.Generator) -> Tensor:
    """A direction of both signs, where RMU's has no negative coordinate."""
    direction = torch.randn(dim, generator=generator)
    return direction / direction.norm()


def shift_dropping_keys(weights: dict[str, Tensor], vector: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """MUSE bench's task vector: the new state dict holds only what the vector holds."""
    return {name: weights[name] + scale * change for name, change in vector.items()}


def undial_unmasked(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """UNDIAL and open-unlearning: the mean over prompt and padding, too (with no penalty there)."""
    target = (ref_logits - 10 * F.one_hot(labels.clamp(min=0), logits.shape[-1]) * valid(labels).unsqueeze(-1)).softmax(
        -1
    )
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def undial_at_index_minus_100(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """The same code's penalty: -100 is taken for an index, and counts from the end of the vocabulary."""
    lowered = ref_logits.clone()
    rows, positions = torch.meshgrid(*(torch.arange(n) for n in labels.shape), indexing="ij")
    lowered[rows, positions, labels] -= 10
    return -(lowered.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()


def mean_probability_of_all(logits: Tensor, labels: Tensor) -> Tensor:
    """FLAT: a mean over all positions, so that an answer counts by its share of the padded length."""
    return (torch.exp(-cross_entropy(logits, labels)) * valid(labels)).mean(1)


def flat_over_all_positions(logits: Tensor, ref_logits: Tensor, labels: Tensor) -> Tensor:
    """FLAT's KL on such means, and on means over the batch."""
    template, forget = (mean_probability_of_all(z, labels).mean() for z in (ref_logits, logits))
    return -template + torch.exp(forget - 1)


def flat_reverse_kl(template: Tensor, forget: Tensor) -> Tensor:
    """FLAT: exponents with the sign turned; the template becomes less likely, the forget answer more."""
    return torch.exp(template) - 1 - forget


def flat_hellinger(template: Tensor, forget: Tensor) -> Tensor:
    """FLAT, likewise."""
    return -(1 - torch.exp(template)) + (1 - torch.exp(forget)) / torch.exp(forget)


def flat_neyman(template: Tensor, forget: Tensor) -> Tensor:
    """FLAT, likewise: here only the template goes the wrong way."""
    return -(1 - torch.exp(template)) + 2 - 2 * torch.sqrt(1 - forget)
