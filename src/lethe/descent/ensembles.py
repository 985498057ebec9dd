"""Ensembles that are trained shard by shard and slice by slice, and what of them is kept on disk.

A checkpoint is named by a hash of all that it is a function of: fresh weights, recipe, and the records of the slices so
far. To serve a deletion is therefore to ask for the ensemble of the records that are left: whatever has not seen the
deleted ones is found under its name, and only the rest is trained. No bookkeeping decides what is exact.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from lethe.data.atomic import write_bytes, write_json
from lethe.data.content import digest
from lethe.data.order import mix
from lethe.data.schema import Record
from lethe.data.shards import Shards
from lethe.descent.terms import own_loss
from lethe.errors import InputError, cause
from lethe.models import nets
from lethe.models.base import Model
from lethe.models.graphs import LightGCN
from lethe.models.recommender import Recommender
from lethe.models.sharded import ShardedClassifier, ShardedRecommender, described
from lethe.preparation import preparing
from lethe.train import Recipe, Selection, Term, train

MANIFEST = "ensemble.json"
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Trained:
    """One constituent: its network, the names of its checkpoints, and the optimiser steps that were made now."""

    module: nn.Module
    keys: tuple[str, ...]  # none: it has seen no record
    steps: int = 0

    @property
    def key(self) -> str:
        """The name of the last checkpoint."""
        return self.keys[-1] if self.keys else ""


def architecture(model: Model) -> str:
    """A hash of the architecture and of the weights as they stand, without interactions."""
    told = described(model.module)
    arguments = {name: value for name, value in told.get("arguments", {}).items() if name != "edge_count"}
    own = {name: tensor.detach().cpu() for name, tensor in model.module.state_dict().items() if name != "edges"}
    return digest([told.get("name"), arguments, own])


def single(model: M) -> M:
    """The model itself, or of an ensemble one constituent: the architecture that every shard is given."""
    parts = getattr(model.module, "constituents", None)
    if parts is None:
        return model
    alone = copy.copy(model)
    alone.module = parts[0]
    return alone


def names(start: Model, number: int, slices: Sequence[Sequence[Record]], recipe: Recipe) -> tuple[str, ...]:
    """The names of a shard's checkpoints, one per slice; none where it has no record."""
    key = digest([architecture(start), asdict(recipe), number])
    keys = [key := digest([key, [digest(record) for record in records]]) for records in slices]
    return tuple(keys) if any(slices) else ()


def fresh(model: M, number: int, recipe: Recipe) -> M:
    """What a shard's model starts from; of the given one the architecture is used, and no weight."""
    start = single(model).fresh(mix(recipe.seed, 101, number))
    _limit(start, [])
    return start


def constituent(
    model: Model, number: int, slices: Sequence[Sequence[Record]], recipe: Recipe, folder: Path,
    known: Mapping[str, nn.Module],
) -> Trained:  # fmt: skip
    """One shard's model, trained on the first slice, the first two, and so on, each time from where it stood.

    Every stage has 2 / (R + 1) of the recipe's epochs, so that R stages together read as much as without slices
    (arXiv 1912.03817, section 4.3); a new stage starts a new optimiser and a new schedule.

    Args:
        model: Gives the architecture.
        number: Which shard; with the recipe's seed it decides fresh weights and order.
        slices: The shard's records.
        recipe: How to train; its epochs are those of a shard without slices.
        folder: Where checkpoints are looked for and left.
        known: Networks at hand, by the name of their last checkpoint.
    """
    start = fresh(model, number, recipe)
    keys = names(start, number, slices, recipe)
    if not keys:
        return Trained(start.module.eval(), ())
    if keys[-1] in known:
        return Trained(copy.deepcopy(known[keys[-1]]), keys)
    stage = max((i for i, key in enumerate(keys) if _path(folder, key).is_file()), default=-1)
    if stage >= 0:
        _limit(start, _upto(slices, stage))
        _read(_path(folder, keys[stage]), start.module)
    epochs, steps = max(1, round(2 * recipe.epochs / (len(slices) + 1))), 0
    for later in range(stage + 1, len(slices)):
        records = _upto(slices, later)
        _limit(start, records)
        if records:
            own = replace(recipe, epochs=epochs, seed=mix(recipe.seed, 102, number, later) % 2**31)
            steps += train(start, [Term("shard", start.encode(records), own_loss)], own).steps
        tensors = {name: tensor.cpu().contiguous() for name, tensor in start.module.state_dict().items()}
        write_bytes(_path(folder, keys[later]), save(tensors))
    return Trained(start.module.eval(), keys, steps)


