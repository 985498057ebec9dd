"""Masking the head: forgetting a class by never naming it."""

import torch
from torch import nn

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request, classes_of

NEVER = -1e4  # as good as minus infinity to a softmax, and still a weight that can be stored and merged


@method(
    families={"classifier"}, needs={"logits"}, intent="suppression", level="output", requires={"forget", "retain"}
)  # fmt: skip
def head_mask(model: Model, request: Request) -> Model:
    """Head mask, a floor: the forgotten class's output is biased away; what the network knows stays as it is.

    Raises:
        InputError: If the request is no class forgetting (a class of the forget set also stands in the retain set, or
            records have several labels), or the head has no bias.
    """
    gone, kept = (set(classes_of(records, "head_mask")) for records in (request.forget, request.retain))
    if shared := sorted(gone & kept):
        raise InputError(
            f"head_mask forgets whole classes, but class {shared[0]} stands in the forget and in the retain set; "
            "use it for class forgetting only."
        )
    masked = model.copy()
    linear = [module for module in masked.module.modules() if isinstance(module, nn.Linear)]
    bias: torch.Tensor | None = linear[-1].bias if linear else None
    if bias is None:
        raise InputError(f"head_mask: {type(model.module).__name__} has no linear head with a bias to set.")
    with torch.no_grad():
        bias[sorted(gone)] = NEVER
    return masked
