"""Gradient difference."""

from lethe.descent.objective import objective
from lethe.descent.published import TOFU
from lethe.descent.terms import ascend
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"loss"}, paper="2401.06121", retain="nll", requires={"retain"}, presets={"paper": TOFU})
def grad_diff(model: Model, request: Request) -> Term:
    """GradDiff: gradient ascent on the forget set, descent on the retain set."""
    return ascend(model, request)
