"""Inverted hinge loss."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens
from lethe.losses import hinge
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

# LoKU on Llama-2-7B at the largest of the paper's ranks (4, 8, 16, 32); Phi-1.5 has lr 2e-4.
PAPER = {
    "where": "fila:rank=32,alpha=64",
    "lr": 1e-4,
    "epochs": 5,
    "batch_size": 32,
    "accumulate": 16,
    "weight_decay": 0.01,
    "warmup": 0.2,
    "precision": "bf16",
}


@objective(needs={"logits"}, paper="2408.06621", retain="nll", presets={"paper": PAPER})
def ihl(model: Model, request: Request) -> Term:
    """IHL: each forget token gives way to its runner-up, by a loss between 0 and 2 with bounded gradient.

    With where=fila it is LoKU. It goes on after the token is no longer the likeliest, until another one is certain.
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return hinge.ihl(logits, batch.labels)

    return forget_tokens(model.encode(request.forget), loss)
