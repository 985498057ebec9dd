"""Saturation and importance."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens
from lethe.losses import weighted
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"beta1": 5.0, "beta2": 1.0, "lr": 1e-5, "epochs": 5, "batch_size": 16, "retain_weight": 0.1}


@objective(needs={"logits"}, paper="2505.11953", retain="nll", presets={"paper": PAPER})
def satimp(model: Model, request: Request, *, beta1: float = 1.0, beta2: float = 0.1) -> Term:
    """SatImp: gradient ascent on tokens that are neither forgotten nor certain, by the weight p^beta1 (1 - p)^beta2.

    What is known by heart has 1 - p near 0 and is slow to start: lower beta2 or raise lr there.

    Args:
        beta1: Exponent of p (saturation): the larger, the sooner a forgotten token is left alone.
        beta2: Exponent of 1 - p (importance): the larger, the less a certain token is moved; 0 is WGA.
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return weighted.satimp(logits, batch.labels, beta1, beta2)

    return forget_tokens(model.encode(request.forget), loss)
