"""NPO without a reference model."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.losses import preference
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"nll"}, paper="2410.07163", retain="nll")
def simnpo(model: Model, request: Request, *, beta: float = 2.5, delta: float = 0.0, weight: float = 1.0) -> Term:
    """SimNPO: NPO on the length-normalised likelihood, with no reference model.

    Args:
        beta: Inverse temperature.
        delta: Margin in nats per token (the paper's gamma is beta times this).
        weight: Weight of the forget term; the paper's TOFU runs use 0.1375 (forget05) and 0.125 (forget10).
    """

    def loss(model: Model, batch: Batch) -> Tensor:
        return preference.simnpo(model.loss(batch), model.sizes(batch), beta=beta, delta=delta)

    return Term("forget", model.encode(request.forget), loss, per="example", role="forget", weight=weight)
