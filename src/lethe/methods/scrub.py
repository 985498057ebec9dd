"""Teacher and student, alternately."""

from lethe.descent.objective import objective
from lethe.descent.published import MUFAC
from lethe.descent.teacher import alternate
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    needs={"logits", "loss"},
    families={"classifier"},
    paper="2302.09880",
    retain=None,
    requires={"retain"},
    presets={"mufac": {**MUFAC, "epochs": 4, "forget_epochs": 2, "alpha": 1.0, "temperature": 4.0}},
)
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
    return [*alternate(model, request, alpha, gamma, temperature, forget_epochs)]
