"""NPO without a reference model."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.published import NPO, WMDP
from lethe.losses import preference
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

MUSE = {"lr": 1e-5, "epochs": 10, "retain_weight": 0.1, "precision": "bf16"}


@objective(
    needs={"nll"},
    paper="2410.07163",
    retain="nll",
    presets={
        "paper": {**NPO, "beta": 2.5, "weight": 0.1375},
        "tofu_forget10": {**NPO, "beta": 4.5, "weight": 0.125},
        "muse_news": {**MUSE, "beta": 0.7},
        "muse_books": {**MUSE, "beta": 0.75},
        "wmdp": {**WMDP, "lr": 9.5e-6, "steps": 500, "beta": 0.1},
    },
)
def simnpo(model: Model, request: Request, *, beta: float = 2.5, delta: float = 0.0, weight: float = 1.0) -> Term:
    """SimNPO: NPO on the length-normalised likelihood, with no reference model.

    Its step falls with the length of the answers: with few steps and the paper's weight hardly anything is forgotten.

    Args:
        beta: Inverse temperature, per nat.
        delta: Margin in nats per token (the paper's gamma is beta times this).
        weight: Weight of the forget term; the paper's TOFU runs use 0.1375 (forget05) and 0.125 (forget10).
    """

    def loss(model: Model, batch: Batch) -> Tensor:
        return preference.simnpo(model.loss(batch), model.sizes(batch), beta=beta, delta=delta)

    return Term("forget", model.encode(request.forget), loss, per="example", role="forget", weight=weight)
