"""Contrastive unlearning."""

from typing import Literal

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses import features
from lethe.models.base import Batch, Model
from lethe.request import Request, classes_of
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"features", "loss"}, paper="2401.10458", retain=None, requires={"retain"}
)  # fmt: skip
def contrastive(
    model: Model,
    request: Request,
    *,
    weight: float = 1.0,
    temperature: float = 0.1,
    variant: Literal["paper", "reference"] = "paper",
) -> list[Term]:
    """Contrastive unlearning: pull features of forget records to those of other classes, away from their own class.

    Args:
        weight: Weight of the contrastive loss beside the training loss on the retain set.
        temperature: Divides the cosines; the released comparison takes 1.
        variant: paper pulls to retain records of other classes; reference (the comparison of arXiv 2503.06991) to the
            forget records of other classes in the same batch, so it needs a request for several classes.

    Raises:
        InputError: If the temperature is not positive, or reference is asked to forget a single class.
    """
    if not temperature > 0:
        raise InputError(f"contrastive: temperature is {temperature:g}; it must be above 0.")
    own = set(classes_of(request.forget, "contrastive"))
    if variant == "reference" and len(own) < 2:
        raise InputError(
            "contrastive: variant=reference pulls forget records of different classes together, and all of these are "
            "of one; use variant=paper."
        )
    retain = model.encode(request.retain)

    def pull(model: Model, batch: Batch) -> Tensor:
        anchors, own = _seen(model, batch)
        if variant == "reference":
            other = own[:, None] != own
            return features.contrastive(anchors, anchors, other, torch.ones_like(other), temperature)
        drawn = torch.randint(len(retain), (len(batch),)).tolist()  # from the generator that is seeded by the step
        beside, theirs = _seen(model, model.collate([retain[row] for row in drawn], drawn).to(model.device))
        itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
        of_class = own[:, None] == own
        towards = torch.cat([own[:, None] != theirs, torch.zeros_like(of_class)], 1)
        against = torch.cat([torch.ones_like(own[:, None] != theirs), of_class & ~itself], 1)
        return features.contrastive(anchors, torch.cat([beside, anchors]), towards, against, temperature)

    forget = Term("forget", model.encode(request.forget), pull, per="batch", role="forget", weight=weight)
    return [forget, Term("retain", retain, own_loss, per="token")]


def _seen(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    seen = model.features(batch)  # pyright: ignore[reportAttributeAccessIssue]
    return seen.flatten(1), batch.labels[:, 0]
