"""Relabelling."""

from lethe.descent.objective import objective
from lethe.descent.terms import relabel
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(families={"classifier"}, needs={"logits"}, paper="2310.12508", retain="nll")
def random_labels(model: Model, request: Request, *, exclude_true: bool = False) -> Term:
    """Random labels: train the forget set on labels drawn anew at every step.

    Args:
        exclude_true: Never draw the true label (the amnesiac form); the published code may draw it.
    """
    return relabel(model, request, exclude_true)