def ensemble(
    model: Model, shards: Shards, recipe: Recipe, folder: Path, known: Mapping[str, nn.Module] | None = None
) -> list[Trained]:
    """All constituents, from the folder or from what is at hand as far as they exist."""
    return [constituent(model, number, slices, recipe, folder, known or {}) for number, slices in enumerate(shards)]


def check_given(model: Model, shards: Shards, recipe: Recipe) -> None:
    """Refuse an ensemble that was trained on anything but these shards.

    Raises:
        InputError: Naming the shards that differ.
    """
    known = at_hand(model)
    keys = [names(fresh(model, number, recipe), number, slices, recipe) for number, slices in enumerate(shards)]
    foreign = [str(number) for number, own in enumerate(keys) if own and own[-1] not in known]
    if known and foreign:
        raise InputError(
            f"The ensemble was not trained on these forget and retain records under these options (shard "
            f"{', '.join(foreign)} differs); give those that it was trained with, or the store of its checkpoints."
        )


def serve(
    model: Model, before: Shards, after: Shards, recipe: Recipe, folder: Path, settings: Mapping[str, Any] | None,
    trained: bool,
) -> list[Trained]:  # fmt: skip
    """The ensemble of what is left. That of all records is trained first, which is counted apart in time.

    Args:
        model: Gives the architecture; or an ensemble that was trained on `before`.
        before: All records in their shards.
        after: Those that are left.
        recipe: How to train a shard.
        folder: Where checkpoints are looked for and left.
        settings: What the folder's ensemble is to be known by; None where the folder is not kept.
        trained: Whether the ensemble of `before` stands in the folder.

    Raises:
        InputError: If an ensemble is given that was trained on others, or a checkpoint is damaged.
    """
    if not trained:
        if settings is None:
            check_given(model, before, recipe)
        with preparing():
            first = ensemble(model, before, recipe, folder, at_hand(model))
            if settings is not None:
                keep(folder, settings, before, first)
    made = ensemble(model, after, recipe, folder, at_hand(model))
    if settings is not None:
        keep(folder, settings, after, made)
    return made


def joined(model: M, trained: Sequence[Trained], combine: str) -> M:
    """The constituents as one model of the family."""
    made = copy.copy(model)
    kind: Any = ShardedRecommender if model.family == "recommender" else ShardedClassifier
    modules, keys = [one.module for one in trained], [one.key for one in trained]
    made.module = kind(modules, combine=combine, keys=keys, voting=[bool(key) for key in keys]).to(model.device).eval()
    return made


def attend(made: Recommender, records: Sequence[Record], recipe: Recipe) -> None:
    """Train the attention of an ensemble of recommenders on its ranking loss, constituents frozen, in place.

    A frozen constituent is its embeddings: they are computed once, and its graph is not walked at every step.
    """
    net = made.net
    tables = []
    with made.evaluating():
        for part in net.constituents:
            users, items = part.embed()
            tables.append(LightGCN(net.users, net.items, dim=users.shape[1], layers=0))
            tables[-1].user_table.weight.copy_(users)
            tables[-1].item_table.weight.copy_(items)
    tables[0].set_edges(net.edges.cpu())
    light = Recommender(ShardedRecommender(tables, net.combine, voting=net.voting.tolist()).to(made.device))
    nets.reset(light.net.user_attention, mix(recipe.seed, 105))
    nets.reset(light.net.item_attention, mix(recipe.seed, 106))
    moving = {name: weight for name, weight in light.module.named_parameters() if "attention" in name}
    train(light, [Term("attention", light.encode(records), own_loss)], recipe, selection=Selection(moving))
    net.user_attention.load_state_dict(light.net.user_attention.state_dict())
    net.item_attention.load_state_dict(light.net.item_attention.state_dict())


