"""Embedded worlds, made on the spot from a seed: one population of fictitious people, asked for in every family."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lethe.errors import InputError

WORLDS = (
    "attributes",
    "authors",
    "digits",
    "exams",
    "experts",
    "faces",
    "facts",
    "fame",
    "modal_shop",
    "news",
    "saga",
    "scans",
    "shop",
)


def records(world: str, split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split of an embedded world.

    Args:
        world: attributes, authors, digits, exams, experts, faces, facts, fame, modal_shop, news,
            saga, scans or shop.
        split: as the world names it.
        seed: same seed, same records, in every process.

    Raises:
        InputError: if there is no such world or split.
    """
    if world not in WORLDS:
        raise InputError(f"no embedded world {world!r}, choose one of {', '.join(WORLDS)}")
    return import_module(f"lethe.worlds.{world}").records(split, seed)
