"""One matrix out of a tensor that holds those of all experts."""

from __future__ import annotations

from typing import Literal

import torch

from lethe.descent.names import searched
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Selection

Part = Literal["all", "gate", "up"]


def fused(model: Model, request: Request, *, match: str = "experts", expert: int = 0, part: Part = "all") -> Selection:
    r"""One expert's matrix in tensors (E, rows, columns) that hold all experts of a block.

    RMU trains one matrix of one expert in each of three blocks of Mixtral (arXiv 2403.03218), which was a tensor of its
    own once: match=layers\.[567]\.mlp\.experts\.gate_up_proj, expert=0, part=up. All else stays bit-identical.

    Args:
        match: Regular expression searched in the tensor's name.
        expert: Number of the expert, from 0.
        part: all rows of the matrix, or where gate and up projection share it, the first (gate) or second (up) half.

    Raises:
        InputError: If nothing that matches holds experts, or there is no such expert.
    """
    every = {name: parameter for name, parameter in model.module.named_parameters() if parameter.dim() == 3}
    if not every:
        raise InputError(
            f"where=fused: {type(model.module).__name__} has no tensor of several experts; use layers instead."
        )
    chosen = searched(every, match, "where=fused", "tensor of experts")
    mask = {}
    for name, parameter in chosen.items():
        experts, rows, _ = parameter.shape
        if not 0 <= expert < experts:
            raise InputError(f"where=fused: expert is {expert}, but {name} holds experts 0 to {experts - 1}.")
        span = {"all": slice(rows), "gate": slice(rows // 2), "up": slice(rows // 2, rows)}[part]
        mask[name] = torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
        mask[name][expert, span] = True
    return Selection(chosen, mask)
