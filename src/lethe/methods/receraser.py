"""Exact unlearning of a recommender whose shards keep together what is alike."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

from lethe.data.schema import Record
from lethe.data.shards import Shards, assign, check_numbers, place
from lethe.descent.ensembles import architecture, attend, fresh, joined, known_shards, serve, stored
from lethe.descent.terms import own_loss
from lethe.models.recommender import Recommender
from lethe.preparation import preparing
from lethe.recipe import Recipe
from lethe.registry import method
from lethe.request import Request
from lethe.scoring.partition import balanced
from lethe.train import Term, train

ASPECTS = {"interaction": ("user", "item"), "user": ("user",), "item": ("item",)}


@method(
    families={"recommender"},
    needs={"scores"},
    intent="removal",
    level="retraining",
    paper="2201.06820",
    requires={"forget", "retain"},
)
def receraser(
    model: Recommender,
    request: Request,
    *,
    shards: int = 3,
    by: Literal["interaction", "user", "item"] = "interaction",
    partition: Literal["balanced", "ot", "random"] = "balanced",
    cap: float = 1.2,
    rounds: int = 50,
    combine: Literal["attention", "mean"] = "attention",
    store: Path | None = None,
    lr: float = 1e-3,
    epochs: int = 5,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    schedule: Literal["constant", "linear", "cosine"] = "constant",
    pretrain_epochs: int | None = None,
    attention_lr: float = 1e-3,
    attention_epochs: int = 20,
    seed: int | None = None,
    folder: Path | None = None,
) -> Recommender:
    """RecEraser: an ensemble over shards of similar interactions; a deletion retrains its shard and the aggregation.

    Embeddings are pre-trained on all records, and the partition is made of them; both and the first training of the
    shards serve all later requests and are counted apart in time. Exact given the partition, which was made with the
    deleted records and stays: that some were alike is all that is left of them.

    Args:
        shards: Number of constituents.
        by: What is divided: interactions (by user and item), users or items (each with all of its interactions).
        partition: balanced (RecEraser's k-means), ot (as UltraRE, NeurIPS 2023: by optimal transport onto shards of
            equal size) or random (SISA: a hash of user and item, of the user, or of the item).
        cap: Largest shard over the mean size; balanced only.
        rounds: Most rounds of the partition.
        combine: attention over the constituents, or mean of their scores.
        store: Folder of partition and checkpoints, for this and further requests; none keeps nothing.
        lr: Peak learning rate.
        epochs: Passes over a shard.
        batch_size: Interactions per optimiser step.
        weight_decay: Decoupled weight decay per step, times the learning rate.
        schedule: constant, linear (to 0) or cosine (to 0).
        pretrain_epochs: Passes over all records for the embeddings that the partition is made of; as `epochs` if none.
        attention_lr: Learning rate of the aggregation.
        attention_epochs: Passes of the aggregation over all records, constituents frozen; it starts as the plain mean.
        seed: Seed of partition, weights, data order and negatives; the request's where none is given.
        folder: Where a run that was killed finds its checkpoints; `store` takes its place.

    Raises:
        InputError: If there are more shards than there is to divide, the stored ensemble has other settings or never
            saw a record, or an ensemble is given that was trained on others.
    """
    recipe = Recipe(
        lr=lr, epochs=epochs, batch_size=batch_size, weight_decay=weight_decay, schedule=schedule,
        seed=request.seed if seed is None else seed,
    )  # fmt: skip
    every = [*request.forget, *request.retain]
    check_numbers(shards, 1, len(every))
    limits = {"cap": cap, "rounds": rounds, "seed": recipe.seed}
    settings: dict[str, Any] = {"shards": shards, "by": by, "partition": partition, **limits}
    settings |= {**vars(recipe), "architecture": architecture(fresh(model, 0, recipe))}
    with TemporaryDirectory() as temporary:
        home = Path(store or folder or temporary)
        where = None if store is None else stored(home, settings, every)
        known = where is not None
        with preparing():
            where = where or known_shards(model, every)
            if where is None:
                first = _pretrained(model, every, recipe, pretrain_epochs or epochs)
                where = _divided(first, every, by, partition, shards, limits)
        before, after = (_placed(records, where, shards) for records in (every, request.retain))
        trained = serve(model, before, after, recipe, home, settings if store else None, known)
    made = joined(model, trained, combine)
    if combine == "attention":
        own = Recipe(lr=attention_lr, epochs=attention_epochs, batch_size=batch_size, seed=recipe.seed)
        attend(made, request.retain, own)
    return made


def _pretrained(model: Recommender, records: Sequence[Record], recipe: Recipe, epochs: int) -> Recommender:
    """Embeddings of all records, which owe nothing to the given weights."""
    first = fresh(model, -1, recipe)
    first.net.set_edges(torch.tensor([[record["user"], record["item"]] for record in records]).T)
    train(first, [Term("pretrain", first.encode(records), own_loss)], Recipe(**{**vars(recipe), "epochs": epochs}))
    return first


def _divided(
    first: Recommender, records: Sequence[Record], by: str, partition: str, shards: int, limits: dict[str, Any]
) -> dict[str, int]:
    """The shard of every record."""
    keys = [tuple(int(record[side]) for side in ASPECTS[by]) for record in records]
    elements = sorted(set(keys))
    if partition == "random":
        drawn = [place(element, shards, 1, limits["seed"])[0] for element in elements]
    else:
        with first.evaluating():
            users, items = (side.double().cpu().numpy() for side in first.net.embed())
        tables, rows = {"user": users, "item": items}, np.array(elements)
        views = [tables[side][rows[:, column]] for column, side in enumerate(ASPECTS[by])]
        drawn = balanced(views, shards, transport=partition == "ot", **limits).tolist()
    own = dict(zip(elements, drawn, strict=True))
    return {record["id"]: own[key] for record, key in zip(records, keys, strict=True)}


def _placed(records: Sequence[Record], where: dict[str, int], shards: int) -> Shards:
    """The records in their shards, each a single slice."""
    ordered = [record for slices in assign(records, 1, 1, 0) for rows in slices for record in rows]
    return [[[record for record in ordered if where[record["id"]] == number]] for number in range(shards)]
