"""Scrubbing by the neural tangent kernel."""

import math
import random
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lethe.descent.second_order import Weights, jacobian
from lethe.errors import InputError
from lethe.losses.curvature import kernel_weights
from lethe.models.base import Example, Model
from lethe.registry import method
from lethe.request import Request, classes_of

LARGEST = 3000  # outputs of all records together: the kernel's side


@method(
    families={"classifier"},
    needs={"logits"},
    intent="removal",
    level="parameter",
    paper="2003.02960",
    requires={"forget", "retain"},
    presets={"released": {"start": "trained", "scale": 0.0}},
)
def ntk(
    model: Model,
    request: Request,
    *,
    weight_decay: float = 0.1,
    scale: float = 1.0,
    start: Literal["fresh", "trained"] = "fresh",
    records: int = 0,
    seed: int | None = None,
) -> Model:
    """NTK scrubbing: move by what the linearised network would have learnt otherwise without the forget records.

    theta + scale (w_r - w), w the weights that the network, linearised at theta, learns on all records, w_r those on
    the retain records; each by the kernel of its outputs, records times classes on a side, at most 3,000. The released
    code takes scale from the angle between the step and (theta - theta_0 - w_r), but its theta_0 is theta: what it
    compares with is only -w_r, and its scale says nothing of training.

    Args:
        weight_decay: Per record, in the kernel's diagonal.
        scale: Factor of the step; 0 takes the released rule.
        start: Where learning begins: fresh takes the outputs of newly drawn weights for f_0, trained those of the model
            itself (released), which hardly differ from the labels that it knows by heart.
        records: Most retain records, drawn, that take part; 0 takes all.
        seed: Seed of the draw and of the fresh weights; the request's where none is given.

    Raises:
        InputError: If records times classes exceed 3,000, or a number is out of range.
    """
    if not weight_decay > 0 or scale < 0 or records < 0:
        raise InputError(f"ntk: weight_decay={weight_decay:g} must be above 0, scale and records not negative.")
    classes_of(request.forget, "ntk")
    seed = request.seed if seed is None else seed
    moved = model.copy()
    forget, retain = (moved.encode(part) for part in (request.forget, request.retain))
    if 0 < records < len(retain):
        retain = random.Random(seed).sample(retain, records)
    examples = [*forget, *retain]
    residual, classes = _residual(model.fresh(seed) if start == "fresh" else model, examples)
    if (side := len(examples) * classes) > LARGEST:
        fit = max(1, LARGEST // classes - len(forget))
        raise InputError(
            f"ntk: {len(examples)} records of {classes} classes make a kernel of side {side:,}, over {LARGEST:,}; give "
            f"records={fit} or fewer, or another method."
        )
    weights = Weights(dict(moved.module.named_parameters()))
    slopes = jacobian(moved, examples, weights)
    kept = len(forget) * classes
    complete = kernel_weights(slopes, residual, len(examples) * weight_decay)
    without = kernel_weights(slopes[kept:], residual[kept:], len(retain) * weight_decay)
    step = without - complete
    weights.add((scale or released_scale(step, without)) * step)
    return moved


def released_scale(step: Tensor, without: Tensor) -> float:
    """The factor that released code predicts from the angle between the step and -w_r; 1 where either is 0."""
    length, error = float(step.norm()), -without
    if not length or not float(error.norm()):
        return 1.0
    inner = float(torch.cosine_similarity(step, error, dim=0))
    angle = math.acos(inner)
    lever = math.sin(angle - math.pi / 2) if inner < 0 else math.cos(angle)
    return 1 + 2 * lever * float(error.norm()) / length


def _residual(model: Model, examples: Sequence[Example]) -> tuple[Tensor, int]:
    """f_0 - y of every class (M,): probabilities less one-hot labels, record by record."""
    order, found = [], []
    with model.evaluating():
        for batch in model.batches(examples):
            p = model.logits(batch)[:, 0].softmax(-1)
            order.append(batch.index)
            found.append(p.scatter_add(1, batch.labels, -torch.ones_like(batch.labels, dtype=p.dtype)))
    rows = torch.cat(found)[torch.cat(order).argsort()]
    return rows.flatten(), rows.shape[1]
