"""Losses on what a classifier's last layer reads: classes pulled together, pushed apart, and measured by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.errors import InputError

NEAR_ZERO = 1e-4  # the slope of a root has no bound at 0, where a ReLU leaves many features


def contrastive(anchors: Tensor, others: Tensor, towards: Tensor, against: Tensor, temperature: float = 1.0) -> Tensor:
    """Pull each anchor towards some of the others and away from the rest it is compared with; mean over anchors, nats.

    -mean over `towards` of log [exp(s_ij) / sum over `against` of exp(s_ij)], s = cosine / temperature. An anchor with
    nobody to go to adds 0. (Contrastive unlearning, arXiv 2401.10458; supervised contrastive loss turned round.)

    Args:
        anchors: Features of forget records, (B, D).
        others: Features that they are compared with, (M, D).
        towards: Whom each is pulled to, bool (B, M).
        against: Whom the denominator sums over, bool (B, M).
        temperature: Divides the cosines.
    """
    cosines = F.normalize(anchors, dim=-1) @ F.normalize(others, dim=-1).T / temperature
    log_share = cosines - cosines.masked_fill(~against, -torch.inf).logsumexp(-1, keepdim=True)
    pulled = torch.where(towards, -log_share, torch.zeros_like(log_share)).sum(-1)
    return (pulled / towards.sum(-1).clamp(min=1)).mean()


def centroids(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean features of every class (C, D), and which classes have any (C,) bool.

    Args:
        features: (N, D).
        labels: (N,).
        classes: Number of classes C.
    """
    counts = torch.bincount(labels, minlength=classes)
    sums = features.new_zeros((classes, features.shape[-1])).index_add_(0, labels, features)
    return sums / counts.clamp(min=1)[:, None], counts > 0


def nearest_other(distances: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """The nearest class (B,) that is not a record's own and that is present.

    Args:
        distances: To every class, (B, C).
        labels: Own classes, (B,).
        present: Which classes there are, bool (C,).

    Raises:
        InputError: If a record has no other class to go to.
    """
    barred = F.one_hot(labels, distances.shape[-1]).bool() | ~present
    if bool(barred.all(-1).any()):
        raise InputError("The retain set holds no other class to move forget records to; give records of one more.")
    return distances.masked_fill(barred, torch.inf).argmin(-1)


def tukey(features: Tensor, power: float) -> Tensor:
    """Tukey's ladder |x|^power with the sign kept, so that features of any sign have a value and a finite slope."""
    return features.sign() * ((features.abs() + NEAR_ZERO) ** power - NEAR_ZERO**power)


def shrunk_precision(features: Tensor, gamma1: float, gamma2: float) -> Tensor:
    """Inverse (D, D) of a class's shrunk covariance: few records in many dimensions have no other.

    To the covariance come gamma1 x its mean variance on the diagonal and gamma2 x its mean covariance off it.

    Args:
        features: Of the class's records, (N, D), N at least 2.
        gamma1: Weight on the diagonal, above 0.
        gamma2: Weight off the diagonal.
    """
    cov = torch.cov(features.T)
    own = torch.eye(len(cov), dtype=torch.bool, device=cov.device)
    shrunk = cov + torch.where(own, gamma1 * cov[own].mean(), gamma2 * cov[~own].mean())
    return torch.linalg.pinv(shrunk, hermitian=True)


def mahalanobis(features: Tensor, means: Tensor, precisions: Tensor) -> Tensor:
    """Distance (B, C) of every record to every class, in standard deviations of that class.

    Args:
        features: (B, D).
        means: (C, D).
        precisions: (C, D, D).
    """
    apart = features[:, None] - means
    squared = torch.einsum("bcd,cde,bce->bc", apart, precisions, apart)
    return squared.clamp(min=1e-12).sqrt()
