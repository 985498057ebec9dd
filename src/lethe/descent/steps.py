"""Step rules: how the gradients of one step are formed. Each composes with every objective that it makes sense for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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
    gradient at theta. Costs one more forward and backward pass of the forget term and one copy of the weights that may
    move. Weights that may not move (frozen, or outside a mask) are not displaced either.

    Args:
        rho: Radius of the ball, joint L2 norm over all weights that may move; 0 is the plain step.

    Raises:
        InputError: If rho is negative.
    """
    if not 0 <= rho < float("inf"):
        raise InputError(f"sam: rho is {rho}; the radius must be a finite number of at least 0.")

    def rule(gradients: Gradients) -> None:
        if rho == 0 or not gradients.has("forget"):
            gradients.add()
            return
        gradients.add("forget")
        norm = whole(nn.utils.get_total_norm([p.grad for p in gradients.parameters if p.grad is not None]))
        # The floor keeps a zero gradient from becoming NaN.
        with _moved(gradients.parameters, rho / max(float(norm), 1e-12)):
            gradients.clear()
            gradients.add("forget")
        gradients.add("retain")

    return rule


@contextmanager
def _moved(parameters: list[nn.Parameter], scale: float) -> Iterator[None]:
    """Weights displaced along their gradients; put back from a copy (exact), also when the body raises."""
    moving = [parameter for parameter in parameters if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moving]
    try:
        with torch.no_grad():
            for parameter in moving:
                parameter.add_(parameter.grad, alpha=scale)  # pyright: ignore[reportArgumentType]
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moving, before, strict=True):
                parameter.copy_(value)


RULES = {"plain": plain, "sam": sam}
