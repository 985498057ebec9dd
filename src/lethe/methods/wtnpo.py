"""Weighted token-wise negative preference optimisation."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens, frozen_token_nll
from lethe.losses import weighted
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"beta": 4.0, "alpha": 1.5, "lr": 1e-5, "epochs": 5, "batch_size": 32}


@objective(needs={"logits"}, paper="2502.19301", retain="nll", presets={"paper": PAPER})
def wtnpo(model: Model, request: Request, *, beta: float = 4.0, alpha: float = 1.5, epsilon: float = 1e-5) -> Term:
    """WTNPO: token-wise NPO with the further weight p^alpha, which is WGA's.

    The original model's log-probabilities are computed once per token, so one model is held in memory.

    Args:
        beta: Inverse temperature of NPO's weight.
        alpha: Exponent of the further weight; 0 is TNPO.
        epsilon: Added to the denominator of the weight, as in the released code; it also spares what was never likely.
    """
    examples = model.encode(request.forget)
    reference = frozen_token_nll(model, examples)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return weighted.wtnpo(logits, batch.labels, reference(batch), beta, alpha, epsilon)

    return forget_tokens(examples, loss)
