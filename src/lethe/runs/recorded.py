"""Recorded evaluation logs as one table: no model is loaded, everything comes from the per-item record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lethe.data.atomic import write_json
from lethe.data.rescore import rescore_tddbench, rescore_tofu
from lethe.errors import InputError
from lethe.registry import did_you_mean
from lethe.score import Score
from lethe.scoring.variants import one_variant

SCHEMA = 1
ROWS = {"tofu": 300, "open-unlearning": None}  # most rows of a set that each code base evaluates
Convention = Literal["tofu", "open-unlearning"]


@dataclass(frozen=True)
class Recorded:
    """What `results.json` of `lethe bench NAME --from-logs DIR` holds."""

    benchmark: str
    source: str
    controls: tuple[str, ...]
    note: str
    scores: dict[str, tuple[Score, ...]]  # of every recorded model (TOFU, ULD) or algorithm (TDDBench)
    schema: int = SCHEMA

    def columns(self) -> list[str]:
        """Qualified names in order; what differs in variant, or a p-value in its n, is a column of its own."""
        return list(dict.fromkeys(score.name for scores in self.scores.values() for score in scores))

    def column(self, name: str) -> dict[str, Score]:
        """One column: model -> score.

        Raises:
            InputError: If scores of different quantities would stand in it.
        """
        found = {who: score for who, scores in self.scores.items() for score in scores if score.name == name}
        one_variant(score.name for score in found.values())
        return found

    def save(self, folder: str | Path) -> Path:
        """Write `results.json`, atomically; NaN becomes null."""
        path = Path(folder) / "results.json"
        write_json(path, asdict(self), nan="null")
        return path


def read_recorded(
    name: str,
    source: str | Path,
    *,
    control: Sequence[str] = (),
    convention: Convention = "tofu",
    rows: int | None = None,
    seed: int = 0,
) -> Recorded:
    """All aggregates of a benchmark's recorded logs.

    Args:
        name: tofu (the logs of TOFU or ULD) or tddbench (its ROC curves).
        source: Folder of the logs, or one log.
        control: Names of the logs of models that never saw the forget set, as the folder names them.
        convention: tofu reads the first 300 rows of each set, open-unlearning all.
        rows: Most rows of each set, in the place of the convention's.
        seed: Seed of the bootstrap intervals.

    Raises:
        InputError: If a log lacks something, a control is not among them, or the benchmark has no recorded logs.
    """
    readers: dict[str, Callable[[], Recorded]] = {
        "tofu": lambda: _tofu(source, control, convention, rows, seed),
        "tddbench": lambda: _tddbench(source, control, seed),
    }
    if name not in readers:
        near = did_you_mean(name, readers)
        raise InputError(f"{name} has no recorded logs that can be scored{near}; {' and '.join(readers)} have.")
    return readers[name]()


def _tofu(source: str | Path, control: Sequence[str], convention: Convention, rows: int | None, seed: int) -> Recorded:
    if convention not in ROWS:
        raise InputError(f"convention is {convention!r}{did_you_mean(convention, ROWS)}; one of {', '.join(ROWS)}.")
    if rows is not None and rows < 1:
        raise InputError(f"rows is {rows}; it must be at least 1.")
    most = ROWS[convention] if rows is None else rows
    scores = rescore_tofu(source, control=control, rows=most, seed=seed)
    read = "every row that was logged" if most is None else f"at most the first {most} rows"
    return Recorded(
        "tofu",
        str(source),
        tuple(control),
        f"Of each set {read}. Forget quality is read against the controls; its p depends on the number of questions, "
        "which stands in its name.",
        {model: tuple(found) for model, found in scores.items()},
    )


def _tddbench(source: str | Path, control: Sequence[str], seed: int) -> Recorded:
    if control:
        raise InputError("tddbench: recorded curves have no controls; leave --control out.")
    scores = rescore_tddbench(source, seed=seed)
    note = "Thresholds are chosen on the records that they are reported on, as published: optimistic."
    return Recorded("tddbench", str(source), (), note, {name: tuple(found) for name, found in scores.items()})
