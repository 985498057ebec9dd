"""Primal-dual unlearning."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.flattening import flatten_logits
from lethe.models.base import Batch, Model
from lethe.recipe import Recipe
from lethe.request import Request
from lethe.train import Done, Term


@objective(
    needs={"logits", "nll"}, paper="2506.05314", retain=None, requires={"retain"},
    presets={"paper": {"alpha": 100.0, "dual_rate": 5.0, "bound": 0.3, "warmup_epochs": 5, "lr": 1e-5, "epochs": 10}},
    epochs=10,
)  # fmt: skip
def pdu(
    model: Model,
    request: Request,
    *,
    bound: float = 0.3,
    alpha: float = 100.0,
    dual_rate: float = 5.0,
    warmup_epochs: int = 1,
) -> list[Term]:
    """PDU: flatten the forget answers' logits subject to a bound on the retain loss, by a weight that adapts.

    After each step the retain term's weight moves by dual_rate times (retain loss - bound) and never below 0: up while
    the retain set suffers, down while there is room to forget. The weight is part of every checkpoint, and of the log.

    Args:
        bound: Retain loss that is allowed, nats per token.
        alpha: Weight of the retain term at the start.
        dual_rate: Change of that weight per nat and step; 0 keeps it.
        warmup_epochs: Epochs before the weight begins to move.

    Raises:
        InputError: If an option is negative or not finite, or the run ends before the weight begins to move.
    """
    examples = model.encode(request.forget)
    weight = Dual("retain", bound, start=alpha, rate=dual_rate, warmup_epochs=warmup_epochs, leading=len(examples))

    def flatten(model: Model, batch: Batch) -> Tensor:
        return flatten_logits(model.logits(batch), batch.labels).sum(-1)

    return [
        Term("forget", examples, flatten, per="token", role="forget"),
        Term("retain", model.encode(request.retain), own_loss, per="token", weight=weight),
    ]


@dataclass
class Dual:
    """The multiplier of the constraint `loss of a term <= bound`, as that term's weight (see `lethe.train.Carried`).

    Dual ascent on the values that the steps log, which are those of the whole effective batch over all processes.
    """

    term: str
    bound: float
    start: float
    rate: float
    warmup_epochs: int
    leading: int = 1  # examples of the term whose passes are the epochs
    state: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("bound", "start", "rate", "warmup_epochs"):
            if not 0 <= getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise InputError(f"pdu: {name} of the retain weight is {value}; it must be finite and at least 0.")
        self.state = {"value": torch.tensor(self.start, dtype=torch.float64)}

    def __float__(self) -> float:
        return float(self.state["value"])

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Back to the start; refuses a run that leaves no step to move in."""
        warmup = self.warmup_epochs * math.ceil(self.leading / recipe.batch_size)
        if self.rate and steps <= warmup:
            raise InputError(
                f"pdu: the run of {steps} steps ends within the warm-up of {warmup} (warmup_epochs="
                f"{self.warmup_epochs}), so the retain weight would never move: train longer, or give dual_rate=0."
            )
        self.state["value"].fill_(self.start)

    def after(self, done: Done) -> None:
        """One step of ascent, and back to 0 where that leads below."""
        if done.epoch >= self.warmup_epochs and self.term in done.losses:
            self.state["value"].add_(self.rate * (done.losses[self.term] - self.bound)).clamp_(min=0)

    def end(self) -> None:
        """Nothing is left to do."""
