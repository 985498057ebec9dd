"""A language model whose activations are changed on their way: vectors added to them, or directions taken out of them.

The change is a part of the module, so that fingerprints tell it and copies keep it; the weights are not copied but
seen through tensors of its own, so that many changed models cost the memory of one, and none can move the weights'
gradients or flags. The model that it was made from stays as it is. Every change works on each token alone, hence
neither padding nor what else is in a batch matters, nor whether tokens come one by one out of a cache.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.language import LanguageModel

Place = int | Literal["embeddings"]  # the output of a decoder block, or that of the input embeddings


class Added(nn.Module):
    """Adds one vector (D,) to the states of every token; a vector of zeros changes no bit."""

    def __init__(self, vector: Tensor) -> None:
        super().__init__()
        self.vector: Tensor
        self.register_buffer("vector", vector.detach().clone())

    def forward(self, states: Tensor) -> Tensor:
        """States (..., D), moved."""
        return states + self.vector.to(states)


class Ablated(nn.Module):
    """Takes an `amount` of the component along a direction (D,) out of the states of every token; 0 changes no bit."""

    def __init__(self, direction: Tensor, amount: float = 1.0) -> None:
        super().__init__()
        self.direction: Tensor
        self.amount: Tensor
        self.register_buffer("direction", nn.functional.normalize(direction.detach(), dim=0))
        self.register_buffer("amount", torch.tensor(float(amount)))

    def forward(self, states: Tensor) -> Tensor:
        """States (..., D); at amount 1 none of them has a component along the direction."""
        direction = self.direction.to(states)
        return states - self.amount.to(states) * (states @ direction)[..., None] * direction


def steered(model: LanguageModel, changes: Mapping[Place, nn.Module]) -> LanguageModel:
    """The model with the changes in it; each is a module (..., D) -> (..., D) for the states at its place.

    A place that carries a change already gets the new one behind it.

    Raises:
        InputError: If there is no such place.
    """
    twin = view(model)
    for place, change in changes.items():
        plant(site(twin, place), _OnStates(change))
    return twin


def view(model: LanguageModel) -> LanguageModel:
    """The same model as another object, in eval mode: its weights are seen, not copied, and ask for no gradient.

    Modules can be hooked or replaced without a trace in the model; who wants to change weights needs a `copy`.
    """
    twin = copy.copy(model)
    shared: dict[int, Any] = {
        id(tensor): nn.Parameter(tensor.detach(), requires_grad=False) for tensor in model.module.parameters()
    }
    shared |= {id(buffer): buffer.detach() for buffer in model.module.buffers()}
    twin.module = copy.deepcopy(model.module, shared).eval()
    return twin


def plant(where: nn.Module, hook: nn.Module) -> None:
    """Let `hook(module, inputs, output)` change a module's output, as a part of that module."""
    number = sum(1 for name, _ in where.named_children() if name.startswith("change"))
    where.add_module(f"change{number}", hook)
    where.register_forward_hook(hook)


def site(model: LanguageModel, place: Place) -> nn.Module:
    """The module whose output stands for a place.

    Raises:
        InputError: If the model has no such block.
    """
    if place == "embeddings":
        network: Any = model.inner
        return network.get_input_embeddings()
    blocks = model.blocks()
    if not -len(blocks) <= place < len(blocks):
        raise InputError(f"There is no block {place}; the model has blocks 0 to {len(blocks) - 1}.")
    return blocks[place]


class _OnStates(nn.Module):
    """A change as a forward hook; blocks of some architectures return their states first in a tuple."""

    def __init__(self, change: nn.Module) -> None:
        super().__init__()
        self.change = change

    def forward(self, _: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self.change(output[0]), *output[1:])
        return self.change(output)
