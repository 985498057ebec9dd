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
    """Seconds and peak resident memory (MiB) of a block of code in this process."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure a block. Memory is sampled every 20 ms, because the kernel's own peak never goes down again."""
    meter, done = Meter(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            meter.peak_memory_mib = max(meter.peak_memory_mib, _resident_mib())
            done.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        done.set()
        watcher.join()


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
