"""Maximum entropy."""

from typing import Literal

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens
from lethe.losses import targets
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"weight": 0.1, "lr": 1e-5, "epochs": 5, "batch_size": 32}


@objective(needs={"logits"}, paper="2410.08109", retain="nll", presets={"paper": PAPER})
def me(model: Model, request: Request, *, weight: float = 0.1, variant: Literal["paper", "unmasked"] = "paper") -> Term:
    """ME: every token of the vocabulary becomes as likely as any other after a forget question (ME+GD with retain=nll).

    Args:
        weight: Weight of the forget term.
        variant: paper averages over the answer tokens, as its code does; unmasked over prompt and padding, too (what
            ULD's assistant, arXiv 2406.08607, asks of the retain set).
    """
    unmasked = variant == "unmasked"

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return targets.me(logits, batch.labels, "reference" if unmasked else "masked")

    return forget_tokens(model.encode(request.forget), loss, weight=weight, every_position=unmasked)
