"""Mixture-of-experts layers: where a model has them, where its routers send each token, and what if they may not.

Reads the layout of transformers 5: a block holds `experts`, whose tensors carry one entry per routed expert, and beside
it a router that returns (logits (N, E), weights (N, K), experts (N, K)) for N tokens. Mixtral, Qwen-MoE, OLMoE and
DeepSeek are built so. Shared experts, which every token visits, are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.base import Example, Model


@dataclass(frozen=True)
class Mixture:
    """One mixture-of-experts layer, by the names of its modules."""

    name: str
    router: str
    experts: str
    count: int  # routed experts
    kept: int  # experts that a token visits


@dataclass(frozen=True)
class Routing:
    """What one router decided for N tokens."""

    logits: Tensor  # (N, E)
    weights: Tensor  # (N, K), as the layer applies them
    chosen: Tensor  # (N, K)

    def gates(self) -> Tensor:
        """Weight of every expert (N, E); 0 for those that a token does not visit."""
        return torch.zeros_like(self.logits).scatter(1, self.chosen, self.weights.to(self.logits.dtype))


def mixtures(module: nn.Module) -> list[Mixture]:
    """Every mixture-of-experts layer, from the first to the last.

    Raises:
        InputError: If there is none, or none of a layout that is known.
    """
    if found := layers_of(module):
        return found
    raise InputError(
        f"{type(module).__name__} has no mixture-of-experts layer (a router beside batched experts); choose a "
        "mixture-of-experts model such as Mixtral, Qwen-MoE or DeepSeek."
    )


def layers_of(module: nn.Module) -> list[Mixture]:
    """The same, of any model: none where it has none of a layout that is known."""
    found = []
    for name, block in module.named_modules():
        children = dict(block.named_children())
        tensors = list(children["experts"].parameters()) if "experts" in children else []
        for own, router in children.items():
            weight = getattr(router, "weight", None)
            if own == "experts" or not tensors or not hasattr(router, "top_k") or not isinstance(weight, Tensor):
                continue
            if all(len(tensor) == len(weight) for tensor in tensors):
                kept: Any = router.top_k
                found.append(Mixture(name, f"{name}.{own}", f"{name}.experts", len(weight), int(kept)))
    return found


@contextmanager
def routed(module: nn.Module, layers: Sequence[Mixture]) -> Iterator[dict[str, Routing]]:
    """What the routers of these layers decide in the forward passes of the block; the last pass by layer name."""
    found: dict[str, Routing] = {}

    def watch(name: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            found[name] = Routing(*output)

        return keep

    hooks = [module.get_submodule(layer.router).register_forward_hook(watch(layer.name)) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def trace(
    model: Model, examples: Sequence[Example], layers: Sequence[Mixture], size: int = 8
) -> Iterator[tuple[int, Tensor]]:
    """(row, gates) of every example: gates (layers, T, E) of its T tokens without padding, float32 on the CPU."""
    for batch in model.batches(examples, size):
        with model.evaluating(), routed(model.module, layers) as found:
            model.logits(batch)
        real = batch.inputs["attention_mask"].bool()
        gates = torch.stack([found[layer.name].gates().float() for layer in layers]).cpu()
        gates = gates.view(len(layers), *real.shape, -1)
        for place, row in enumerate(batch.index.tolist()):
            yield row, gates[:, place, real[place].cpu()]


@contextmanager
def without_experts(module: nn.Module, masked: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Within the block, no token visits these experts: their places go to the next best, in all layers named.

    What a token's experts weigh together stays what its router gave them, shared out in the proportions of those that
    it now visits. If forgotten knowledge returns, it had not left the model, only the experts that were taken out (the
    forced reroute of arXiv 2411.18797's readers).

    Args:
        module: A model with mixture-of-experts layers; its weights stay as they are.
        masked: Experts by the name of their layer (`Mixture.name`).

    Raises:
        InputError: If a layer or expert does not exist, or fewer experts are left than a token visits.
    """
    hooks = [
        module.get_submodule(router).register_forward_hook(detour) for router, detour in detours(module, masked).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def detours(module: nn.Module, masked: Mapping[str, Sequence[int]]) -> dict[str, Detour]:
    """A detour around the masked experts (see `without_experts`) for each router that needs one, by its name.

    Raises:
        InputError: If a layer or expert does not exist, or fewer experts are left than a token visits.
    """
    layers = {layer.name: layer for layer in mixtures(module)}
    for name, experts in masked.items():
        if name not in layers:
            raise InputError(f"There is no mixture-of-experts layer {name!r}; there are {', '.join(layers)}.")
        layer = layers[name]
        if wrong := [number for number in experts if not 0 <= number < layer.count]:
            raise InputError(f"{name} has no expert {wrong[0]}; its experts are 0 to {layer.count - 1}.")
        if layer.count - len(set(experts)) < layer.kept:
            raise InputError(
                f"{name} has {layer.count} experts and sends each token to {layer.kept}; at most "
                f"{layer.count - layer.kept} can be masked."
            )
    return {layers[name].router: Detour(layers[name].kept, experts) for name, experts in masked.items() if experts}


class Detour(nn.Module):
    """A forward hook of a router: the places of masked experts go to the next best."""

    def __init__(self, kept: int, masked: Sequence[int]) -> None:
        super().__init__()
        self.kept = kept  # experts that a token visits
        self.masked: Tensor
        self.register_buffer("masked", torch.tensor(sorted(set(masked))))

    def forward(self, router: Any, inputs: Any, output: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The router's (logits, weights, experts), with other experts and the same sum of weights."""
        logits, weights, chosen = output
        # The router itself ranks more experts than it is asked for: so whatever scores it uses, they stay its own.
        router.top_k = self.kept + len(self.masked)
        try:
            _, wider, candidates = router.forward(*inputs)
        finally:
            router.top_k = self.kept
        barred = torch.isin(candidates, self.masked.to(candidates.device))
        # What a token visited before comes first: a router with groups of experts need not rank by weight.
        before = (candidates[:, :, None] == chosen[:, None, :]).any(-1)
        best = (wider + before * (wider.max() + 1)).masked_fill(barred, -1).topk(self.kept, dim=-1).indices
        shares = wider.gather(1, best)
        total = shares.sum(-1, keepdim=True).clamp(min=torch.finfo(wider.dtype).tiny)
        return logits, shares / total * weights.sum(-1, keepdim=True), candidates.gather(1, best)


class Silence(nn.Module):
    """A forward hook of a router: experts are visited as before, but those that are silenced weigh nothing."""

    def __init__(self, experts: Sequence[int]) -> None:
        super().__init__()
        self.experts: Tensor
        self.register_buffer("experts", torch.tensor(sorted(set(experts))))

    def forward(self, _: Any, __: Any, output: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The router's (logits, weights, experts), the weights of the silenced at 0."""
        logits, weights, chosen = output
        return logits, weights.masked_fill(torch.isin(chosen, self.experts.to(chosen.device)), 0), chosen
