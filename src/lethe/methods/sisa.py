"""Exact unlearning of an ensemble: only the shard of a deleted record is trained again."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from lethe.data.shards import assign, check_numbers
from lethe.descent.ensembles import architecture, fresh, joined, serve, stored
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.registry import method
from lethe.request import Request


@method(
    families={"classifier", "recommender"},
    needs={"loss"},
    intent="removal",
    level="retraining",
    paper="1912.03817",
    requires={"forget", "retain"},
)
def sisa(
    model: Model,
    request: Request,
    *,
    shards: int = 5,
    slices: int = 2,
    by: str = "id",
    combine: Literal["mean", "vote"] = "mean",
    store: Path | None = None,
    lr: float = 1e-3,
    epochs: int = 5,
    batch_size: int = 32,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    schedule: Literal["constant", "linear", "cosine"] = "constant",
    warmup: float = 0.0,
    clip: float | None = 1.0,
    seed: int | None = None,
    folder: Path | None = None,
) -> Model:
    """SISA: an ensemble of models of single shards, of which a deletion trains again only what saw the record.

    Exact: bit for bit the ensemble that the retain records alone would give. Where no ensemble of these records exists,
    it is trained on forget and retain first, a time that is counted apart (once for all requests); the given model then
    lends its architecture alone. An ensemble that is given is served without a store, too, but then a touched shard
    starts from nothing, not from the checkpoint before the deleted record's slice. A recommender's constituents each
    know the interactions of their own shard.

    Args:
        shards: Number of constituents; one deletion retrains one of them.
        slices: Parts that a shard is trained on one after another, with a checkpoint before each.
        by: Field that decides a record's shard: id, or one whose records are deleted together (user, identity).
        combine: mean of the probabilities (a recommender: of the scores), or vote of the majority (classifiers).
        store: Folder of the ensemble's checkpoints, for this and further requests; none keeps nothing.
        lr: Peak learning rate.
        epochs: Passes over a shard; with R slices each stage has 2 / (R + 1) of them.
        batch_size: Examples per optimiser step.
        optimizer: adamw or sgd.
        weight_decay: Decoupled weight decay per step, times the learning rate (AdamW) or L2 (SGD).
        momentum: SGD momentum.
        schedule: constant, linear (to 0) or cosine (to 0), anew in every stage.
        warmup: Share of a stage's steps with rising learning rate, 0 to 1.
        clip: Largest gradient norm; none switches clipping off.
        seed: Seed of the assignment, the weights and the order of data; the request's where none is given.
        folder: Where a run that was killed finds its checkpoints; `store` takes its place.

    Raises:
        InputError: If there are more shards than records, the stored ensemble has other settings or never saw a record,
            or an ensemble is given that was trained on others.
    """
    if combine == "vote" and model.family != "classifier":
        raise InputError("combine=vote is for classifiers, whose constituents decide on a class; use combine=mean.")
    if any("modality" in record for record in request.forget):
        raise InputError(
            "sisa takes records out of their shards, and an item's content is in all of them; use the method retrain."
        )
    recipe = Recipe(
        lr=lr, epochs=epochs, batch_size=batch_size, optimizer=optimizer, weight_decay=weight_decay, momentum=momentum,
        schedule=schedule, warmup=warmup, clip=clip, seed=request.seed if seed is None else seed,
    )  # fmt: skip
    every = [*request.forget, *request.retain]
    check_numbers(shards, slices, len(every))
    before, after = (assign(records, shards, slices, recipe.seed, by) for records in (every, request.retain))
    settings = {"shards": shards, "slices": slices, "by": by, **vars(recipe)}
    settings["architecture"] = architecture(fresh(model, 0, recipe))
    with TemporaryDirectory() as temporary:
        home = Path(store or folder or temporary)
        known = store is not None and stored(home, settings, every) is not None
        trained = serve(model, before, after, recipe, home, settings if store else None, known)
    return joined(model, trained, combine)
