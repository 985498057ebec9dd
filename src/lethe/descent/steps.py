"""Step rules: how the gradients of one step are formed. Each composes with every objective that it makes sense for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lethe.distributed import whole
from lethe.errors import InputError
from lethe.train import Gradients, StepRule
from lethe.train import plain as ordinary


def plain() -> StepRule:
    """The ordinary step; one forward and backward pass per term."""
    return ordinary


def sam(*, rho: float = 0.01) -> StepRule:
    """Sharpness-aware minimisation of the forget term (SAM-Unlearn, arXiv 2502.05374, section 4).

    The forget gradient is taken at theta + rho * g / ||g||, the point of the ball where forgetting is worst, the retain
    gradient at theta. Costs one more forward and backward pass of the forget term and one copy of the trained weights.

    Args:
        rho: Radius of the ball, joint L2 norm over all trained weights; 0 is the plain step.

    Raises:
        InputError: If rho is negative.
    """
    if rho < 0:
        raise InputError(f"sam: rho is {rho}; the radius must be >= 0.")

    def rule(gradients: Gradients) -> None:
        if rho == 0 or not gradients.has("forget"):
            gradients.add()
            return
        gradients.add("forget")
        norm = whole(torch.nn.utils.get_total_norm([p.grad for p in gradients.parameters if p.grad is not None]))
        # The floor keeps a zero gradient from becoming NaN.
        scale = rho / max(float(norm), 1e-12)
        directions = [None if p.grad is None else p.grad * scale for p in gradients.parameters]
        gradients.clear()
        with _moved(gradients.parameters, directions):
            gradients.add("forget")
        if gradients.has("retain"):
            gradients.add("retain")

    return rule


@contextmanager
def _moved(parameters: list[torch.nn.Parameter], directions: list[torch.Tensor | None]) -> Iterator[None]:
    """Weights displaced by the directions; put back from a copy (exact), also when the body raises."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                if direction is not None:
                    parameter.add_(direction)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


RULES = {"plain": plain, "sam": sam}