def at_hand(model: Model) -> dict[str, nn.Module]:
    """The constituents of a model that is an ensemble, by the names of their last checkpoints."""
    parts = getattr(model.module, "constituents", ())
    keys = cast("list[str]", getattr(model.module, "keys", [""] * len(parts)))
    return {key: part for key, part in zip(keys, parts, strict=True) if key}


def known_shards(model: Recommender, records: Sequence[Record]) -> dict[str, int] | None:
    """The shards of these records where an ensemble of recommenders is given: each knows its own interactions.

    Raises:
        InputError: If one of the records is in no shard.
    """
    parts: Any = getattr(model.module, "constituents", ())
    own = {pair: number for number, part in enumerate(parts) for pair in map(tuple, part.edges.T.tolist())}
    where = {record["id"]: own.get((int(record["user"]), int(record["item"])), -1) for record in records}
    if parts and (strange := [name for name, number in where.items() if number < 0]):
        raise InputError(f"record {strange[0]!r} is not in the ensemble: no shard knows that interaction.")
    return where if parts else None


def stored(folder: Path, settings: Mapping[str, Any], records: Sequence[Record]) -> dict[str, int] | None:
    """The shards of these records where an ensemble stands in the folder, made with these settings; None without one.

    Raises:
        InputError: If it has other settings, has not seen a record, or has seen one that is not given.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        before, seen, shards = told["settings"], told["records"], told["shards"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({cause(error)}); delete {folder} to train the ensemble anew.") from error
    for name, value in settings.items():
        if before.get(name) != value:
            raise InputError(
                f"{folder} holds an ensemble with {name}={before.get(name)}, and {name}={value} is asked for; give "
                "another folder, or the option as it was."
            )
    given = {record["id"]: digest(record) for record in records}
    for name, content in given.items():
        if seen.get(name) != content:
            how = "with another content" if name in seen else "never, or not any more"
            raise InputError(
                f"record {name!r} is not in the ensemble of {folder} (it was seen {how}); take it out of the request, "
                "or train another ensemble."
            )
    if missing := sorted(seen.keys() - given.keys()):
        raise InputError(
            f"{len(missing)} records of the ensemble in {folder} ({missing[0]!r}) stand neither in forget nor in "
            "retain; give in retain all that remain."
        )
    return shards


def keep(folder: Path, settings: Mapping[str, Any], shards: Shards, trained: Sequence[Trained]) -> None:
    """Note what the folder's ensemble has seen, and delete every checkpoint that has seen anything else."""
    placed = [(number, record) for number, slices in enumerate(shards) for rows in slices for record in rows]
    seen = {record["id"]: digest(record) for _, record in placed}
    where = {record["id"]: number for number, record in placed}
    write_json(folder / MANIFEST, {"settings": dict(settings), "records": seen, "shards": where})
    wanted = {_path(folder, key) for one in trained for key in one.keys}
    for path in folder.glob("*.safetensors"):
        if path not in wanted:
            path.unlink()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def _upto(slices: Sequence[Sequence[Record]], stage: int) -> list[Record]:
    return [record for records in slices[: stage + 1] for record in records]


def _limit(model: Model, records: Sequence[Record]) -> None:
    """A recommender's graph holds what its shard has seen so far, and nothing else."""
    module: Any = model.module
    if model.family == "recommender":
        pairs = torch.tensor([[record["user"], record["item"]] for record in records], dtype=torch.long)
        module.set_edges(pairs.reshape(-1, 2).T.contiguous().to(model.device))


def _read(path: Path, module: nn.Module) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{path} is damaged ({cause(error)}); delete it to train that part anew.") from error
