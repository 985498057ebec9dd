"""Negative preference optimisation."""

from typing import Literal

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.published import NPO, WMDP
from lethe.losses import preference
from lethe.models.base import Batch, Model, per_example
from lethe.request import Request
from lethe.train import Term

# The WMDP runs of arXiv 2502.05374, without and with a step rule that smooths.
SMOOTHED = {**WMDP, "steps": 125, "reduction": "batch_token_mean"}


@objective(
    needs={"nll"},
    paper="2404.05868",
    retain="nll",
    presets={
        "paper": {**NPO, "beta": 0.1},
        "npo_KL": {**NPO, "beta": 0.1, "retain": "kl"},
        "npo_KL_reference": {**NPO, "beta": 0.1, "retain": "kl_all"},  # as its code averages
        "wmdp": {**SMOOTHED, "lr": 5e-6, "beta": 0.0225},
        "sam": {**SMOOTHED, "lr": 5e-6, "beta": 0.015, "retain_weight": 2.25, "step": "sam:rho=0.01"},
        "rs": {**SMOOTHED, "lr": 1e-5, "beta": 0.0125, "retain_weight": 2.0, "step": "rs:sigma=1e-4,draws=3"},
        "cr": {**SMOOTHED, "lr": 8.5e-6, "beta": 0.035, "retain_weight": 1.0, "step": "cr:weight=10,mu=0.01"},
        # As published; in the released code the penalty is a number without gradient, and the run plain NPO.
        "gp": {**SMOOTHED, "lr": 7.5e-6, "beta": 0.04, "retain_weight": 1.0, "step": "gp:weight=10"},
        "wa": {**SMOOTHED, "lr": 5.5e-6, "beta": 0.05, "retain_weight": 2.0, "step": "wa:start=100,every=5"},
    },
)
def npo(
    model: Model,
    request: Request,
    *,
    beta: float = 0.1,
    reduction: Literal["sequence_sum", "batch_token_mean"] = "sequence_sum",
) -> Term:
    """NPO: gradient ascent that fades out as the answer's probability falls below the original model's.

    The original model's log-probabilities are computed once per example, so one model is held in memory.

    Args:
        beta: Inverse temperature, per nat; 0 tends to gradient ascent. It is tied to the reduction.
        reduction: sequence_sum weighs each answer by what it has lost; batch_token_mean, which the code of several WMDP
            runs calls NPO (arXiv 2502.05374), weighs the whole batch by its mean token, without micro-batches.
    """
    examples = model.encode(request.forget)
    reference = per_example(model, examples).to(model.device)

    def loss(model: Model, batch: Batch) -> Tensor:
        return preference.npo(model.loss(batch), reference[batch.index], beta=beta)

    def loss_of_the_mean(model: Model, batch: Batch) -> Tensor:
        tokens = model.sizes(batch).sum()
        return preference.npo(model.loss(batch).sum() / tokens, reference[batch.index].sum() / tokens, beta=beta)

    if reduction == "batch_token_mean":
        return Term("forget", examples, loss_of_the_mean, per="batch", role="forget")
    return Term("forget", examples, loss, per="example", role="forget")
