"""Two teachers, one of whom knows nothing."""

from typing import Literal

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses.classification import kl_temperature
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

ANOTHER = 7919  # added to the seed: not the draw that the model itself may have started from


@objective(families={"classifier"}, needs={"logits"}, paper="2205.08096", retain=None, requires={"retain"})
def bad_teacher(
    model: Model,
    request: Request,
    *,
    share: float = 0.3,
    temperature: float = 1.0,
    variant: Literal["paper", "reference"] = "paper",
) -> list[Term]:
    """Bad teacher: imitate a network of random weights on the forget set, and the original model on the retain set.

    Args:
        share: Share of the retain records that is shown, above 0 to 1, drawn by the seed.
        temperature: Softmax temperature of teachers and student.
        variant: paper takes the divergence of each example; reference divides it by the number of classes as well, as
            the released code does: the same direction at a smaller rate, unless the optimiser is indifferent to scale.

    Raises:
        InputError: If the share is out of range.
    """
    if not 0 < share <= 1:
        raise InputError(f"bad_teacher: share is {share:g}; give a share of the retain records, above 0 to 1.")
    teachers = {"forget": model.fresh(request.seed + ANOTHER), "retain": model.copy()}
    for teacher in teachers.values():
        teacher.module.requires_grad_(False)
    drawn = torch.randperm(len(request.retain), generator=torch.Generator().manual_seed(request.seed))
    shown = [request.retain[row] for row in drawn[: max(1, round(share * len(request.retain)))].tolist()]

    def imitate(teacher: Model, model: Model, batch: Batch) -> Tensor:
        with teacher.evaluating():
            taught = teacher.logits(batch)
        values = kl_temperature(taught, model.logits(batch), temperature).sum(-1)  # over the labels of a record
        return values / taught.shape[-1] if variant == "reference" else values

    def unlearn(model: Model, batch: Batch) -> Tensor:
        return imitate(teachers["forget"], model, batch)

    def keep(model: Model, batch: Batch) -> Tensor:
        return imitate(teachers["retain"], model, batch)

    return [
        Term("forget", model.encode(request.forget), unlearn, role="forget"),
        Term("retain", model.encode(shown), keep),
    ]
