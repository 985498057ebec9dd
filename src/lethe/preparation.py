"""What a method does once and uses for many requests: its seconds are counted apart from those of the request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PREPARED: ContextVar[list[float] | None] = ContextVar("PREPARED", default=None)  # a list only where somebody counts


@contextmanager
def preparing() -> Iterator[None]:
    """The block serves more requests than the present one (a pre-trained encoder, the shards of an ensemble)."""
    start = time.perf_counter()
    try:
        yield
    finally:
        if (spent := PREPARED.get()) is not None:
            spent.append(time.perf_counter() - start)
