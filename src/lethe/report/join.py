"""Rows of several runs in one table: only where they measured the same thing, against the same models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lethe.data.atomic import write_json
from lethe.errors import InputError
from lethe.report.folder import load_folder, write_report
from lethe.report.tables import stem
from lethe.runs.results import BenchmarkResult, Cost, Results, Row
from lethe.scoring.variants import one_variant, take_apart

SAME = ("family", "split", "source", "note", "utility", "knowledge", "distance")  # of two runs that may be joined


def join(runs: Sequence[tuple[str, Results, Mapping[str, Cost]]]) -> tuple[Results, dict[str, Cost]]:
    """Several runs as one: the rows of a benchmark under each other, target and controls once.

    Refused is whatever would put different quantities into one column: another split, protocol (which rows are read,
    how long is generated), request or target, other controls, another variant of a metric, another number of items.

    Args:
        runs: Name of each run (its folder), its results, and the cost of its rows.

    Raises:
        InputError: If two runs of one benchmark differ in any of these, or hold different rows of one name.
    """
    if len(runs) < 2:
        raise InputError("There is nothing to join; name the folders of two or more runs.")
    benchmarks: dict[str, tuple[str, BenchmarkResult]] = {}
    costs: dict[str, Cost] = {}
    for where, results, cost in runs:
        costs = {**cost, **costs}
        for found in results.benchmarks:
            known = benchmarks.get(found.name)
            benchmarks[found.name] = (known[0], _joined(*known, where, found)) if known else (where, found)
    environments = [results.environment for _, results, _ in runs]
    joined = Results(
        title=" and ".join(dict.fromkeys(results.title for _, results, _ in runs)),
        command="; ".join(dict.fromkeys(results.command for _, results, _ in runs)),
        benchmarks=tuple(found for _, found in benchmarks.values()),
        environment={
            name: " / ".join(dict.fromkeys(str(one[name]) for one in environments if name in one))
            for name in dict.fromkeys(name for one in environments for name in one)
        },
        config={"joined": {where: results.config for where, results, _ in runs}},
    )
    return joined, costs


def write_again(folders: Sequence[Path], out: Path | None = None) -> Results:
    """Write the report of a run's folder again; of several, their joined results and report to `out`.

    Raises:
        InputError: If there are no results, several folders come without `out`, or their runs do not fit each other.
    """
    runs = [(str(folder), *load_folder(folder)) for folder in folders]
    if len(runs) == 1 and out is None:
        _, results, costs = runs[0]
        write_report(results, costs, folders[0])
        return results
    if out is None or len(runs) == 1:
        raise InputError("Several runs are joined into a folder of their own: name two or more, and give --out.")
    results, costs = join(runs)
    results.save(out)
    write_json(out / "cost.json", {name: asdict(cost) for name, cost in sorted(costs.items())})
    write_report(results, costs, out)
    return results


def _joined(where: str, one: BenchmarkResult, place: str, other: BenchmarkResult) -> BenchmarkResult:
    who = f"{where} and {place}: {one.name}"
    for name in SAME:
        if getattr(one, name) != getattr(other, name):
            raise InputError(
                f"{who} differs in its {name} ({getattr(one, name)!r}, {getattr(other, name)!r}); keep two tables."
            )
    if one.request.get("fingerprint") != other.request.get("fingerprint"):
        raise InputError(f"{who} was asked to forget other records; keep two tables.")
    _same_variants(one.columns, other.columns)
    _same_sizes(who, one, other)
    for role in ("target", "control"):
        mine, theirs = ([row.model for row in found.of_role(role)] for found in (one, other))
        if mine != theirs:
            raise InputError(f"{who} has another {role} (other weights); what is read against one is no row beside it.")
    rows = list(one.rows)
    for row in other.rows:
        rows += _new(who, Path(place).name, rows, row)
    columns = tuple(dict.fromkeys((*one.columns, *other.columns)))
    return replace(one, rows=tuple(rows), columns=columns)


def _same_variants(columns: Sequence[str], others: Sequence[str]) -> None:
    """A metric of a set that both measured must be measured in one variant that both have."""
    for name in others:
        metric, _, of = take_apart(name)
        alike = [known for known in columns if (take_apart(known).metric, take_apart(known).set) == (metric, of)]
        if alike and name not in alike and not set(alike) & set(others):
            one_variant([alike[0], name])


def _same_sizes(who: str, one: BenchmarkResult, other: BenchmarkResult) -> None:
    sizes = {score.name: score.n for row in one.rows for score in row.scores}
    for score in (score for row in other.rows for score in row.scores):
        if sizes.get(score.name, score.n) != score.n:
            raise InputError(
                f"{who}: {score.name} is over {sizes[score.name]} items in one and {score.n} in the other; "
                "evaluate the same rows."
            )


def _new(who: str, place: str, rows: Sequence[Row], row: Row) -> list[Row]:
    """The row, or nothing where it stands there already; a floor that was matched to other methods is named apart."""
    known = next((one for one in rows if one.id == row.id), None)
    if known is None:
        return [row]
    if (known.model, known.options, known.failure) != (row.model, row.options, row.failure):
        if row.role == "floor":
            return [replace(row, id=f"{stem(row.id)} ({place})-seed{row.seed}")]
        raise InputError(f"{who}: both hold a row {row.id}, of different models; name one of them otherwise.")
    return []
