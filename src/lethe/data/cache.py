"""Where Lethe keeps what is dear to make, and how processes take turns in making it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lethe.data.atomic import explained


def cache_folder() -> Path:
    """`LETHE_CACHE`, or `lethe` in the user's cache folder."""
    given = os.environ.get("LETHE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else home / "lethe"


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time; the lock falls with the process, however that ends.

    Args:
        path: The lock's file.

    Raises:
        InputError: If the folder cannot be written to.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
