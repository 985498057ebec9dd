"""Weighted gradient difference."""

from lethe.descent.objective import objective
from lethe.descent.published import MUFAC, MUFAC_STEPS
from lethe.descent.terms import ascend, own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    needs={"loss"},
    paper="2302.09880",
    retain=None,
    requires={"retain"},
    presets={"mufac": {**MUFAC, "lr": 2e-3, "steps": MUFAC_STEPS, "balance": 0.5}},
)
def neggrad_plus(model: Model, request: Request, *, balance: float = 0.9) -> list[Term]:
    """NegGrad+: balance x retain loss - (1 - balance) x forget loss.

    Args:
        balance: Share of the retain loss, 0 to 1; the published runs tune it between 0.9 and 0.9999.

    Raises:
        InputError: If the share is out of range.
    """
    if not 0 <= balance <= 1:
        raise InputError(f"neggrad_plus: balance is {balance:g}; it is a share of the retain loss, 0 to 1.")
    retain = Term("retain", model.encode(request.retain), own_loss, per="token", weight=balance)
    return [ascend(model, request, 1 - balance), retain]
