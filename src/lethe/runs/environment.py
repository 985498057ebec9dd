"""What a result was made with, and what it cost."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import platform
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from lethe.data.atomic import write_json
from lethe.errors import InputError

LARGE = 2**17  # bytes of an allocation from which on memory goes back to the system when it is freed
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
SPENT = "spent.json"  # beside a run's checkpoints: what its processes have cost so far
EVERY = 0.5  # seconds between two notes of it
PACKAGES = ("lethe-ml", "torch", "transformers", "peft", "numpy", "scipy", "scikit-learn")


def environment() -> dict[str, str]:
    """Versions and hardware, without anything that changes from run to run."""
    import torch

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found |= {name: version(name) for name in PACKAGES}
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    found["threads"] = str(torch.get_num_threads())
    return found


@functools.cache
def code() -> str:
    """SHA-256 of Lethe's own source: rows that another version made are made again."""
    import lethe

    package = Path(lethe.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


class Meter:
    """Seconds and peak resident memory (MiB) of a block of code, and how many weights it trained.

    `trained` counts the weights that could move in the run of the training loop that had most; 0 where none ran.
    `prepared` are seconds of what serves further requests as well (`lethe.preparation`); `seconds` are without them.
    """

    seconds: float = 0.0
    prepared: float = 0.0
    peak_memory_mib: float = 0.0
    trained: int = 0


@contextmanager
def metered(folder: Path | None = None) -> Iterator[Meter]:
    """Measure a block. Memory is sampled every 20 ms, because the kernel's own peak never goes down again.

    Args:
        folder: Where the block keeps its checkpoints. If it goes on from one, what the processes before have cost is
            counted as well: their seconds are added (up to half a second before the last sign of life), and the peak
            is the highest of all.
    """
    from lethe.preparation import PREPARED
    from lethe.train import TRAINED

    meter, done = Meter(), threading.Event()
    earlier, meter.peak_memory_mib = _spent(folder)
    counts: list[int] = []
    prepared: list[float] = []
    heard, heard_too = TRAINED.set(counts), PREPARED.set(prepared)
    start = time.perf_counter()

    def watch() -> None:
        noted = start
        while not done.is_set():
            meter.peak_memory_mib = max(meter.peak_memory_mib, _resident_mib())
            now = time.perf_counter()
            if folder is not None and now > noted + EVERY and folder.is_dir():
                noted = now
                with suppress(InputError):  # a full disk: the block itself will say so
                    spent = {"seconds": earlier + now - start, "peak_memory_mib": meter.peak_memory_mib}
                    write_json(folder / SPENT, spent)
            done.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield meter
    finally:
        meter.prepared = sum(prepared)
        meter.seconds = earlier + time.perf_counter() - start - meter.prepared
        meter.trained = max(counts, default=0)
        TRAINED.reset(heard)
        PREPARED.reset(heard_too)
        done.set()
        watcher.join()


def _spent(folder: Path | None) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of the processes whose checkpoints stand in a folder; nothing without any."""
    if folder is None or not any(folder.rglob("checkpoint.safetensors")):
        return 0.0, 0.0
    try:
        spent = json.loads((folder / SPENT).read_text(encoding="utf-8"))
        return float(spent["seconds"]), float(spent["peak_memory_mib"])
    except (OSError, ValueError, KeyError, TypeError):  # never noted, or damaged
        return 0.0, 0.0


def _resident_mib() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def return_memory() -> None:
    """Have this process hand freed memory back; for commands, which own their process.

    glibc keeps what many tensors of changing sizes leave behind: a fifth of an audit's peak. Other systems have no such
    setting and are left as they are.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(parameter, LARGE)
