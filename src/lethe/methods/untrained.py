"""Random weights: a model that never learnt anything."""

from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request

ANOTHER = 104_729  # added to the seed: not the draw that the model itself may have started from


@method(needs={"loss"}, intent="control", level="retraining", requires={"forget"})
def untrained(model: Model, request: Request, *, seed: int | None = None) -> Model:
    """Random weights, a floor: what scores well here scores ignorance, of the forget set and of all else.

    Args:
        seed: Seed of the draw; the request's where none is given.
    """
    blank = model.fresh((request.seed if seed is None else seed) + ANOTHER)
    blank.module.eval()
    blank.without(request.forget)
    return blank
