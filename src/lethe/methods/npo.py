"""Negative preference optimisation."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.losses import preference
from lethe.models.base import Batch, Model, per_example
from lethe.request import Request
from lethe.train import Term


@objective(needs={"nll"}, paper="2404.05868", retain="nll")
def npo(model: Model, request: Request, *, beta: float = 0.1) -> Term:
    """NPO: gradient ascent that fades out as the answer's probability falls below the original model's.

    The original model's log-probabilities are computed once per example, so one model is held in memory.

    Args:
        beta: Inverse temperature; 0 tends to gradient ascent.
    """
    examples = model.encode(request.forget)
    reference = per_example(model, examples).to(model.device)

    def loss(model: Model, batch: Batch) -> Tensor:
        return preference.npo(model.loss(batch), reference[batch.index], beta=beta)

    return Term("forget", examples, loss, per="example", role="forget")
