"""Losses and labels for classifiers."""

from __future__ import annotations

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.catalogue import loss
from lethe.losses.divergence import forward_kl
from lethe.losses.tokens import IGNORED


@loss(kind="example", forgets=False)
def kl_temperature(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Distillation: T^2 KL(teacher^T || student^T) of each example (B,), nats, at least 0.

    SCRUB (arXiv 2302.09880) minimises it on the retain set and maximises it on the forget set.

    Args:
        teacher: Logits of the frozen model (B, C).
        student: Logits of the model being trained (B, C).
        temperature: Divides both logits; the value is multiplied by its square.

    Raises:
        InputError: If the temperature is not positive.
    """
    return forward_kl(teacher, student, temperature)


def random_labels(labels: Tensor, classes: int, generator: torch.Generator, exclude_true: bool = False) -> Tensor:
    """A uniformly drawn class in place of each label, of the same shape; -100 stays.

    Args:
        labels: Class indices, any shape.
        classes: Number of classes.
        generator: Source of the draw.
        exclude_true: Never draw the class that the label had. SalUn (arXiv 2310.12508) draws it with probability
            1 / classes, amnesiac relabelling (arXiv 2010.10981) excludes it.

    Raises:
        InputError: If no wrong class exists to draw.
    """
    if exclude_true and classes < 2:
        raise InputError(f"Random labels without the true class need at least 2 classes, but there are {classes}.")
    high = classes - 1 if exclude_true else classes
    drawn = torch.randint(high, labels.shape, generator=generator, device=generator.device).to(labels.device)
    if exclude_true:
        drawn = (labels + 1 + drawn) % classes  # a step of 1 .. classes - 1 around the circle
    return torch.where(labels == IGNORED, labels, drawn)
