"""Low-rank adapters: small matrices beside the weights are trained, and folded into the weights at the end."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lethe.descent.names import nearest
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
        targets: Ends of the names of the modules to adapt, e.g. mlp.up_proj; empty adapts every linear and convolution
            layer but the output head and whatever shares its weight (every embedding where there is no such layer).

    Raises:
        InputError: If rank or alpha is not above 0, a target does not exist or shares its weight, or the model has no
            module that can be adapted.
    """
    return adapted(model, aimed(model.module, targets, "where=lora"), rank, alpha, request.seed, "where=lora")


def adapted(model: Model, names: Sequence[str], rank: int, alpha: float, seed: int, who: str) -> Selection:
    """Put adapters beside the named modules of `model`, in place; A is drawn from the seed, B is zero.

    Raises:
        InputError: If the rank is below 1, alpha is not above 0, or a name fits no module that takes an adapter.
    """
    from peft import LoraConfig, get_peft_model

    if rank < 1:
        raise InputError(f"{who}: rank is {rank}; it must be at least 1.")
    if not 0 < alpha < math.inf:
        raise InputError(f"{who}: alpha is {alpha:g}; the scale must be a finite number above 0.")
    base: Any = model.module
    scale: Any = alpha  # declared as int, used as a factor
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=list(names), lora_dropout=0.0)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        torch.manual_seed(seed)  # peft draws A from the global state
        try:
            # peft sees for itself that GPT-2's Conv1D stores its weight transposed, and warns of it layer by layer.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # asked by peft
            wrapped: Any = get_peft_model(base, config)
        except ValueError as error:  # names that match nothing, or a layer that takes no adapter
            raise InputError(f"{who}: {str(error).splitlines()[0]}") from error
    model.module = wrapped

    def finish() -> None:
        model.module = wrapped.merge_and_unload()

    return Selection({n: p for n, p in wrapped.named_parameters() if p.requires_grad}, finish=finish)


def aimed(module: nn.Module, wanted: Sequence[str], who: str, *, matrices: bool = False) -> list[str]:
    """The modules to adapt: those whose names end in what is wanted, or else every layer with a weight of its own.

    Args:
        module: The network.
        wanted: Ends of names; empty for every linear and convolution layer but the output head (every embedding where
            there is no such layer).
        who: Who asks, for messages.
        matrices: Take only what is one matrix: no embedding, no grouped convolution.

    Raises:
        InputError: If a wanted name does not exist (with the nearest) or shares its weight, or nothing is left.
    """
    from transformers.pytorch_utils import Conv1D

    head = getattr(module, "get_output_embeddings", lambda: None)()
    holders = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    kinds: list[tuple[type, ...]] = [(nn.Linear, nn.Conv2d, Conv1D), (nn.Embedding,)][: 1 if matrices else 2]
    able: dict[str, Any] = {name: m for name, m in module.named_modules() if isinstance(m, sum(kinds, ()))}
    able = {name: m for name, m in able.items() if not matrices or getattr(m, "groups", 1) == 1}
    chosen: list[str] = []
    for end in wanted:
        matching = [name for name in able if f".{name}".endswith(f".{end}")]
        if not matching:
            ends = ", ".join(sorted({name.rpartition(".")[2] for name in able}))
            known = nearest(end, able) or f"; there are {ends or 'none'}."
            raise InputError(f"{who}: no layer that takes an adapter is called {end!r}{known}")
        if tied := [name for name in matching if holders[id(able[name].weight)] > 1]:
            raise InputError(
                f"{who}: {tied[0]} shares its weight with another layer, which would not see the adapter; "
                "aim at others."
            )
        chosen += matching
    if chosen:
        return list(dict.fromkeys(chosen))
    free = {name: m for name, m in able.items() if m is not head and holders[id(m.weight)] == 1}
    for kind in kinds:
        if found := [name for name, m in free.items() if isinstance(m, kind)]:
            return found
    layers = "linear or convolution" if matrices else "linear, convolution or embedding"
    raise InputError(f"{who}: {type(module).__name__} has no {layers} layer of its own to adapt.")
