"""Saliency unlearning."""

from lethe.descent.objective import objective
from lethe.descent.terms import relabel
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(families={"classifier"}, needs={"logits"}, paper="2310.12508", retain="nll", where="saliency:keep=0.5")
def salun(model: Model, request: Request) -> Term:
    """SalUn: random labels, moving only the half of the weights that the forget set is most sensitive to."""
    return relabel(model, request)
