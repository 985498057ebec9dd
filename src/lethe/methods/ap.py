"""Answer preservation."""

from torch import Tensor

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.descent.pairs import beside
from lethe.descent.published import TOFU
from lethe.descent.terms import own_loss
from lethe.losses import preference
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"language"},
    needs={"nll"},
    intent="suppression",
    paper="2410.08109",
    retain=None,
    requires={"retain"},
    presets={"paper": {**TOFU, "beta": 0.1}},
)
def ap(model: Model, request: Request, *, beta: float = 0.1, weight: float = 1.0, refusals: str = "") -> list[Term]:
    """IDK+AP: train the forget questions on refusals; on the retain set answers must stay likelier than refusals.

    Args:
        beta: Inverse temperature of the preservation term, per nat.
        weight: Weight of the preservation term.
        refusals: File of refusals, one per line; empty draws from Lethe's own.
    """
    refused = model.encode(refuse(request.forget, request.seed, refusals))
    withheld = model.encode(refuse(request.retain, request.seed, refusals))

    def preserve(model: Model, batch: Batch) -> Tensor:
        return preference.ap(model.loss(batch), model.loss(beside(model, batch, withheld)), beta=beta)

    return [
        Term("forget", refused, own_loss, per="token", role="forget"),
        Term("retain", model.encode(request.retain), preserve, weight=weight),
    ]
