"""Low-rank adapters: small matrices beside the weights are trained, and folded into the weights at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Selection


def lora(
    model: Model, request: Request, *, rank: int = 8, alpha: float = 16.0, targets: tuple[str, ...] = ()
) -> Selection:
    """Low-rank adapters through peft (LoRA, arXiv 2106.09685), merged into the weights at the end.

    Args:
        rank: Rank of the adapters.
        alpha: Scale; the update is alpha / rank times B A.
        targets: Names of the modules to adapt; empty adapts every linear layer but the output head.

    Raises:
        InputError: If the rank is below 1, or the model has no module that can be adapted.
    """
    names = list(targets) or _adaptable(model.module)
    if not names:
        raise InputError(
            f"where=lora: {type(model.module).__name__} has no linear, convolution or embedding layer to adapt."
        )
    return adapted(model, names, rank, alpha, request.seed, "where=lora")


def adapted(model: Model, names: Sequence[str], rank: int, alpha: float, seed: int, who: str) -> Selection:
    """Put adapters beside the named modules of `model`, in place; A is drawn from the seed, B is zero.

    Raises:
        InputError: If the rank is below 1, or a name fits no module that takes an adapter.
    """
    from peft import LoraConfig, get_peft_model

    if rank < 1:
        raise InputError(f"{who}: rank is {rank}; it must be at least 1.")
    base: Any = model.module
    scale: Any = alpha  # declared as int, used as a factor
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=list(names), lora_dropout=0.0)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)  # peft draws A from the global state
        try:
            wrapped: Any = get_peft_model(base, config)
        except ValueError as error:  # names that match nothing, or a layer that takes no adapter
            raise InputError(f"{who}: {str(error).splitlines()[0]}") from error
    model.module = wrapped

    def finish() -> None:
        model.module = wrapped.merge_and_unload()

    return Selection({n: p for n, p in wrapped.named_parameters() if p.requires_grad}, finish=finish)


def _adaptable(module: nn.Module) -> list[str]:
    head = getattr(module, "get_output_embeddings", lambda: None)()
    for kinds in ((nn.Linear, nn.Conv2d), (nn.Embedding,)):
        found = [name for name, m in module.named_modules() if isinstance(m, kinds) and m is not head]
        if found:
            return found
    return []
