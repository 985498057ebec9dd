"""Direct preference optimisation towards refusals."""

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.descent.pairs import prefer
from lethe.descent.published import NPO
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"language"},
    needs={"nll"},
    intent="suppression",
    paper="2404.05868",
    retain="nll",
    presets={"paper": {**NPO, "beta": 0.1}},
)
def dpo(model: Model, request: Request, *, beta: float = 0.1, refusals: str = "") -> Term:
    """DPO-IDK: prefer a refusal to the forget answer, relative to the original model.

    Args:
        beta: Inverse temperature, per nat.
        refusals: File of refusals, one per line; empty draws from Lethe's own.
    """
    refused = model.encode(refuse(request.forget, request.seed, refusals))
    return prefer(model, model.encode(request.forget), refused, beta)
