"""SCRUB, wound back to where the forget set is as wrong as unseen records are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.teacher import alternate, leaving
from lethe.errors import InputError
from lethe.models.base import Example, Model
from lethe.recipe import Recipe
from lethe.request import Request
from lethe.train import Done, Term


@objective(
    needs={"logits", "loss"}, families={"classifier"}, paper="2302.09880", retain=None,
    requires={"retain", "validation"},
)  # fmt: skip
def scrub_r(
    model: Model,
    request: Request,
    *,
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 2.0,
    forget_epochs: int = 3,
) -> list[Term]:
    """SCRUB+R: SCRUB, then back to the epoch whose error on the forget set is nearest to that of unseen records.

    The goal is the error of the final model on the request's validation records, weighted to the classes of the forget
    set: a model that errs more on what it forgot than on what it never saw gives away what that was. Keeps the weights
    of every epoch that obeys the teacher, in memory.

    Args:
        alpha: Weight of the KL to the teacher on the retain set.
        gamma: Weight of the training loss on the retain set.
        temperature: Softmax temperature of both KL terms.
        forget_epochs: Epochs that maximise the KL to the teacher on the forget set.

    Raises:
        InputError: If no validation record is of a class that is to be forgotten.
    """
    forget, retain = alternate(model, request, alpha, gamma, temperature, forget_epochs)
    return [forget, replace(retain, weight=Rewind(model, request, forget_epochs))]


class Rewind:
    """The weight 1 of the term that obeys, which also keeps the weights at the end of its epochs and returns to one."""

    def __init__(self, model: Model, request: Request, forget_epochs: int) -> None:
        counts = Counter(_labels(record) for record in request.forget)
        records = [record for record in request.validation if _labels(record) in counts]
        if not records:
            raise InputError("scrub_r: no validation record is of a forgotten class; give some, which set the goal.")
        of_class = Counter(_labels(record) for record in records)
        self.shares = torch.tensor([counts[_labels(record)] / of_class[_labels(record)] for record in records])
        self.model, self.forget_epochs = model, forget_epochs
        self.forget, self.unseen = model.encode(request.forget), model.encode(records)
        self.moving: Mapping[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}

    def __float__(self) -> float:
        return 1.0

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Make room: the weights as they are after each epoch, with its error on the forget set."""
        epochs = steps if recipe.steps else recipe.epochs
        self.moving = moving
        self.state = {f"{name}": tensor.new_zeros((epochs, *tensor.shape)) for name, tensor in moving.items()}
        self.state["kept"] = torch.zeros(epochs, dtype=torch.bool)

    def after(self, done: Done) -> None:
        """Keep the weights of the epoch so far; its last step leaves those of its end."""
        if leaving(done.epoch, self.forget_epochs):
            return
        for name, tensor in self.moving.items():
            self.state[name][done.epoch].copy_(tensor.detach())
        self.state["kept"][done.epoch] = True

    def end(self) -> None:
        """Go to the kept epoch whose forget error is nearest to the goal; of equals, to the last."""
        kept = self.state["kept"].nonzero()[:, 0].tolist()
        if not kept:
            return
        shares = self.shares / self.shares.sum()
        goal = float((_errors(self.model, self.unseen) * shares).sum())
        gaps = []
        for epoch in kept:
            self._set(epoch)
            gaps.append(abs(float(_errors(self.model, self.forget).mean()) - goal))
        self._set(max(epoch for epoch, gap in zip(kept, gaps, strict=True) if gap == min(gaps)))

    def _set(self, epoch: int) -> None:
        with torch.no_grad():
            for name, tensor in self.moving.items():
                tensor.copy_(self.state[name][epoch])


def _labels(record: Mapping[str, object]) -> str:
    return repr(record.get("labels", record.get("label")))


def _errors(model: Model, examples: Sequence[Example]) -> Tensor:
    """Share of each example's labels that the model does not name, (N,)."""
    found = torch.zeros(len(examples))
    with model.evaluating():
        for batch in model.batches(examples):
            wrong = model.logits(batch).argmax(-1) != batch.labels
            found[batch.index.cpu()] = wrong.float().mean(-1).cpu()
    return found
