"""Records from three sources, an embedded world, the hub or a path, by one code path."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data import check, images, parse
from lethe.data.schema import Alias, nearest, schema_of
from lethe.errors import InputError, cause

_NAMED = re.compile(r"(?P<base>[^:@]+)(:(?P<config>[^:@]+))?(@(?P<split>[^:@]+))?")
_SHARD = re.compile(r"-(?P<index>\d{5})-of-(?P<count>\d{5})$")
_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Table:
    """What was read of a source, before anything was checked."""

    rows: list[Any]
    where: str  # for messages
    stem: str  # for ids, so without the folder: the same file has the same ids on every machine
    folder: Path | None = None  # where relative image paths start
    cells: bool = False  # all values are text
    split: str | None = None  # what is still to be selected by the rows' own field
    classes: Sequence[str] | None = None


def load_records(
    source: str | Path,
    *,
    family: str = "language",
    split: str | None = None,
    config: str | None = None,
    limit: int | None = None,
    format: str | None = None,
    fields: Mapping[str, str] | None = None,
    size: int | tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Read all records of a source, or none.

    A record without an "id" gets ``FILE:ROW:HASH`` from its position and its content. Labels that are names are
    numbered in the order of the names found in the whole source, and kept as "class"; the path of an image is kept as
    "path". A relative path starts in the table's folder or in one beside it.

    Args:
        source: A file, a folder (``FOLDER/config.json``, ``FOLDER/split/class/1.png``...), ``org/name`` on the hub, or
            ``tiny:WORLD:SPLIT``. The former may end in ``:config@split``.
        family: Whose schema the records must have: language, classifier or recommender.
        split: Part of the source: a file or folder of that name, or the rows whose field "split" says so.
        config: Variant of the data set: a file or folder of that name.
        limit: At most so many records, from the start.
        format: Read files as this format whatever their name: jsonl, json, csv, tsv, parquet or txt.
        fields: Names of the source's fields and the names that Lethe has for them, e.g. {"gt": "answer"}.
        size: Side, or (height, width), of images in pixels; default: as they are.
        classes: Class names in the order of their numbers; needed when a source does not hold all of them.
        seed: Seed of the embedded world.

    Raises:
        InputError: If anything is missing, unreadable, truncated or not in the schema; names file, row and field.
    """
    schema = schema_of(family)
    if fields:
        schema = replace(schema, aliases={**schema.aliases, **{name: Alias(own) for name, own in fields.items()}})
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be at least 1.")
    try:
        table = _open(source, config, split, format, seed)
    except OSError as error:
        place = error.filename or source
        raise InputError(f"{place}: cannot be read ({cause(error)}); check the path and its permissions.") from error
    rows = [
        (number, check.rename(row, schema, f"{table.where}, row {number}", cells=table.cells))
        for number, row in enumerate(table.rows, 1)
    ]
    names = {row["label"] for _, row in rows if isinstance(row.get("label"), str)}
    rows = _select(rows, table)[:limit]
    for _, row in rows:
        if isinstance(row.get("image"), str):
            row["path"] = row["image"]
    return check.check(
        rows,
        schema,
        table.where,
        table.stem,
        image=partial(_picture, folders=_image_folders(table.folder), size=size),
        classes=classes or table.classes or sorted(names),
    )


def _open(source: str | Path, config: str | None, split: str | None, form: str | None, seed: int) -> Table:
    if str(source).startswith("tiny:"):
        return _from_world(str(source), split, seed)
    path = Path(source).expanduser()
    if not path.exists() and (named := _NAMED.fullmatch(str(source))):
        path = Path(named["base"]).expanduser()
        config, split = config or named["config"], split or named["split"]
    if path.is_dir():
        return _from_folder(path, config, split, form)
    if path.exists():
        if config:
            raise InputError(f"{path}: is one file and has no config {config!r}; leave the config out.")
        return replace(_from_files([path], form), split=split)
    if isinstance(source, str) and path.suffix not in parse.SUFFIXES and _ON_HUB.fullmatch(str(path)):
        return from_hub(str(path), config, split)
    raise InputError(f"{path}: does not exist; check the path, or name a data set of the hub as org/name.")


def _from_files(paths: Sequence[Path], form: str | None = None) -> Table:
    """The rows of one file, or of all shards of one table."""
    kinds = [parse.format_of(path, form) for path in paths]
    parts = [parse.parse(path.read_bytes(), kind, str(path)) for path, kind in zip(paths, kinds, strict=True)]
    rows = [row for part in parts for row in part]
    return Table(rows, str(paths[0]), _stem(paths[0]), paths[0].parent, cells=kinds[0] in parse.UNTYPED)


