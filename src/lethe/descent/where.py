"""Where a method may change the model: each choice returns the `Selection` that the training loop obeys."""

from __future__ import annotations

import torch

from lethe.descent.adapters import lora
from lethe.descent.experts import expert
from lethe.descent.fila import fila
from lethe.descent.fused import fused
from lethe.descent.names import searched
from lethe.descent.vectors import vectors
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.request import Request
from lethe.train import Selection

ANOTHER = 7919  # added to the seed of layers drawn anew: not the draw that the model itself may have started from


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
    return Selection(searched(dict(model.module.named_parameters()), match, "where=layers", "tensor"))


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


def last(model: Model, request: Request, *, count: int = 3, fresh: bool = False) -> Selection:
    """The last layers, as CF-k and EU-k choose them (arXiv 2201.06640); what stands before keeps its statistics, too.

    A layer is a module with a weight matrix or kernel of its own, in the order in which the network holds them; norms
    and biases that come after the first chosen one belong to the choice.

    Args:
        count: Number of layers, from the end.
        fresh: Draw these layers anew before training (EU-k), by the request's seed.

    Raises:
        InputError: If the network does not have so many layers.
    """
    named = dict(model.module.named_parameters())
    owners: dict[str, list[str]] = {}
    for name in named:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    heavy = [owner for owner, own in owners.items() if any(named[name].dim() > 1 for name in own)]
    if not 0 < count <= len(heavy):
        raise InputError(f"where=last: count is {count}, and the network has {len(heavy)} layers; give 1 to that.")
    order = list(owners)
    names = [name for owner in order[order.index(heavy[-count]) :] for name in owners[owner]]
    if fresh:
        drawn = model.fresh(request.seed + ANOTHER).module.state_dict()
        with torch.no_grad():
            for name in names:
                named[name].copy_(drawn[name])
    return Selection({name: named[name] for name in names})


CHOICES = {
    "all": all_weights,
    "layers": layers,
    "last": last,
    "lora": lora,
    "fila": fila,
    "saliency": saliency,
    "vectors": vectors,
    "expert": expert,
    "fused": fused,
}
