"""Where a method may change the model: each choice returns the `Selection` that the training loop obeys."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Selection


def all_weights(model: Model, request: Request) -> Selection:
    """Every weight."""
    return Selection(dict(model.module.named_parameters()))


def layers(model: Model, request: Request, *, match: str = ".*") -> Selection:
    r"""The tensors whose full name matches a regular expression.

    Args:
        match: Regular expression searched in the tensor's name, e.g. layers\.[01]\.mlp.

    Raises:
        InputError: If nothing matches, or the expression is none.
    """
    named = dict(model.module.named_parameters())
    try:
        chosen = {name: parameter for name, parameter in named.items() if re.search(match, name)}
    except re.error as error:
        raise InputError(f"where=layers: {match!r} is no regular expression ({error}).") from error
    if not chosen:
        raise InputError(f"where=layers: no tensor matches {match!r}; there are {', '.join(list(named)[:5])}, ...")
    return Selection(chosen)


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
    from peft import LoraConfig, get_peft_model

    if rank < 1:
        raise InputError(f"where=lora: rank is {rank}; it must be at least 1.")
    base: Any = model.module
    names = list(targets) or _adaptable(base)
    if not names:
        raise InputError(f"where=lora: {type(base).__name__} has no linear, convolution or embedding layer to adapt.")
    scale: Any = alpha  # declared as int, used as a factor
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=names, lora_dropout=0.0)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(request.seed)  # peft draws A from the global state
        try:
            adapted: Any = get_peft_model(base, config)
        except ValueError as error:  # names that match nothing, or a layer that takes no adapter
            raise InputError(f"where=lora: {str(error).splitlines()[0]}") from error
    model.module = adapted

    def finish() -> None:
        model.module = adapted.merge_and_unload()

    return Selection({n: p for n, p in adapted.named_parameters() if p.requires_grad}, finish=finish)


def _adaptable(module: nn.Module) -> list[str]:
    head = getattr(module, "get_output_embeddings", lambda: None)()
    for kinds in ((nn.Linear, nn.Conv2d), (nn.Embedding,)):
        found = [name for name, m in module.named_modules() if isinstance(m, kinds) and m is not head]
        if found:
            return found
    return []


def saliency(model: Model, request: Request, *, keep: float = 0.5) -> Selection:
    """The coordinates with the largest forget gradient (SalUn's mask, arXiv 2310.12508).

    The mask is the top share, over all tensors jointly, of |gradient of the forget set's summed loss| at the model
    before unlearning; all others stay bit-identical.

    Args:
        keep: Share of the coordinates that may move, 0 to 1; exactly int(keep * count) are chosen.

    Raises:
        InputError: If keep is above 1, or so small that no coordinate is left.
    """
    named = dict(model.module.named_parameters())
    count = int(keep * sum(parameter.numel() for parameter in named.values()))
    if not (0 < keep <= 1 and count):
        raise InputError(f"where=saliency: keep is {keep}; it must be at most 1 and leave at least one coordinate.")
    model.module.eval()
    model.module.zero_grad(set_to_none=True)
    for batch in model.batches(model.encode(request.forget), 8):
        model.loss(batch).sum().backward()
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad.abs()).flatten() for p in named.values()])
    model.module.zero_grad(set_to_none=True)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.topk(count).indices] = True
    parts = chosen.split([parameter.numel() for parameter in named.values()])
    mask = {name: part.view_as(parameter) for (name, parameter), part in zip(named.items(), parts, strict=True)}
    return Selection(named, mask)


CHOICES = {"all": all_weights, "layers": layers, "lora": lora, "saliency": saliency}
