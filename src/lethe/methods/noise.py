"""Random noise on the weights: what forgetting costs without any method."""

import torch

from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request

LARGEST = 16.0  # standard deviations; the weights' own values drown long before
ROUNDS = 18  # halvings of the bracket: the scale is found to 6 parts in 100,000


@method(needs={"logits"}, intent="control", level="parameter", requires={"forget"})
def noise(
    model: Model,
    request: Request,
    *,
    scale: float = 0.1,
    match: float | None = None,
    seed: int | None = None,
) -> Model:
    """Random noise, a floor: what forgets no more than this at equal retain loss has only done damage.

    Gaussian noise is added to every tensor, scaled by the tensor's own standard deviation.

    Args:
        scale: Standard deviation of the noise, in standard deviations of each tensor.
        match: Mean retain loss to reach, nats per token; the scale is then searched for and `scale` is not read.
        seed: Seed of the noise; the request's where none is given.

    Raises:
        InputError: If the scale is negative.
    """
    if scale < 0:
        raise InputError(f"noise: scale is {scale}; it must be 0 or more.")
    seed = request.seed if seed is None else seed
    if match is not None:
        scale = scale_at_loss(model, request, match, seed)
    return _noisy(model, scale, seed)


def scale_at_loss(model: Model, request: Request, loss: float, seed: int) -> float:
    """The scale at which noise of this seed brings the mean retain loss (nats per token) to a value, by bisection.

    A loss at or below the model's own needs no noise: 0. One that no noise reaches (a collapsed model's) gives the
    largest.

    Raises:
        InputError: If there are no retain records.
    """
    if not request.retain:
        raise InputError("noise: match needs retain records, whose loss is to be matched.")
    if retain_loss(model, request) >= loss:
        return 0.0
    low, high = 0.0, 0.01
    while retain_loss(_noisy(model, high, seed), request) < loss:
        low, high = high, 2 * high
        if high > LARGEST:
            return LARGEST
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        below = retain_loss(_noisy(model, middle, seed), request) < loss
        low, high = (middle, high) if below else (low, middle)
    return high


def retain_loss(model: Model, request: Request) -> float:
    """Mean over the retain records of their negative log-likelihood per scored token, nats."""
    values = []
    with model.evaluating():
        for batch in model.batches(model.encode(request.retain)):
            values.append((sequence_nll(model.logits(batch), batch.labels) / model.sizes(batch)).double().cpu())
    return float(torch.cat(values).mean())


def _noisy(model: Model, scale: float, seed: int) -> Model:
    noisy = model.copy()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in noisy.module.parameters():
            drawn = torch.randn(weight.shape, generator=rng).to(weight)
            weight.add_(drawn * (scale * weight.std(correction=0)))
    return noisy
