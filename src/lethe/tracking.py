"""Where a training run's numbers go: a JSONL file, a progress bar, TensorBoard or Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from lethe.data.atomic import write_text


class Log:
    """One row per step in `log.jsonl`; rows after the checkpoint that a run resumes from are dropped.

    Args:
        folder: Where `log.jsonl` goes; None writes no file.
        progress: Title of a progress bar on the terminal; empty shows none.
        trackers: Names of further receivers: "tensorboard", "wandb" (each needs its package).
    """

    def __init__(self, folder: str | Path | None = None, progress: str = "", trackers: tuple[str, ...] = ()) -> None:
        self.path = Path(folder) / "log.jsonl" if folder else None
        self.title, self.trackers = progress, trackers
        self._file: TextIO | None = None
        self._bar: Any = None
        self._receivers: list[Any] = []

    def start(self, total: int, done: int) -> None:
        """Open the receivers; keep the rows of the `done` steps that a resumed run has behind it."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, "".join(line for line in self._lines() if json.loads(line)["step"] <= done))
            self._file = self.path.open("a", encoding="utf-8")
        if self.title:
            from rich.progress import Progress

            self._bar = Progress(transient=True)
            self._bar.start()
            self._bar.add_task(self.title, total=total, completed=done)
        self._receivers = [_receiver(name, self.path) for name in self.trackers]

    def row(self, row: Mapping[str, float]) -> None:
        """One step's numbers."""
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._bar is not None:
            self._bar.update(0, completed=row["step"])
        for receive in self._receivers:
            receive(row)

    def finish(self) -> None:
        """Close everything."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._bar is not None:
            self._bar.stop()

    def _lines(self) -> list[str]:
        if self.path is None or not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        # A killed run may leave half a line at the end.
        return [line + "\n" for line in text.splitlines() if line.endswith("}")]


def _receiver(name: str, path: Path | None) -> Any:
    if name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(path.parent if path else "."))
        return lambda row: [writer.add_scalar(k, v, int(row["step"])) for k, v in row.items() if k != "step"]
    import wandb  # pyright: ignore[reportMissingImports]

    run = wandb.init(project="lethe", dir=str(path.parent if path else "."))
    return lambda row: run.log(dict(row), step=int(row["step"]))
