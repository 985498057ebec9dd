"""Value vectors: the columns of the MLPs' output projections, by (layer, dimension), whatever the architecture.

And what single layers read, of any family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.language import LanguageModel

OUTPUT = re.compile(r"(^|\.)(down_proj|dense_4h_to_h|fc2|c_proj|ff_out|fc_out|w2|wo)$")
ATTENTION = re.compile(r"attn|attention")  # GPT-2 calls the output of its attention c_proj, too


@dataclass(frozen=True)
class OutputProjection:
    """The last linear map of one block's MLP; it answers an activation k (d,) with W k (D,)."""

    layer: int
    name: str  # of the weight, in the whole module
    module: nn.Module
    transposed: bool  # GPT-2's Conv1D stores W^T

    @property
    def weight(self) -> nn.Parameter:
        """The tensor as it is stored."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def matrix(self) -> Tensor:
        """W (D, d), a view of the stored weight; column j is the value vector of dimension j."""
        weight = self.weight.detach()
        return weight.T if self.transposed else weight


def output_projections(model: LanguageModel) -> list[OutputProjection]:
    """One per decoder block, in order.

    Raises:
        InputError: If a block has none, or several (a mixture of experts).
    """
    names = {id(parameter): name for name, parameter in model.module.named_parameters()}
    found = []
    for layer, block in enumerate(model.blocks()):
        fitting = [
            module
            for name, module in block.named_modules()
            if OUTPUT.search(name) and not ATTENTION.search(name) and getattr(module, "weight", None) is not None
        ]
        if len(fitting) != 1:
            raise InputError(
                f"Block {layer} of {type(model.module).__name__} has {len(fitting)} MLP output projections; value "
                "vectors and concept edits need exactly one per block (no mixture of experts)."
            )
        module: Any = fitting[0]
        found.append(OutputProjection(layer, names[id(module.weight)], module, type(module).__name__ == "Conv1D"))
    return found


def layer_number(layer: int, count: int, who: str) -> int:
    """A block's number from 0; negative counts from the end.

    Raises:
        InputError: If there is no such block.
    """
    if not -count <= layer < count:
        near = min(max(layer, 0), count - 1)
        raise InputError(f"{who}: there is no layer {layer}; the model has 0 to {count - 1}, nearest is {near}.")
    return layer % count


def coefficients(model: LanguageModel, layer: int, dims: Sequence[int], texts: Sequence[str]) -> Tensor:
    """Activation k_j of value vectors at the last token of each text, (N, n): what suppression lowers in place of v."""
    projections = output_projections(model)
    projection = projections[layer_number(layer, len(projections), "coefficients")]
    rows = []
    with model.evaluating(), Keys([projection]) as keys:
        for text in texts:
            ids = torch.tensor([model.tokenizer(text)["input_ids"]], device=model.device)
            model.module(input_ids=ids, use_cache=False)
            rows.append(keys.read(projection.layer, ids)[0, -1, list(dims)])
    return torch.stack(rows)


class Keys:
    """Context in which every forward pass leaves the activations that the projections read, by layer."""

    def __init__(self, projections: Sequence[OutputProjection]) -> None:
        self.projections = projections
        self.seen: dict[int, Tensor] = {}

    def __enter__(self) -> Keys:
        def keep(layer: int) -> Any:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                self.seen[layer] = inputs[0].detach()

            return hook

        self._hooks = [p.module.register_forward_pre_hook(keep(p.layer)) for p in self.projections]
        return self

    def read(self, layer: int, ids: Tensor) -> Tensor:
        """Activations (B, T, d) of a layer in the last forward pass, which was that of the token ids (B, T)."""
        return self.seen[layer].reshape(*ids.shape, -1)  # OPT hands its MLPs (B * T, D)

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def input_norms(model: Model, names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Norm `||X_j||_2` (J,) over all tokens of the records of what each layer reads, by the layer's name.

    One record at a time, so that no padding is read.

    Args:
        model: Any model.
        names: Linear and two-dimensional convolution layers of its own network.
        records: At least one.
    """
    modules = dict(model.inner.named_modules())
    squares: dict[str, Tensor] = {}

    def adding(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read = inputs[0].movedim(1, -1) if isinstance(layer, nn.Conv2d) else inputs[0]  # channels last
            squares[name] = squares.get(name, 0) + read.float().pow(2).flatten(0, -2).sum(0)

        return hook

    hooks = [modules[name].register_forward_pre_hook(adding(name)) for name in names]
    try:
        with model.evaluating():
            for batch in model.batches(model.encode(records), 1):
                model.logits(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total.sqrt() for name, total in squares.items()}
