"""Direct preference optimisation towards refusals."""

import torch
from torch import Tensor

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.losses import preference
from lethe.models.base import Batch, Model, per_example
from lethe.request import Request
from lethe.train import Term


@objective(families={"language"}, needs={"loss"}, intent="suppression", paper="2404.05868", retain="nll")
def dpo(model: Model, request: Request, *, beta: float = 0.1) -> Term:
    """DPO-IDK: prefer a refusal to the forget answer, relative to the original model.

    The original model's log-probabilities are computed once per example, so one model is held in memory.

    Args:
        beta: Inverse temperature.
    """
    examples, refusals = model.encode(request.forget), model.encode(refuse(request.forget, request.seed))
    reference = per_example(model, examples).to(model.device)
    refusal_reference = per_example(model, refusals).to(model.device)

    def loss(model: Model, batch: Batch) -> Tensor:
        rows: list[int] = batch.index.tolist()
        refused = model.collate([refusals[row] for row in rows], rows).to(model.device)
        return preference.dpo(
            model.loss(batch),
            reference[batch.index],
            model.loss(refused),
            refusal_reference[torch.tensor(rows)],
            beta=beta,
        )

    return Term("forget", examples, loss, per="example", role="forget")
