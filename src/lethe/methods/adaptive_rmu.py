"""Representation misdirection with a target as long as the block asks for."""

import math
from typing import Literal

from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.steering import EVERYWHERE, THREE_BLOCKS, Tokens, norms, steer
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.request import Record, Request
from lethe.train import Term

FIRST_BATCH = 4  # records that the released code measures, per topic


@objective(
    families={"language"},
    needs={"hidden"},
    intent="suppression",
    level="representation",
    paper="2408.06223",
    retain=None,
    requires={"retain"},
    where=EVERYWHERE,
    presets={
        "paper": {
            "layer": 7, "where": THREE_BLOCKS, "scale": 5.0, "alpha": 1200.0, "variant": "reference", "tokens": "all",
            "lr": 5e-5, "steps": 500, "batch_size": 4, "clip": None, "precision": "bf16",
        },
    },
)  # fmt: skip
def adaptive_rmu(
    model: LanguageModel,
    request: Request,
    *,
    layer: int = -1,
    scale: float = 5.0,
    alpha: float = 1.0,
    variant: Literal["paper", "reference"] = "paper",
    tokens: Tokens = "scored",
    diagnostics: bool = False,
) -> list[Term]:
    """Adaptive RMU: RMU whose target outgrows the states it replaces, however large a deep block's states are.

    Forget records with a "topic" get a direction per topic. Holds a frozen copy of the model.

    Args:
        layer: Decoder block whose output is read; negative counts from the end.
        scale: Length of the target over the norm of the states.
        alpha: Weight of the retain activations' term.
        variant: paper measures every forget record with the original model; reference measures the first four records
            of each topic once and takes their mean for all.
        tokens: scored counts the states that predict a scored token; all counts every position of the padded batch, as
            the released code does.
        diagnostics: Log six numbers more per step, at about three times the cost: cosine with the original states,
            and norms now and before, on forget and on retain records.

    Raises:
        InputError: If the scale is negative, or the model has no such block.
    """
    if not 0 <= scale < math.inf:
        raise InputError(f"adaptive_rmu: scale is {scale:g}; it must be a finite number of at least 0.")

    def measured(original: LanguageModel, records: list[Record]) -> Tensor:
        if variant == "paper":
            return scale * norms(original, records, layer, tokens)
        return scale * norms(original, records[:FIRST_BATCH], layer, tokens).mean().expand(len(records))

    return steer(model, request, measured, layer=layer, alpha=alpha, tokens=tokens, diagnostics=diagnostics)
