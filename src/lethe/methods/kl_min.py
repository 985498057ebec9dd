"""Gradient ascent tied to the original model."""

from lethe.descent.objective import objective
from lethe.descent.published import TOFU
from lethe.descent.terms import ascend
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term

PRESETS = {"paper": TOFU, "reference": {**TOFU, "retain": "kl_all"}}


@objective(needs={"loss", "logits"}, paper="2401.06121", retain="kl", requires={"retain"}, presets=PRESETS)
def kl_min(model: Model, request: Request) -> Term:
    """KL minimisation: gradient ascent on the forget set, KL to the original model on the retain set.

    The paper's code takes that KL over prompt and padding, too: retain=kl_all, or the preset reference.
    """
    return ascend(model, request)
