"""Exact unlearning of the last layers."""

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"loss"}, paper="2201.06640", retain=None, requires={"retain"},
    where="last:count=3,fresh=true",
)  # fmt: skip
def eu_k(model: Model, request: Request) -> Term:
    """EU-k: draw the last k layers anew and train them on the retain set; all before them stays as it is.

    Exact for these layers alone: what the layers below learnt of the forget set is still there.
    """
    return Term("retain", model.encode(request.retain), own_loss, per="token")
