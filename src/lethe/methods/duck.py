"""Distance-based unlearning via centroid kinematics."""

import torch.nn.functional as F
from torch import Tensor

from lethe.descent.features import class_features
from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses.features import centroids, nearest_other
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request, classes_of
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"features", "logits"}, paper="2312.02052", retain=None, requires={"retain"}
)  # fmt: skip
def duck(
    model: Model, request: Request, *, weight: float = 1.5, keep_weight: float = 1.5, temperature: float = 2.0
) -> list[Term]:
    """DUCK: move the features of each forget record to the mean of the nearest other class, in cosine distance.

    Means and nearest classes are those of the original model, on the retain set.

    Args:
        weight: Weight of the distance.
        keep_weight: Weight of the training loss on the retain set.
        temperature: Divides the logits of that loss.

    Raises:
        InputError: If the temperature is not positive, or the retain set holds no other class.
    """
    if not temperature > 0:
        raise InputError(f"duck: temperature is {temperature:g}; it must be above 0.")
    classes_of(request.forget, "duck")
    retain, forget = model.encode(request.retain), model.encode(request.forget)
    seen, labels, classes = class_features(model, retain)
    means, present = centroids(seen, labels, classes)
    own, own_labels, _ = class_features(model, forget)
    distances = 1 - F.normalize(own, dim=-1) @ F.normalize(means, dim=-1).T
    goals = means[nearest_other(distances, own_labels, present)]

    def approach(model: Model, batch: Batch) -> Tensor:
        now = model.features(batch).flatten(1)  # pyright: ignore[reportAttributeAccessIssue]
        return 1 - F.cosine_similarity(now, goals[batch.index.to(goals.device)])

    def keep(model: Model, batch: Batch) -> Tensor:
        return sequence_nll(model.logits(batch) / temperature, batch.labels)

    return [
        Term("forget", forget, approach, role="forget", weight=weight),
        Term("retain", retain, keep, weight=keep_weight),
    ]
