"""Selective distillation with Mahalanobis distances."""

import torch
from torch import Tensor

from lethe.descent.features import class_features
from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses.classification import kl_temperature
from lethe.losses.features import mahalanobis, nearest_other, shrunk_precision, tukey
from lethe.models.base import Batch, Model
from lethe.request import Request, classes_of
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"features", "logits"}, paper="2404.12922", retain=None, requires={"retain"}
)  # fmt: skip
def scar(
    model: Model,
    request: Request,
    *,
    weight: float = 5.0,
    keep_weight: float = 5.0,
    power: float = 0.5,
    gamma1: float = 3.0,
    gamma2: float = 3.0,
) -> list[Term]:
    """SCAR: move the features of each forget record to the nearest other class, in that class's own spread.

    Distillation from the original model keeps the rest; here on retain records, where the paper takes unrelated images
    as well. (A released comparison reads the features to move off a retain batch, and so never looks at what is to be
    forgotten.)

    Args:
        weight: Weight of the distance.
        keep_weight: Weight of the KL to the original model.
        power: Tukey's power, which makes skewed features more alike to a normal distribution; 1 leaves them.
        gamma1: Shrinkage of the covariance on the diagonal.
        gamma2: Shrinkage off the diagonal.

    Raises:
        InputError: If the power or gamma1 is not positive, or no other class has two retain records.
    """
    if not power > 0 or not gamma1 > 0:
        raise InputError(f"scar: power={power:g} and gamma1={gamma1:g} must be above 0.")
    classes_of(request.forget, "scar")
    retain, forget = model.encode(request.retain), model.encode(request.forget)
    seen, labels, classes = class_features(model, retain)
    seen = tukey(seen, power)
    spread = torch.bincount(labels, minlength=classes) > 1
    of_class = [seen[labels == c] if spread[c] else seen[:2] for c in range(classes)]
    means = torch.stack([rows.mean(0) for rows in of_class])
    precisions = torch.stack([shrunk_precision(rows, gamma1, gamma2) for rows in of_class])
    teacher = model.copy()
    teacher.module.requires_grad_(False)

    def leave(model: Model, batch: Batch) -> Tensor:
        now = tukey(model.features(batch).flatten(1), power)  # pyright: ignore[reportAttributeAccessIssue]
        distances = mahalanobis(now, means, precisions)
        goal = nearest_other(distances.detach(), batch.labels[:, 0], spread)
        return distances.gather(1, goal[:, None])[:, 0]

    def keep(model: Model, batch: Batch) -> Tensor:
        with teacher.evaluating():
            taught = teacher.logits(batch)[:, 0]
        return kl_temperature(taught, model.logits(batch)[:, 0])

    return [
        Term("forget", forget, leave, role="forget", weight=weight),
        Term("retain", retain, keep, weight=keep_weight),
    ]
