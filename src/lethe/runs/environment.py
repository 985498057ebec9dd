"""What a result was made with, and what it cost."""

from __future__ import annotations

import platform
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

PACKAGES = ("lethe-ml", "torch", "transformers", "peft", "numpy", "scipy", "scikit-learn")


def environment() -> dict[str, str]:
    """Versions and hardware, without anything that changes from run to run."""
    import torch

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found |= {name: version(name) for name in PACKAGES}
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    found["threads"] = str(torch.get_num_threads())
    return found


class Meter:
    """Seconds and peak resident memory (MiB) of a block of code in this process, and what its optimisers moved.

    `trained` is the number of parameters of the optimiser that had most; 0 where none took a step.
    """

    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    trained: int = 0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure a block. Memory is sampled every 20 ms, because the kernel's own peak never goes down again."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    meter, done = Meter(), threading.Event()
    counted: WeakSet[Any] = WeakSet()

    def count(optimizer: Any, *_: Any) -> None:
        if optimizer not in counted:
            counted.add(optimizer)
            moved = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
            meter.trained = max(meter.trained, moved)

    def watch() -> None:
        while not done.is_set():
            meter.peak_memory_mib = max(meter.peak_memory_mib, _resident_mib())
            done.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    hook = register_optimizer_step_post_hook(count)
    start = time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        hook.remove()
        done.set()
        watcher.join()


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
