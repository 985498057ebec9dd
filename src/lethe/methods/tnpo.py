"""Token-wise negative preference optimisation."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens, frozen_token_nll
from lethe.losses import weighted
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"beta": 4.0, "lr": 1e-5, "epochs": 5, "batch_size": 32}


@objective(needs={"logits"}, paper="2502.19301", retain="nll", presets={"paper": PAPER})
def tnpo(model: Model, request: Request, *, beta: float = 4.0, epsilon: float = 1e-5) -> Term:
    """TNPO: NPO's weight per token, so that each token of an answer fades out on its own.

    The original model's log-probabilities are computed once per token, so one model is held in memory.

    Args:
        beta: Inverse temperature; 0 is gradient ascent.
        epsilon: Added to the denominator of the weight, as in the released code; it also spares what was never likely.
    """
    examples = model.encode(request.forget)
    reference = frozen_token_nll(model, examples)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return weighted.tnpo(logits, batch.labels, reference(batch), beta, epsilon)

    return forget_tokens(examples, loss)
