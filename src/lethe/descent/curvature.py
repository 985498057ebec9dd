"""Step rules that penalise the forget gradient itself, with the gradient of the penalty.

The gradient of c ||g|| is c H g / ||g||: a product of the Hessian with a direction that is known once the whole batch's
gradient is. Hessians add up over micro-batches and processes as gradients do, so both rules are exact under
accumulation and replication although a norm is no sum. The Hessian is never formed: the product is the gradient of the
slope along the direction (double backward), which sharded weights (fsdp) do not offer.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from lethe.errors import InputError
from lethe.gradients import Direction, Gradients, StepRule, displaced, length


def gp(*, weight: float = 10.0) -> StepRule:
    """Gradient penalty: the forget loss plus weight times the norm of its gradient (arXiv 2502.05374).

    Cost: one forward and backward pass of the forget terms (plain: 1) and a double one, which takes as long as three or
    four and keeps the activations of both backward passes (2.7 times a plain NPO step with its retain term, measured);
    memory for one gradient. Refused under parallel=fsdp.

    Args:
        weight: Weight of the joint L2 norm of the forget gradient over all weights that may move; 0 is the plain step.

    Raises:
        InputError: If the weight is negative.
    """
    _check("gp", "weight", weight)

    def rule(gradients: Gradients) -> None:
        if weight == 0 or not gradients.has("forget"):
            gradients.add()
            return
        slope = gradients.of("forget")
        gradients.give(slope)
        gradients.give(gradients.of("forget", along=slope), weight / length(slope))
        gradients.add("retain")

    return rule


def cr(*, weight: float = 10.0, mu: float = 0.01, direction: Literal["constant", "following"] = "constant") -> StepRule:
    """Curvature regularisation: the forget loss plus weight ||g(theta + mu v) - g(theta)||, v = g / ||g||.

    Small where the gradient hardly changes along itself (arXiv 2502.05374). Cost: two forward and backward passes of
    the forget terms (plain: 1) and two double ones (following: three), each as long as three or four (4.9 and 6.5 times
    a plain NPO step with its retain term, measured); memory for a copy of the moving weights and four gradients.
    Refused under parallel=fsdp.

    Args:
        weight: Weight of the penalty; 0 is the plain step.
        mu: Distance at which the gradient is compared, joint L2 norm.
        direction: constant takes v for a constant in the penalty's gradient; following differentiates v as well.

    Raises:
        InputError: If the weight is negative, or mu is not positive.
    """
    _check("cr", "weight", weight)
    if not 0 < mu < math.inf:
        raise InputError(f"cr: mu is {mu}; the distance must be a finite number above 0.")

    def rule(gradients: Gradients) -> None:
        if weight == 0 or not gradients.has("forget"):
            gradients.add()
            return
        slope = gradients.of("forget")
        norm = length(slope)
        gradients.give(slope)
        with displaced(gradients.parameters, slope, mu / norm):
            bend = _combined(gradients.of("forget"), slope, -1.0)
            there = gradients.of("forget", along=bend)
        scale = weight / length(bend)
        gradients.give(there, scale)
        gradients.give(gradients.of("forget", along=bend), -scale)
        if direction == "following":  # mu dv/dtheta H' bend, dv/dtheta = H (1 - v v^T) / ||g||
            across = _combined(there, slope, -_dot(there, slope) / norm**2)
            gradients.give(gradients.of("forget", along=across), scale * mu / norm)
        gradients.add("retain")

    return rule


def _combined(first: Direction, second: Direction, scale: float) -> list[Tensor | None]:
    """The first plus scale times the second; both lack the same tensors."""
    return [
        a if b is None else b * scale if a is None else a.add(b, alpha=scale)
        for a, b in zip(first, second, strict=True)
    ]


def _dot(first: Direction, second: Direction) -> float:
    pairs = zip(first, second, strict=True)
    return sum(float((a * b).sum()) for a, b in pairs if a is not None and b is not None)


def _check(rule: str, name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InputError(f"{rule}: {name} is {value}; it must be a finite number of at least 0.")
