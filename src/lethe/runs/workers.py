"""Jobs over processes: fresh interpreters with one torch thread each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


class Pool:
    """Runs picklable calls in `count` processes, or here when count is 1 (easier to debug, same results)."""

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        if self.count > 1:
            # Spawned before torch is loaded: the variable then holds for every library that counts cores.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self._executor = ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), initializer=_one_thread
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """`function(*a)` for every tuple, results in order; the first error ends the rest."""
        calls = list(arguments)
        if self._executor is None:
            _one_thread()
            return [function(*call) for call in calls]
        futures = [self._executor.submit(function, *call) for call in calls]
        return [future.result() for future in futures]
