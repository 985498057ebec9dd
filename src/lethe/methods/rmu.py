"""Representation misdirection."""

import math
from typing import Any

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.steering import EVERYWHERE, THREE_BLOCKS, Tokens, steer
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.request import Record, Request
from lethe.train import Term

PUBLISHED: dict[str, Any] = {"lr": 5e-5, "clip": None, "precision": "bf16", "tokens": "all"}
ONE_EXPERT = r"fused:match=layers\.[567]\.mlp\.experts\.gate_up_proj,expert=0,part=up"


@objective(
    families={"language"},
    needs={"hidden"},
    intent="suppression",
    level="representation",
    paper="2403.03218",
    retain=None,
    requires={"retain"},
    where=EVERYWHERE,
    presets={
        "paper": {  # Zephyr-7B
            **PUBLISHED, "layer": 7, "where": THREE_BLOCKS, "coefficient": 6.5, "alpha": 1200.0, "steps": 150,
            "batch_size": 4,
        },
        "yi_34b": {
            **PUBLISHED, "layer": 15, "where": r"layers:match=layers\.1[345]\.mlp\.down_proj", "coefficient": 300.0,
            "alpha": 350.0, "steps": 400, "batch_size": 2,
        },
        "mixtral_8x7b": {
            **PUBLISHED, "layer": 7, "where": ONE_EXPERT, "coefficient": 300.0, "alpha": 1600.0, "steps": 400,
            "batch_size": 2,
        },
        "cli": {  # the released script's defaults, which are not the published settings
            **PUBLISHED, "layer": 7, "where": THREE_BLOCKS, "coefficient": 20.0, "alpha": 100.0, "steps": 80,
            "batch_size": 4,
        },
    },
)  # fmt: skip
def rmu(
    model: LanguageModel,
    request: Request,
    *,
    layer: int = -1,
    coefficient: float = 20.0,
    alpha: float = 1.0,
    tokens: Tokens = "scored",
    diagnostics: bool = False,
) -> list[Term]:
    """RMU: push forget activations towards one random direction, keep retain activations where they are.

    Blocks above the one that is read never change. Forget records with a "topic" get a direction per topic. Holds a
    frozen copy of the model.

    Args:
        layer: Decoder block whose output is read; negative counts from the end.
        coefficient: Length of the target vector; it must exceed the norm of the block's output.
        alpha: Weight of the retain activations' term.
        tokens: scored counts the states that predict a scored token; all counts every position of the padded batch, as
            the released code does.
        diagnostics: Log six numbers more per step, at about three times the cost: cosine with the original states,
            and norms now and before, on forget and on retain records.

    Raises:
        InputError: If the coefficient is negative, or the model has no such block.
    """
    if not 0 <= coefficient < math.inf:
        raise InputError(f"rmu: coefficient is {coefficient:g}; a vector's length is a finite number of at least 0.")

    def fixed(_: LanguageModel, records: list[Record]) -> Tensor:
        return torch.full((len(records),), coefficient)

    return steer(model, request, fixed, layer=layer, alpha=alpha, tokens=tokens, diagnostics=diagnostics)
