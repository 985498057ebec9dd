"""Models of the embedded worlds: trained once per content hash, resumed when killed, shared by all processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lethe.data.cache import cache_folder, only_one
from lethe.data.content import digest
from lethe.models import load
from lethe.models.base import Model

__all__ = ["cache_folder", "cached_model", "elsewhere"]


def cached_model(name: str, content: Mapping[str, Any], build: Callable[[Path], Model], **options: Any) -> Model:
    """The model that `build` makes, from the cache if its content was built before.

    Args:
        name: Readable beginning of the folder's name.
        content: Everything that the weights depend on (records, architecture, recipe, seed); its hash is the key.
        build: Trains the model; gets a folder for its checkpoints, so that a killed build goes on where it was.
        options: Passed to `lethe.models.load`.

    Raises:
        InputError: If the cache folder cannot be written to.
    """
    key = f"{name}-{digest(dict(content))[:16]}"
    folder = cache_folder() / "models" / key
    if not folder.is_dir():
        with only_one(folder.with_name(f".{key}.lock")):
            if not folder.is_dir():  # another process may have built it while this one waited
                work = folder.with_name(f".{key}.run")
                build(work).save(folder)
                shutil.rmtree(work, ignore_errors=True)
    return load(folder, **options)


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """Another cache folder for a while, deleted afterwards: whatever is built in it is built anew."""
    before = os.environ.get("LETHE_CACHE")
    os.environ["LETHE_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LETHE_CACHE"]
        else:
            os.environ["LETHE_CACHE"] = before
        shutil.rmtree(folder, ignore_errors=True)
