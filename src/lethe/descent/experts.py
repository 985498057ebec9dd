"""Unlearning in a single expert of a mixture of experts: SEUF, first called UOE (arXiv 2411.18797)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lethe.data.order import mix
from lethe.errors import InputError
from lethe.models.base import Batch, Example, Model
from lethe.models.mixture import Mixture, mixtures, routed, trace
from lethe.request import Request
from lethe.scoring.routing import affinity, affinity_ranks
from lethe.train import Selection, Term

TOKENS = 100_000  # of the forget set suffice to rank the experts, says the paper
Scope = Literal["any_layer", "same_layer"]
Choice = Literal["affinity", "random"]


@dataclass(frozen=True)
class Attribution:
    """Which experts a request is about."""

    layers: tuple[Mixture, ...]
    affinity: NDArray[np.float64]  # (layers, E)
    targets: Mapping[str, tuple[int, ...]]  # layer name -> experts


def expert(
    model: Model,
    request: Request,
    *,
    count: int = 1,
    scope: Scope = "any_layer",
    anchor: float = 1.0,
    router: Literal["matrix", "row"] = "matrix",
    anchor_on: Literal["softmax", "topk"] = "softmax",
    choose: Choice = "affinity",
) -> Selection:
    """The routed experts that the forget set visits most, and their routers (SEUF, arXiv 2411.18797).

    An anchor term keeps forget tokens on their way to the chosen experts; without it descent learns to route around
    them. All other weights stay bit-identical. Router jitter is off meanwhile, and the load-balancing loss, which
    fights the anchor, is never part of a loss here.

    Args:
        count: Number of experts.
        scope: any_layer ranks the experts of all layers together; same_layer takes those of the best one's layer.
        anchor: Weight of the anchor term.
        router: matrix trains the whole router of each layer with a chosen expert, row only the chosen expert's row.
        anchor_on: softmax over all experts, or the topk gates, which cannot call back an expert that dropped out.
        choose: affinity (mean gate on forget texts), or random (the paper's ablation).

    Raises:
        InputError: If the model has no mixture-of-experts layer, or fewer experts than `count`.
    """
    if not 0 <= anchor < float("inf"):
        raise InputError(f"where=expert: anchor is {anchor}; the weight must be a finite number of at least 0.")
    found = attribute(model, request, count=count, scope=scope, choose=choose)
    chosen = [layer for layer in found.layers if layer.name in found.targets]
    named = dict(model.module.named_parameters())
    parameters: dict[str, nn.Parameter] = {}
    mask: dict[str, Tensor] = {}
    for layer in chosen:
        for name, parameter in named.items():
            inside = name.startswith(f"{layer.experts}.")
            if inside or name.startswith(f"{layer.router}."):
                parameters[name] = parameter
                if inside or router == "row":
                    mask[name] = _only(parameter, found.targets[layer.name])
    examples = model.encode(request.forget)
    terms = [_anchor_term(examples, chosen, found.targets, anchor, anchor_on)] if anchor else []
    return Selection(parameters, mask, finish=_still(model.module), terms=terms)


def attribute(
    model: Model, request: Request, *, count: int = 1, scope: Scope = "any_layer", choose: Choice = "affinity"
) -> Attribution:
    """Rank the routed experts of all layers by the weight that the forget set gives them, and choose the first.

    Seen are whole forget records drawn by the request's seed until they hold 100,000 tokens.

    Args:
        model: A language model with mixture-of-experts layers.
        request: Whose forget set is looked at.
        count: Number of experts.
        scope: any_layer, or same_layer for those of the best expert's layer.
        choose: affinity, or random.

    Raises:
        InputError: If the model has no mixture-of-experts layer, or fewer experts than `count`.
    """
    try:
        layers = mixtures(model.module)
    except InputError as error:
        raise InputError(f"where=expert: {error}") from error
    room = layers[0].count if scope == "same_layer" else sum(layer.count for layer in layers)
    if not 1 <= count <= room:
        raise InputError(f"where=expert: count is {count}; with scope={scope} choose 1 to {room} experts.")
    draw = torch.Generator().manual_seed(mix(request.seed, 31))
    sample = _sample(model.encode(request.forget), draw)
    scores = affinity(gates.numpy() for _, gates in trace(model, sample, layers))
    if choose == "affinity":
        ranks = affinity_ranks(scores)
    else:
        ranks = 1 + torch.randperm(scores.size, generator=draw).numpy().reshape(scores.shape)
    if scope == "same_layer":
        best = int(np.unravel_index(ranks.argmin(), ranks.shape)[0])
        ranks = np.where(np.arange(len(layers))[:, None] == best, ranks, scores.size + ranks)
    targets: dict[str, tuple[int, ...]] = {}
    for place in np.argsort(ranks.ravel())[:count].tolist():
        layer, number = divmod(place, scores.shape[1])
        targets[layers[layer].name] = (*targets.get(layers[layer].name, ()), number)
    return Attribution(tuple(layers), scores, targets)


def anchor_loss(gates: Tensor, targets: Sequence[int]) -> Tensor:
    """Squared distance of gates (..., E) to 1 for the target experts and 0 for all others: (...,), at least 0.

    For one target and a softmax it lies in (0, 2). Source: arXiv 2411.18797, the anchor loss of section 4.
    """
    wanted = torch.zeros(gates.shape[-1], device=gates.device, dtype=gates.dtype)
    wanted[list(targets)] = 1
    return (gates - wanted).square().sum(-1)


def trainable_share(selection: Selection, module: nn.Module) -> float:
    """Coordinates that may move over all of the model's, in (0, 1]; the model's own, where adapters stand beside."""
    moving = sum(int(selection.mask[n].sum()) if n in selection.mask else p.numel() for n, p in _unique(selection))
    return moving / sum(p.numel() for n, p in module.named_parameters() if "lora_" not in n)


def _unique(selection: Selection) -> list[tuple[str, nn.Parameter]]:
    return list({id(parameter): (name, parameter) for name, parameter in selection.parameters.items()}.values())


def _sample(examples: Sequence[Example], draw: torch.Generator) -> list[Example]:
    sample: list[Example] = []
    tokens = 0
    for row in torch.randperm(len(examples), generator=draw).tolist():
        if tokens >= TOKENS:
            break
        sample.append(examples[row])
        tokens += examples[row].length
    return sample


def _only(parameter: Tensor, experts: Sequence[int]) -> Tensor:
    mask = torch.zeros_like(parameter, dtype=torch.bool)
    mask[list(experts)] = True
    return mask


def _anchor_term(
    examples: Sequence[Example],
    layers: Sequence[Mixture],
    targets: Mapping[str, Sequence[int]],
    weight: float,
    on: Literal["softmax", "topk"],
) -> Term:
    def loss(model: Model, batch: Batch) -> Tensor:
        with routed(model.module, layers) as found:
            model.logits(batch)
        real = batch.inputs["attention_mask"]
        total = torch.zeros(real.shape, device=real.device)
        for layer in layers:
            routing = found[layer.name]
            gates = routing.logits.float().softmax(-1) if on == "softmax" else routing.gates()
            total = total + anchor_loss(gates, targets[layer.name]).view(real.shape)
        return (total * real).sum(-1)

    # The mean over all tokens, not only the scored ones: an example's size is what a token mean is divided by.
    counted = [replace(example, size=example.length) for example in examples]
    return Term("anchor", counted, loss, per="token", weight=weight)


def _still(module: nn.Module) -> Any:
    """Switch router jitter off, which training mode would switch on; returns what switches it on again."""
    blocks: list[Any] = [block for block in module.modules() if isinstance(getattr(block, "jitter_noise", 0), float)]
    jitters = [(block, block.jitter_noise) for block in blocks]
    for block, _ in jitters:
        block.jitter_noise = 0.0

    def restore() -> None:
        for block, noise in jitters:
            block.jitter_noise = noise

    return restore
