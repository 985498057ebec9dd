"""Gradient ascent."""

from lethe.descent.objective import objective
from lethe.descent.terms import ascend
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"loss"}, paper="2401.06121", retain="none")
def ga(model: Model, request: Request) -> Term:
    """Gradient ascent on the forget set: unbounded, so it ends in collapse unless stopped."""
    return ascend(model, request)
