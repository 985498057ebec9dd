"""Bounded divergences to a refusal and to the original model."""

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.tokenwise import forget_tokens, frozen_logits
from lethe.errors import InputError
from lethe.losses import targets
from lethe.models.base import IGNORED, Batch, Model
from lethe.models.language import LanguageModel
from lethe.request import Request
from lethe.train import Term

# Epochs and batch are the released script's; the learning rate is the default of the code it builds on.
PAPER = {"refusal": "No idea", "lr": 1e-5, "epochs": 10, "batch_size": 16}


@objective(
    families={"language"},  # its target is a text
    needs={"logits"},
    paper="2509.02820",
    retain=None,
    requires={"retain"},
    presets={"paper": PAPER},
)
def jensun(model: LanguageModel, request: Request, *, refusal: str = "No idea", alpha: float = 1.0) -> list[Term]:
    """JensUn: a refusal's tokens, over and over, in place of each forget answer; the retain set as it was.

    Both terms are Jensen-Shannon divergences, so neither exceeds log 2 per token. Holds a frozen copy of the model.

    Args:
        refusal: What is said instead; its tokens are repeated to the length of the answer.
        alpha: Weight of the retain term.

    Raises:
        InputError: If the refusal is empty.
    """
    if not refusal.strip():
        raise InputError("jensun: the refusal is empty; say something, such as refusal='No idea'.")
    answer = model.encode([{"id": "refusal", "question": "?", "answer": refusal}])[0].inputs["labels"]
    pattern = [token for token in answer if token not in (IGNORED, model.eos)]
    original = frozen_logits(model)

    def forget(logits: Tensor, batch: Batch) -> Tensor:
        return targets.jensun_forget(logits, targets.repeated(batch.labels, pattern))

    def retain(model: Model, batch: Batch) -> Tensor:
        return targets.jensun_retain(original(batch), model.logits(batch), batch.labels).sum(1)

    return [
        forget_tokens(model.encode(request.forget), forget),
        Term("retain", model.encode(request.retain), retain, per="token", weight=alpha),
    ]
