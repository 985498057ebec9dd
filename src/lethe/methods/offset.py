"""Offset unlearning."""

from pathlib import Path
from typing import Literal

from torch import nn

from lethe.descent import retain as retain_terms
from lethe.descent.terms import ascend
from lethe.errors import InputError
from lethe.models.difference import first_blocks, wrap
from lethe.models.language import LanguageModel
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Selection, train


@method(
    families={"language"}, needs={"logits"}, intent="suppression", level="decoding", paper="2404.11045",
    requires={"forget"},
)  # fmt: skip
def offset(
    model: LanguageModel,
    request: Request,
    *,
    weight: float = 1.0,
    small: str = "",
    blocks: int = 1,
    retain: Literal["none", "nll", "kl"] = "nll",
    retain_weight: float = 1.0,
    lr: float = 1e-3,
    epochs: int = 20,
    batch_size: int = 16,
    seed: int | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> LanguageModel:
    """Offset unlearning: what a small model unlearns is added to the logits; no weight of the model changes.

    The logits are l + weight * (l_tuned - l_small). Ascent on the forget set and the retain term are losses of that
    sum, and only the tuned small model is trained, so the model itself may be one whose weights nobody may touch. Every
    token costs a pass through it and two through the small one; what was forgotten is still in its weights.

    Args:
        weight: How many times the offset is added; 1 as published.
        small: Folder of a small model with the same vocabulary; empty takes the first blocks of the model itself.
        blocks: Decoder blocks of the small model where none is named.
        retain: Retain term: none, nll (training loss) or kl (to the original model), of the sum.
        retain_weight: Weight of the retain term.
        lr: Learning rate of the small model.
        epochs: Passes over the forget set.
        batch_size: Examples of each term per step.
        seed: Seed of the data order; the request's where none is given.
        folder: Where checkpoints and the training log go.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.

    Raises:
        InputError: If there are no retain records for the retain term, the small model has another vocabulary, or the
            model has fewer blocks or is wrapped for decoding already.
    """
    if retain != "none" and not request.retain:
        raise InputError(f"offset with retain={retain} needs retain records; give some, or retain=none.")
    wrapped = model.copy()
    fixed = _small(model, small) if small else first_blocks(model.module, blocks)
    tuned = _small(model, small) if small else first_blocks(model.module, blocks)
    wrapped.module = wrap(wrapped.module, [tuned, fixed], weights=[weight, -weight])
    terms = [ascend(wrapped, request)]
    if retain != "none":
        terms.append(retain_terms.TERMS[retain](wrapped, request, retain_weight))
    recipe = Recipe(
        lr=lr, epochs=epochs, batch_size=batch_size, seed=request.seed if seed is None else seed,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    own = {name: p for name, p in wrapped.module.named_parameters() if name.startswith("assistant0.")}
    train(wrapped, terms, recipe, selection=Selection(own), folder=folder, identity=f"offset {weight}")
    return wrapped


def _small(model: LanguageModel, source: str) -> nn.Module:
    """The small model's network, of the same vocabulary."""
    other = LanguageModel.load(source)
    if other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise InputError(f"offset: {source} has another vocabulary than the model; name one of the same tokenizer.")
    return other.module.to(model.device)
