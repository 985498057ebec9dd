"""Refusal tuning."""

from dataclasses import replace
from typing import Literal

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.descent.published import TOFU
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"language"},
    needs={"loss"},
    intent="suppression",
    paper="2401.06121",
    retain=None,
    requires={"retain"},
    presets={"paper": {**TOFU, "variant": "reference"}},
)
def idk(
    model: Model, request: Request, *, variant: Literal["paper", "reference"] = "paper", refusals: str = ""
) -> list[Term]:
    """IDK: train the forget questions on refusals, the retain set on its answers.

    Args:
        variant: paper adds two token means; reference takes one mean over both batches (longer answers weigh more).
        refusals: File of refusals, one per line; empty draws from Lethe's own.
    """
    refused = model.encode(refuse(request.forget, request.seed, refusals))
    forget = Term("forget", refused, own_loss, per="token", role="forget")
    retain = Term("retain", model.encode(request.retain), own_loss, per="token")
    pool = "both" if variant == "reference" else ""
    return [replace(forget, pool=pool), replace(retain, pool=pool)]
