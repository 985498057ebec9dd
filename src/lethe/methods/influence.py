"""Influence unlearning of a whole classifier."""

import random
from collections.abc import Sequence
from typing import Literal

import torch

from lethe.descent.names import searched
from lethe.descent.second_order import Weights, gauss_newton, single_gradients, summed_gradient
from lethe.errors import InputError
from lethe.losses.curvature import fisher_inverse, influence_direction, woodfisher_published
from lethe.losses.newton import conjugate_gradient
from lethe.models.base import Example, Model
from lethe.registry import method
from lethe.request import Request


@method(
    families={"classifier"},
    needs={"logits", "loss"},
    intent="removal",
    level="parameter",
    paper="2304.04934",
    requires={"forget", "retain"},
    presets={"paper": {"solver": "woodfisher", "records": 1000}},
)
def influence(
    model: Model,
    request: Request,
    *,
    solver: Literal["cg", "fisher", "woodfisher"] = "cg",
    alpha: float = 1.0,
    damping: float = 1e-2,
    iterations: int = 30,
    records: int = 1000,
    layers: str = ".*",
    seed: int | None = None,
) -> Model:
    """Influence: one step that adds back what the forget records took, by the curvature of the retain loss.

    theta + alpha H^-1 v, v the influence direction of the request. Exact for a quadratic loss; a network's is none, so
    alpha is searched (1 to 20 in the paper), and the damping bounds the step.

    Args:
        solver: cg solves with the damped Gauss-Newton matrix by conjugate gradient; fisher inverts the damped empirical
            Fisher matrix exactly; woodfisher is the released recursion, which keeps the direction of its first gradient
            and so hardly changes v (no damping enters).
        alpha: Factor of the step.
        damping: Added to the diagonal of the curvature.
        iterations: Conjugate-gradient iterations.
        records: Most retain records, drawn, that the curvature is taken of; 0 takes all. fisher holds a gradient of
            each.
        layers: Regular expression searched in the names of the tensors that may move.
        seed: Seed of the draw; the request's where none is given.

    Raises:
        InputError: If no tensor has such a name, or a number is out of range.
    """
    if not damping > 0 or iterations < 1 or records < 0:
        raise InputError(
            f"influence: damping={damping:g} must be above 0, iterations={iterations} at least 1, records={records} "
            "not negative."
        )
    moved = model.copy()
    weights = Weights(searched(dict(moved.module.named_parameters()), layers, "influence: layers", "tensor"))
    forget, retain = (moved.encode(part) for part in (request.forget, request.retain))
    gone, kept = (summed_gradient(moved, part, weights) for part in (forget, retain))
    v = influence_direction(gone, kept, len(forget), len(retain))
    chosen = _drawn(retain, records, request.seed if seed is None else seed)
    if solver == "cg":
        step = conjugate_gradient(gauss_newton(moved, chosen, weights, damping), v, iterations, 1e-6)
    elif solver == "fisher":
        gradients = torch.stack([one.float() for one in single_gradients(moved, chosen, weights)])
        step = fisher_inverse(gradients, v, damping)
    else:
        step = woodfisher_published(single_gradients(moved, chosen, weights), v, len(chosen))
    weights.add(alpha * step)
    return moved


def _drawn(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    if not 0 < count < len(examples):
        return list(examples)
    return random.Random(seed).sample(list(examples), count)
