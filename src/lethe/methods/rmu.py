"""Representation misdirection."""

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.losses import misdirection
from lethe.models.base import IGNORED, Batch
from lethe.models.language import LanguageModel
from lethe.request import Request
from lethe.train import Term

OUTPUT_PROJECTIONS = "down_proj|dense_4h_to_h|fc2|c_proj|w2"  # what the paper trains, in the names of several families


@objective(
    families={"language"},
    needs={"hidden"},
    intent="suppression",
    level="representation",
    paper="2403.03218",
    retain=None,
    requires={"retain"},
    where=f"layers:match={OUTPUT_PROJECTIONS}",
)
def rmu(
    model: LanguageModel, request: Request, *, layer: int = -1, coefficient: float = 20.0, alpha: float = 1.0
) -> list[Term]:
    r"""RMU: push forget activations towards one random direction, keep retain activations where they are.

    Blocks above the one that is read never change. The paper trains three blocks:
    `where="layers:match=layers\\.[567]\\.mlp\\.down_proj"` with layer=7. Holds a frozen copy of the model.

    Args:
        layer: Decoder block whose output is read; negative counts from the end.
        coefficient: Length of the target vector; it must exceed the norm of the block's output.
        alpha: Weight of the retain activations' term; the paper's Zephyr preset is coefficient=6.5, alpha=1200.
    """
    original = model.copy()
    original.module.requires_grad_(False)
    examples = model.encode(request.forget)
    with model.evaluating():
        width = model.hidden(next(model.batches(examples, 1)), [layer])[layer].shape[-1]
    direction = misdirection.rmu_direction(width, torch.Generator().manual_seed(request.seed)).to(model.device)
    target = coefficient * direction

    def forget(model: LanguageModel, batch: Batch) -> Tensor:
        return misdirection.rmu(model.hidden(batch, [layer])[layer], target, batch.labels != IGNORED)

    def retain(model: LanguageModel, batch: Batch) -> Tensor:
        with original.evaluating():
            kept = original.hidden(batch, [layer])[layer]
        return misdirection.rmu(model.hidden(batch, [layer])[layer], kept, batch.labels != IGNORED)

    return [
        Term("forget", examples, forget, role="forget"),
        Term("retain", model.encode(request.retain), retain, weight=alpha),
    ]
