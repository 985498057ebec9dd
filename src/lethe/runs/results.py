"""The result of a run as data: what `results.json` holds and the report draws.

Everything in it is a function of seeds and configuration, so two runs of one command give the same bytes; seconds and
memory stand in `cost.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lethe.data.atomic import write_json
from lethe.findings import Check, LeftOut, Point, Recovery, Verdict
from lethe.score import Score
from lethe.scoring.blind import Split

SCHEMA = 1
Role = Literal["target", "control", "floor", "method"]


@dataclass(frozen=True)
class Row:
    """One model that was looked at."""

    id: str  # "npo-seed1", "target", "control-seed2", ...
    role: Role
    method: str  # registered name; "" for target and controls
    seed: int
    options: dict[str, Any]
    model: str  # fingerprint of the weights
    changed: int  # weights that differ from the target's
    scores: tuple[Score, ...]
    recoveries: tuple[Recovery, ...] = ()
    verdict: Verdict | None = None
    answers: tuple[str, ...] = ()  # what the model says to each forget question / label / rank, aligned with `items`
    card: dict[str, str] = field(default_factory=dict)  # of the method: intent, level, paper; preset, guard, departs...
    trained: int | None = None  # parameters that an optimiser moved; None where that is not known
    evidence: str = ""  # key of what was observed of the model
    failure: str = ""  # why there is no model, in one line; such a row has no scores
    left_out: tuple[LeftOut, ...] = ()  # attacks that were meant for it and could not be made
    lists: dict[str, list[int]] = field(default_factory=dict)  # first items of sampled users of a recommender

    def score(self, name: str) -> Score | None:
        """The score of that qualified name, or None."""
        return next((score for score in self.scores if score.name == name), None)


@dataclass(frozen=True)
class Cost:
    """What a row cost: kept apart from the results because it is not reproducible."""

    seconds: float
    peak_memory_mib: float
    prepared: float = 0.0  # seconds of what serves further requests as well, beside `seconds`


@dataclass(frozen=True)
class Blind:
    """Whether the forget and the holdout texts can be told apart by classifiers that never saw a model.

    Where they can, the split is confounded, and an AUC of membership on it says nothing of any model.
    """

    verdict: str  # confounded, undecided, clean or not tested
    reason: str = ""  # why it was not tested
    worst: str = ""  # the baseline that tells most
    baselines: dict[str, list[float]] = field(default_factory=dict)  # words, length, years -> AUC and its interval

    @classmethod
    def of(cls, split: Split) -> Blind:
        """The result as plain numbers."""
        found = {name: [one.auc, one.interval.low, one.interval.high] for name, one in split.baselines.items()}
        return cls(split.verdict, worst=split.worst, baselines=found)


@dataclass(frozen=True)
class BenchmarkResult:
    """All rows of one benchmark, with what is needed to read them."""

    name: str
    family: str
    split: str
    source: str
    note: str
    request: dict[str, Any]  # fingerprint, counts, intent, scope, seed
    utility: str  # qualified name of the utility score
    knowledge: str  # qualified name of the knowledge score on the forget set
    distance: str  # qualified name of the distance to the control on the forget set
    columns: tuple[str, ...]  # qualified score names in table order
    items: tuple[dict[str, str], ...]  # id, question, truth of each forget item
    rows: tuple[Row, ...]
    blind: Blind | None = None  # of the split that membership is measured on; texts only
    passes: dict[str, int] = field(default_factory=dict)  # per model: texts asked for, distinct texts, prompts; reused
    budget: str = ""  # of an audit: quick, standard or thorough
    left_out: tuple[LeftOut, ...] = ()  # attacks that no row was given: too dear, or not for these models and records
    listed: tuple[dict[str, Any], ...] = ()  # users of a recommender whose lists are told: user, forgotten, retained
    named: dict[str, str] = field(default_factory=dict)  # what items are called, by id

    def of_role(self, role: Role) -> list[Row]:
        """Rows of one role."""
        return [row for row in self.rows if row.role == role]


@dataclass(frozen=True)
class Results:
    """Everything a report shows."""

    title: str
    command: str
    benchmarks: tuple[BenchmarkResult, ...]
    environment: dict[str, str]
    config: dict[str, Any]
    schema: int = SCHEMA

    def save(self, folder: str | Path) -> Path:
        """Write `results.json`, atomically and with sorted keys; NaN becomes null."""
        path = Path(folder) / "results.json"
        write_json(path, asdict(self), nan="null")
        return path


def load_results(data: Mapping[str, Any]) -> Results:
    """Rebuild `Results` from parsed JSON."""
    return Results(**{**data, "benchmarks": tuple(_benchmark(entry) for entry in data["benchmarks"])})


def _benchmark(data: Mapping[str, Any]) -> BenchmarkResult:
    rows = tuple(load_row(entry) for entry in data["rows"])
    blind = Blind(**data["blind"]) if data.get("blind") else None
    lists = {name: tuple(data[name]) for name in ("columns", "items")}
    lists |= {"left_out": _load_left_out(data.get("left_out", ())), "listed": tuple(data.get("listed", ()))}
    return BenchmarkResult(**{**data, **lists, "rows": rows, "blind": blind})


def load_row(data: Mapping[str, Any]) -> Row:
    """Rebuild a `Row` from parsed JSON."""
    verdict = data["verdict"] and _load_verdict(data["verdict"])
    recoveries = tuple(
        Recovery(**{**entry, "points": tuple(Point(**point) for point in entry["points"])})
        for entry in data["recoveries"]
    )
    scores = tuple(Score(**{**s, "range": tuple(s["range"]), "items": tuple(s["items"])}) for s in data["scores"])
    return Row(
        **{**data, "scores": scores, "recoveries": recoveries, "verdict": verdict, "answers": tuple(data["answers"]),
           "left_out": _load_left_out(data.get("left_out", ()))}
    )  # fmt: skip


def _load_verdict(data: Mapping[str, Any]) -> Verdict:
    checks = tuple(Check(**check) for check in data["checks"])
    return Verdict(**{**data, "checks": checks, "left_out": _load_left_out(data.get("left_out", ()))})


def _load_left_out(data: Iterable[Mapping[str, Any]]) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(**one) for one in data)
