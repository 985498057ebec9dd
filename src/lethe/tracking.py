"""Where a training run's numbers go: a JSONL file, a progress bar, TensorBoard or Weights & Biases."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lethe.data.atomic import write_text
from lethe.errors import InputError
from lethe.registry import did_you_mean

if TYPE_CHECKING:
    from rich.progress import Progress

Row = Mapping[str, float]
TRACKERS = ("tensorboard", "wandb")


class Log:
    """One row per step in `log.jsonl`; rows after the checkpoint that a run resumes from are dropped.

    Args:
        folder: Where `log.jsonl` goes; None writes no file.
        progress: Title of a progress bar on the terminal; empty shows none.
        trackers: Names of further receivers: "tensorboard", "wandb" (each needs its package, and a folder).

    Raises:
        InputError: On an unknown tracker, or one without a folder.
    """

    def __init__(self, folder: str | Path | None = None, progress: str = "", trackers: tuple[str, ...] = ()) -> None:
        self.path = Path(folder) / "log.jsonl" if folder else None
        self.title, self.trackers = progress, trackers
        for name in trackers:
            if name not in TRACKERS:
                raise InputError(f"Unknown tracker {name!r}{did_you_mean(name, TRACKERS)}; one of {TRACKERS}.")
            if folder is None:
                raise InputError(f"The tracker {name!r} writes to a folder; give one.")
        self._file: TextIO | None = None
        self._bar: Progress | None = None
        self._receivers: list[Any] = []

    @classmethod
    def of_process(cls, folder: str | Path | None, title: str, trackers: tuple[str, ...] = ()) -> Log:
        """The log of this process: under torchrun the first one writes; a bar is shown to whoever watches."""
        if os.environ.get("RANK", "0") != "0":
            return cls()
        watched = sys.stderr.isatty() and multiprocessing.parent_process() is None
        return cls(folder, title if watched else "", trackers)

    def start(self, total: int, done: int) -> None:
        """Open the receivers; keep the rows of the `done` steps that a resumed run has behind it."""
        if self.path is not None:
            write_text(self.path, "".join(self._rows(done)))
            self._file = self.path.open("a", encoding="utf-8")
        if self.title:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(transient=True, console=Console(stderr=True))
            self._bar.start()
            self._bar.add_task(self.title, total=total, completed=done)
        self._receivers = [self._receiver(name, done) for name in self.trackers]

    def row(self, row: Row) -> None:
        """One step's numbers."""
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=row["step"])
        for receiver in self._receivers:
            receiver.row(row)

    def finish(self) -> None:
        """Close everything."""
        if self._file is not None:
            self._file.close()
        if self._bar is not None:
            self._bar.stop()
        for receiver in self._receivers:
            receiver.finish()
        self._file, self._bar, self._receivers = None, None, []

    def _rows(self, done: int) -> list[str]:
        """Whole rows up to a step; a killed run may leave half a row at the end."""
        if self.path is None or not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [f"{line}\n" for line in lines if json.loads(line)["step"] <= done]

    def _receiver(self, name: str, done: int) -> Any:
        assert self.path is not None
        return (TensorBoard if name == "tensorboard" else WandB)(self.path.parent, done)


class TensorBoard:
    """Rows as TensorBoard scalars."""

    def __init__(self, folder: Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "The tracker 'tensorboard' needs a package; pip install 'lethe-ml[tensorboard]'."
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def row(self, row: Row) -> None:
        """One step's numbers."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(row["step"]))

    def finish(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandB:
    """Rows as a Weights & Biases run, which is continued under the folder's name."""

    def __init__(self, folder: Path, done: int) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise InputError("The tracker 'wandb' needs a package; pip install 'lethe-ml[wandb]'.") from error
        self._run = wandb.init(project="lethe", dir=str(folder), id=folder.resolve().name, resume="allow")

    def row(self, row: Row) -> None:
        """One step's numbers."""
        self._run.log(dict(row), step=int(row["step"]))

    def finish(self) -> None:
        """Close the run."""
        self._run.finish()
