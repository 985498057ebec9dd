"""Exact unlearning: train again without the forget set."""

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"loss"}, intent="removal", level="retraining", retain=None, requires={"retain"})
def retrain(model: Model, request: Request) -> Term:
    """Retrain from fresh weights on the retain set alone: the control, as a method.

    Give it the recipe (lr, epochs, ...) that the model was trained with; a recommender's graph is rebuilt.
    """
    model.module = model.fresh(request.seed).module
    model.without(request.forget)
    return Term("retain", model.encode(request.retain), own_loss, per="token")
