"""Direct preference optimisation towards refusals."""

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.descent.pairs import prefer
from lethe.descent.published import NPO
from lethe.errors import InputError
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
def dpo(model: Model, request: Request, *, beta: float = 0.1, refusals: str = "", preferred: str = "") -> Term:
    """DPO-IDK: prefer a refusal to the forget answer, relative to the original model.

    Args:
        beta: Inverse temperature, per nat.
        refusals: File of refusals, one per line; empty draws from Lethe's own.
        preferred: Field of the forget records with the answer to prefer, such as counterfactual; empty takes refusals.

    Raises:
        InputError: If a record lacks that field.
    """
    if missing := [record["id"] for record in request.forget if preferred and preferred not in record]:
        raise InputError(f"dpo: forget record {missing[0]!r} has no field {preferred!r} with the answer to prefer.")
    if preferred:
        others = [{**record, "answer": str(record[preferred])} for record in request.forget]
    else:
        others = refuse(request.forget, request.seed, refusals)
    return prefer(model, model.encode(request.forget), model.encode(others), beta)
