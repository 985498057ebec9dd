"""Gradient ascent."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.published import MUFAC, MUFAC_STEPS, NPO, TOFU
from lethe.descent.terms import ascend
from lethe.losses.divergence import kl
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


@objective(
    needs={"loss"},
    paper="2401.06121",
    retain="none",
    presets={
        "paper": TOFU,
        "grad_ascent_forgetKL": {**NPO, "anchor": 1.0},
        "mufac": {**MUFAC, "steps": MUFAC_STEPS},
    },
)
def ga(model: Model, request: Request, *, anchor: float = 0.0) -> list[Term]:
    """Gradient ascent on the forget set: unbounded, so it ends in collapse unless stopped.

    Args:
        anchor: Weight of KL(original || model) on the forget set itself, as in NPO's code (arXiv 2404.05868); above 0 a
            frozen copy of the model is held.
    """
    term = ascend(model, request)
    if anchor == 0:
        return [term]
    model.require(frozenset({"logits"}), "ga with anchor")
    original = model.copy()
    original.module.requires_grad_(False)

    def held(model: Model, batch: Batch) -> Tensor:
        with original.evaluating():
            reference = original.logits(batch)
        return kl(reference, model.logits(batch), batch.labels).sum(-1)

    return [term, Term("forget_kl", term.examples, held, per="token", role="forget", weight=anchor)]
