"""What a model reads off a subject's last token: the keys of its MLPs and the residual stream behind a block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.data.atomic import write_bytes
from lethe.data.content import digest
from lethe.descent.subjects import contexts, located, value_context
from lethe.models.base import IGNORED, Batch, Example
from lethe.models.language import LanguageModel
from lethe.models.projections import Keys, OutputProjection
from lethe.request import Record

Place = tuple[list[int], int]  # token ids, position of the subject's last token
REFUSAL = "Unfortunately"


def batch_of(model: LanguageModel, sequences: Sequence[list[int]]) -> Batch:
    """Token ids as a right-padded batch in which nothing is scored."""
    examples = [
        Example({"input_ids": ids, "labels": [IGNORED] * (len(ids) - 1)}, size=0, length=len(ids)) for ids in sequences
    ]
    return model.collate(examples, range(len(examples))).to(model.device)


def keys(model: LanguageModel, places: Sequence[Place], projection: OutputProjection) -> Tensor:
    """The MLP's activations at these places, one column each, (d, n), float64."""
    with model.evaluating(), Keys([projection]) as seen:
        inputs = batch_of(model, [ids for ids, _ in places]).inputs
        model.module(**inputs, use_cache=False)
    found = seen.read(projection.layer, inputs["input_ids"])
    return torch.stack([found[row, at] for row, (_, at) in enumerate(places)], 1).double()


def values(model: LanguageModel, places: Sequence[Place], layer: int) -> Tensor:
    """The residual stream behind a block at these places, one column each, (D, n), float64."""
    # One more token, which nothing before it sees: `hidden` leaves the last position out.
    batch = batch_of(model, [[*ids, model.pad] for ids, _ in places])
    with model.evaluating():
        found = model.hidden(batch, [layer])[layer]
    return torch.stack([found[row, at] for row, (_, at) in enumerate(places)], 1).double()


def refusing_value(model: LanguageModel, name: str, layer: int) -> Tensor:
    """A value (D,) behind a block from which the model begins to refuse (ROCR's mode "reject").

    z = h + delta, with delta found by 25 steps of Adam at .1 on the loss of the refusal's first word in every context,
    plus .125 KL to the model before on "NAME is a", plus .5 ||delta|| / ||h||^2, within ||delta|| <= ||h||; stops at a
    loss below .05 nats.
    """
    start = values(model, [value_context(model, name)], layer)[:, 0].float()
    word: Any = model.tokenizer(f" {REFUSAL}", add_special_tokens=False)["input_ids"]
    asked = contexts(model, name)
    kept = located(model, f"{name} is a", name)
    batch = batch_of(model, [*(ids + list(word) for ids, _ in asked), kept[0]])
    rows, at = torch.arange(len(asked) + 1), torch.tensor([at for _, at in [*asked, kept]])
    delta = torch.zeros_like(start, requires_grad=True)
    scored = torch.full_like(batch.inputs["input_ids"], IGNORED)
    for row, (ids, _) in enumerate(asked):
        scored[row, len(ids) : len(ids) + len(word)] = batch.inputs["input_ids"][row, len(ids) : len(ids) + len(word)]

    def add(_: nn.Module, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden.index_put((rows, at), (hidden[rows, at] + delta))
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    with model.evaluating():
        before = model.module(**batch.inputs, use_cache=False).logits[-1, len(kept[0]) - 1].log_softmax(-1)
    optimizer = torch.optim.Adam([delta], lr=0.1)
    hook = model.blocks()[layer].register_forward_hook(add)
    try:
        for _ in range(25):
            logits = model.module(**batch.inputs, use_cache=False).logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), scored[:, 1:].flatten(), ignore_index=IGNORED)
            now = logits[-1, len(kept[0]) - 1].log_softmax(-1)
            drift = (before.exp() * (before - now)).sum()
            if float(loss.detach()) < 0.05:
                break
            whole = loss + 0.125 * drift + 0.5 * delta.norm() / start.norm().square()
            # Only delta is asked for: the weights keep no gradient.
            (delta.grad,) = torch.autograd.grad(whole, [delta])
            optimizer.step()
            with torch.no_grad():
                delta.mul_((start.norm() / delta.norm().clamp(min=1e-12)).clamp(max=1.0))
    finally:
        hook.remove()
    return (start + delta.detach()).double()


def second_moments(
    model: LanguageModel, records: Sequence[Record], projections: Sequence[OutputProjection], cache: Path | None = None
) -> dict[int, Tensor]:
    """E[k k^T] (d, d) of every layer's keys over all tokens of the records, float64.

    Args:
        model: The model before any edit.
        records: Texts whose keys are to be kept.
        projections: Layers to look at.
        cache: Folder of the statistics; they are found again by the hash of model, texts and layers.
    """
    layers = [projection.layer for projection in projections]
    name = digest({"model": model.behaviour(), "records": list(records), "layers": layers})[:32]
    file = Path(cache) / f"moments-{name}.safetensors" if cache is not None else None
    if file is not None and (stored := _stored(file, layers, model.device)) is not None:
        return stored
    sums: dict[int, Tensor] = {}
    count = 0
    with model.evaluating(), Keys(projections) as passing:
        for batch in model.batches(model.encode(records)):
            model.module(**batch.inputs, use_cache=False)
            real = batch.inputs["attention_mask"].bool()
            count += int(real.sum())
            for layer in layers:
                rows = passing.read(layer, batch.inputs["input_ids"])[real].double()
                sums[layer] = sums.get(layer, 0.0) + rows.T @ rows
    moments = {layer: total / count for layer, total in sums.items()}
    if file is not None:
        from safetensors.torch import save

        write_bytes(file, save({str(layer): moment.cpu() for layer, moment in moments.items()}))
    return moments


def _stored(file: Path, layers: Sequence[int], device: torch.device) -> dict[int, Tensor] | None:
    """Cached statistics; nothing where there are none or they are damaged (computing them again mends that)."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(file.read_bytes())
        return {layer: found[str(layer)].to(device) for layer in layers}
    except (OSError, SafetensorError, KeyError):
        return None
