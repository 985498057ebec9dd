"""What a classifier's last layer reads of records, for objectives that are about features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lethe.models.base import Example, Model


def class_features(model: Model, examples: Sequence[Example]) -> tuple[Tensor, Tensor, int]:
    """Features (N, D) and labels (N,) of the examples in their order, and the number of classes."""
    order, seen, labels, classes = [], [], [], 0
    with model.evaluating():
        for batch in model.batches(examples):
            order.append(batch.index)
            seen.append(model.features(batch).flatten(1))  # pyright: ignore[reportAttributeAccessIssue]
            labels.append(batch.labels[:, 0])
            classes = classes or model.logits(batch).shape[-1]
    place = torch.cat(order).argsort()
    return torch.cat(seen)[place], torch.cat(labels)[place], classes
