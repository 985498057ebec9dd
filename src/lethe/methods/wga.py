"""Weighted gradient ascent."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens
from lethe.losses import weighted
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"beta": 5.0, "lr": 1e-5, "epochs": 5, "batch_size": 32}


@objective(needs={"logits"}, paper="2502.19301", retain="nll", presets={"paper": PAPER})
def wga(model: Model, request: Request, *, beta: float = 1.0) -> Term:
    """WGA: gradient ascent that leaves each token alone as its probability p falls, by the weight p^beta.

    Args:
        beta: Exponent of the weight; 0 is gradient ascent. The paper's runs use 5, later comparisons 1.
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return weighted.wga(logits, batch.labels, beta)

    return forget_tokens(model.encode(request.forget), loss)
