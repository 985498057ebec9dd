"""Catastrophic forgetting of the last layers."""

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"loss"}, paper="2201.06640", retain=None, requires={"retain"},
    where="last:count=3",
)  # fmt: skip
def cf_k(model: Model, request: Request) -> Term:
    """CF-k: go on training the last k layers on the retain set; all before them stays as it is.

    `where=last:count=3` is the k of MUFAC's tables.
    """
    return Term("retain", model.encode(request.retain), own_loss, per="token")
