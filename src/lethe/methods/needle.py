"""Ablating concept vectors."""

from pathlib import Path
from typing import Literal

import torch

from lethe.descent.mining import concept_vectors
from lethe.descent.terms import ascend
from lethe.descent.vectors import value_masks
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.models.projections import layer_number, output_projections
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, train

PUBLISHED_NOISE = 0.1  # standard deviation per coordinate, at a width of 4096


@method(
    families={"language"},
    needs={"loss"},
    intent="removal",
    level="parameter",
    paper="2406.11614",
    requires={"forget"},
    presets={"paper": {"count": 1, "variant": "reference", "ascent_lr": 0.2, "ascent_epochs": 1, "batch_size": 32}},
)
def needle(
    model: LanguageModel,
    request: Request,
    *,
    vectors: tuple[str, ...] = (),
    count: int = 8,
    candidates: int = 64,
    ablation: Literal["noise", "zero", "mean"] = "noise",
    scale: float = 6.0,
    ascent_lr: float = 0.01,
    ascent_epochs: int = 1,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    seed: int | None = None,
    variant: Literal["paper", "reference"] = "paper",
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> LanguageModel:
    """Needle: obfuscate the value vectors in which a concept is kept, then push them further by gradient ascent.

    Every other coordinate of the model stays bit-identical, under weight decay too. Without `vectors`, those whose top
    tokens and whose loss tell most of the forget texts and least of the retain texts are found first.

    Args:
        vectors: Places of the vectors, LAYER:DIMENSION each, as 3:17,5:200; searched for where none is given.
        count: How many are searched for.
        candidates: How many the search tries out.
        ablation: What is done to a vector first: noise is added, it is zeroed, or it becomes its layer's mean.
        scale: Length of the noise in lengths of the vector.
        ascent_lr: Learning rate of the ascent on the forget texts that follows.
        ascent_epochs: Passes of the ascent; 0 ablates only.
        batch_size: Examples per step of the ascent.
        weight_decay: Decoupled weight decay of the ascent, on the chosen vectors alone.
        seed: Seed of noise and ascent; the request's where none is given.
        variant: paper scales the noise with the vector; reference adds N(0, .1^2), an ablation in wide models only.
        folder: Where checkpoints and the log of the ascent go.
        checkpoint_every: Steps of the ascent between checkpoints, which need a folder; 0 writes none.

    Raises:
        InputError: If a place is none or does not exist, or there is nothing to search with.
    """
    if scale < 0:
        raise InputError(f"needle: scale is {scale}; it must be 0 or more.")
    seed = request.seed if seed is None else seed
    ablated = model.copy()
    places = [_place(text) for text in vectors]
    if not places:
        if not request.retain:
            raise InputError("needle needs retain records to find the vectors with; give some, or `vectors`.")
        found = concept_vectors(ablated, request.forget, request.retain, count=count, candidates=candidates)
        places = [(vector.layer, vector.dim) for vector in found]
    selection = value_masks(ablated, places, "needle")
    projections = output_projections(ablated)
    rng = torch.Generator().manual_seed(seed)
    for layer, dim in places:
        matrix = projections[layer_number(layer, len(projections), "needle")].matrix
        column = matrix[:, dim]
        if ablation == "zero":
            column.zero_()
        elif ablation == "mean":
            column.copy_(matrix.mean(1))
        else:
            spread = PUBLISHED_NOISE if variant == "reference" else scale * float(column.norm()) / len(column) ** 0.5
            column.add_(spread * torch.randn(len(column), generator=rng).to(column))
    if ascent_epochs:
        recipe = Recipe(
            lr=ascent_lr, epochs=ascent_epochs, batch_size=batch_size, weight_decay=weight_decay, seed=seed,
            checkpoint_every=checkpoint_every,
        )  # fmt: skip
        train(ablated, [ascend(ablated, request)], recipe, selection=selection, folder=folder, identity="needle")
    return ablated


def _place(text: str) -> tuple[int, int]:
    layer, _, dim = text.partition(":")
    try:
        return int(layer), int(dim)
    except ValueError:
        raise InputError(f"needle: the vector {text!r} is no LAYER:DIMENSION, as in 3:17.") from None
