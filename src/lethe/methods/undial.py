"""Self-distillation on adjusted logits."""

from typing import Literal

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens, frozen_logits
from lethe.losses import targets
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

PAPER = {"beta": 10.0, "lr": 1e-4, "epochs": 10, "batch_size": 16, "where": "lora:rank=8,alpha=16", "retain": "none"}


# Not for recommenders: one user has several items to forget, and the target of each upholds the others.
@objective(
    families={"language", "classifier"},
    needs={"logits"},
    paper="2402.10052",
    retain="nll",
    presets={"paper": PAPER},
)
def undial(
    model: Model, request: Request, *, beta: float = 10.0, variant: Literal["paper", "reference"] = "paper"
) -> Term:
    """UNDIAL: learn what the original model would say if it gave each forget token a lower logit.

    Everything but the token stays as the original has it. The paper uses no retain term. Holds a frozen copy of the
    model.

    Args:
        beta: How far the logit is lowered; the paper's runs use 3, 10 and 30.
        variant: paper averages over the answer tokens; reference over prompt and padding, too, where the model is held
            to its original self (the released code's wrong token there is left out).
    """
    original, released = frozen_logits(model), variant == "reference"

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        compat = "reference" if released else "masked"
        return targets.undial(original(batch), logits, batch.labels, beta, compat)

    return forget_tokens(model.encode(request.forget), loss, every_position=released)
