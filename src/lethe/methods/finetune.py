"""Fine-tuning on what is to stay."""

from lethe.descent.objective import objective
from lethe.descent.published import MUFAC
from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Term


@objective(
    needs={"loss"},
    paper="2310.12508",
    retain=None,
    requires={"retain"},
    presets={"mufac": MUFAC},
)
def finetune(model: Model, request: Request) -> Term:
    """Fine-tune on the retain set and hope that the forget set fades."""
    return Term("retain", model.encode(request.retain), own_loss, per="token")
