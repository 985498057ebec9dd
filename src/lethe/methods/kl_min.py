"""Gradient ascent tied to the original model."""

from lethe.descent.objective import objective
from lethe.descent.published import TOFU
from lethe.descent.terms import ascend
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"loss", "logits"}, paper="2401.06121", retain="kl", requires={"retain"}, presets={"paper": TOFU})
def kl_min(model: Model, request: Request) -> Term:
    """KL minimisation: gradient ascent on the forget set, KL to the original model on the retain set."""
    return ascend(model, request)
