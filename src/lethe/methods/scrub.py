"""Teacher and student, alternately."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.losses.classification import kl_temperature
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


@objective(needs={"logits", "loss"}, families={"classifier"}, paper="2302.09880", retain=None, requires={"retain"})
def scrub(
    model: Model,
    request: Request,
    *,
    alpha: float = 0.5,
    gamma: float = 1.0,
    temperature: float = 2.0,
    forget_epochs: int = 3,
) -> list[Term]:
    """SCRUB: epochs that leave the original model on the forget set, each followed by one that obeys it on the rest.

    Holds a frozen copy of the model as teacher. The last epochs always see the retain set.

    Args:
        alpha: Weight of the KL to the teacher on the retain set.
        gamma: Weight of the training loss on the retain set.
        temperature: Softmax temperature of both KL terms.
        forget_epochs: Epochs that maximise the KL to the teacher on the forget set.
    """
    teacher = model.copy()
    teacher.module.requires_grad_(False)

    def distance(logits: Tensor, batch: Batch) -> Tensor:
        with teacher.evaluating():
            taught = teacher.logits(batch)
        return kl_temperature(taught[:, 0], logits[:, 0], temperature)

    def leave(model: Model, batch: Batch) -> Tensor:
        return -distance(model.logits(batch), batch)

    def obey(model: Model, batch: Batch) -> Tensor:
        logits = model.logits(batch)
        return alpha * distance(logits, batch) + gamma * sequence_nll(logits, batch.labels)

    def leaving(epoch: int) -> bool:
        return epoch % 2 == 0 and epoch < 2 * forget_epochs

    return [
        Term("forget", model.encode(request.forget), leave, role="forget", active=leaving),
        Term("retain", model.encode(request.retain), obey, active=lambda epoch: not leaving(epoch)),
    ]