def _stem(path: Path) -> str:
    return _SHARD.sub("", path.stem)


def _from_folder(folder: Path, config: str | None, split: str | None, form: str | None) -> Table:
    """The table that a config and a split name inside a folder; else its images."""
    if config and (folder / config).is_dir():
        folder, config = folder / config, None
    if split and (folder / split).is_dir():
        folder, split = folder / split, None
    tables = _tables(folder)
    if not tables:
        refused = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in parse.REFUSED]
        if refused:
            parse.format_of(refused[0])  # says what to do
        if wanted := config or split:
            raise InputError(f"{folder}: holds no {wanted!r}; check the name.")
        return Table(images.image_rows(folder), str(folder), folder.name, folder)
    if config:
        if config not in tables:
            raise InputError(f"{folder}: holds no {config!r}; {nearest(config, tables)}")
        return replace(_from_files(tables[config], form), split=split)
    if split in tables:
        return _from_files(tables[split], form)
    if len(tables) > 1:
        told = f"holds no {split!r}; {nearest(split, tables)}" if split else f"holds {', '.join(tables)}; name one."
        raise InputError(f"{folder}: {told}")
    (files,) = tables.values()
    return replace(_from_files(files, form), split=split)


def _tables(folder: Path) -> dict[str, list[Path]]:
    """The files of each table in a folder, by the table's name."""
    tables = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in parse.SUFFIXES and path.is_file():
            tables[_stem(path)].append(path)
    for stem, paths in tables.items():
        shards = [_SHARD.search(path.stem) for path in paths]
        if {int(shard["count"]) if shard else 1 for shard in shards} != {len(paths)}:
            what = "shards are missing" if all(shards) else "there are several files"
            raise InputError(f"{folder}: {what} of {stem!r} ({', '.join(path.name for path in paths)}); mend it.")
    return dict(tables)


def from_hub(name: str, config: str | None = None, split: str | None = None) -> Table:
    """A data set of the Hugging Face hub, or of a folder laid out like one; the split is "train" by default.

    Raises:
        InputError: If `datasets` is not installed, or does not find the data set, the config or the split.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"{name}: the hub needs an extra; pip install 'lethe-ml[hub]'.") from error

    where = name + (f":{config}" if config else "") + f"@{split or 'train'}"
    try:
        data: Any = datasets.load_dataset(name, config, split=split or "train")
        for column, kind in data.features.items():
            if isinstance(kind, datasets.Image):
                data = data.cast_column(column, datasets.Image(decode=False))
        rows = data.to_list()
    except Exception as error:  # the network, the cache and every builder have their own errors
        first = str(error).split("\n", 1)[0].rstrip(".")
        raise InputError(f"{where}: the hub could not give it ({first}); check the name and the network.") from error
    label = data.features.get("label")
    names = label.names if isinstance(label, datasets.ClassLabel) else None
    return Table(rows, where, config or name.rsplit("/", 1)[-1], classes=names)


def _from_world(source: str, split: str | None, seed: int) -> Table:
    _, world, *rest = source.split(":", 2)
    part = rest[0] if rest else split
    if not part:
        raise InputError(f"{source}: names a whole world; write tiny:{world}:SPLIT.")
    # By name, as plug-ins are: the worlds are built on this module, not it on them.
    worlds: Any = import_module("lethe.worlds")
    return Table(list(worlds.records(world, part, seed)), f"tiny:{world}:{part}", f"{world}:{part}")


def _select(rows: list[tuple[int, dict[str, Any]]], table: Table) -> list[tuple[int, dict[str, Any]]]:
    """The rows of the wanted split; a table that knows no splits is all "train", as on the hub."""
    if table.split is None:
        return rows
    known = {str(row["split"]) for _, row in rows if "split" in row} or {"train"}
    if table.split not in known:
        raise InputError(f"{table.where}: has no split {table.split!r}; {nearest(table.split, known)}")
    return [(number, row) for number, row in rows if str(row.get("split", "train")) == table.split]


def _image_folders(folder: Path | None) -> Sequence[Path]:
    """A table's own folder and those beside it: data sets often list bare names next to a folder of images."""
    return (folder, *sorted(path for path in folder.iterdir() if path.is_dir())) if folder else (Path(),)


def _picture(value: Any, *, folders: Sequence[Path], size: int | tuple[int, int] | None) -> np.ndarray:
    if isinstance(value, (np.ndarray, list)):
        return check.image_array(value)
    return images.read_image(value, folders=folders, size=size)
