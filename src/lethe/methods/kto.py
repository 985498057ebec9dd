"""Kahneman-Tversky optimisation."""

from typing import Literal

from torch import Tensor

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.descent.pairs import beside
from lethe.descent.published import NPO
from lethe.losses import preference
from lethe.models.base import Batch, Model, per_example
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"language"},
    needs={"nll"},
    intent="suppression",
    paper="2404.05868",
    retain="nll",
    presets={
        "paper": {**NPO, "beta": 0.1},
        "kto_sigmoid": {**NPO, "beta": 0.1, "variant": "sigmoid", "retain": "none"},
        "kto_logsigmoid": {**NPO, "beta": 0.1, "variant": "logsigmoid", "retain": "none"},
        "kto_logsigmoid_grad_diff": {**NPO, "beta": 0.1, "variant": "logsigmoid"},
    },
)
def kto(
    model: Model,
    request: Request,
    *,
    beta: float = 0.1,
    variant: Literal["paper", "sigmoid", "logsigmoid"] = "paper",
    refusals: str = "",
) -> Term:
    """KTO: every forget answer must fall below the level that refusals have come to, without being paired with one.

    The level is a mean over the whole batch, so there are no micro-batches. The original model's log-probabilities are
    computed once per example, so one model is held in memory.

    Args:
        beta: Inverse temperature, per nat.
        variant: paper scales the whole margin by beta; sigmoid and logsigmoid are what NPO's code calls KTO.
        refusals: File of refusals, one per line; empty draws from Lethe's own.
    """
    examples = model.encode(request.forget)
    refused = model.encode(refuse(request.forget, request.seed, refusals))
    reference = per_example(model, examples).to(model.device)
    refusal_reference = per_example(model, refused).to(model.device)

    def loss(model: Model, batch: Batch) -> Tensor:
        with model.evaluating():
            level = (refusal_reference[batch.index] - model.loss(beside(model, batch, refused))).mean()
        return preference.kto(model.loss(batch), reference[batch.index], level, beta, variant)

    return Term("forget", examples, loss, per="batch", role="forget")
