"""Several runs in one table: joined where they measured the same thing, refused where a column would mix two."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lethe.data.atomic import write_json
from lethe.errors import InputError
from lethe.report import load_folder
from lethe.report.join import join, write_again
from lethe.runs.results import BenchmarkResult, Results

from .example import example

CHANGES: dict[str, tuple[Callable[[BenchmarkResult], BenchmarkResult], str]] = {
    "split": (lambda one: replace(one, split="forget05"), "differs in its split"),
    "protocol": (lambda one: replace(one, note="200 new tokens"), "differs in its note"),
    "request": (lambda one: replace(one, request={**one.request, "fingerprint": "0"}), "to forget other records"),
    "target": (lambda one: other_weights(one, "target"), "another target"),
    "control": (lambda one: other_weights(one, "control"), "another control"),
    "variant": (lambda one: renamed(one, "rougeL_recall.stem", "rougeL_f1"), "is another quantity"),
    "items": (lambda one: counted(one, 39), "is over 40 items in one and 39 in the other"),
    "row": (lambda one: other_weights(one, "method"), "both hold a row"),
}


def other_weights(one: BenchmarkResult, role: str) -> BenchmarkResult:
    return replace(one, rows=tuple(replace(row, model="0") if row.role == role else row for row in one.rows))


def renamed(one: BenchmarkResult, old: str, new: str) -> BenchmarkResult:
    rows = tuple(
        replace(row, scores=tuple(replace(s, variant=new) if s.variant == old else s for s in row.scores))
        for row in one.rows
    )
    return replace(one, rows=rows, columns=tuple(name.replace(f".{old}@", f".{new}@") for name in one.columns))


def counted(one: BenchmarkResult, n: int) -> BenchmarkResult:
    rows = tuple(replace(row, scores=tuple(replace(score, n=n) for score in row.scores)) for row in one.rows)
    return replace(one, rows=rows)


def only(benchmark: BenchmarkResult, *methods: str) -> BenchmarkResult:
    kept = [row for row in benchmark.rows if row.role in ("target", "control", "floor") or row.method in methods]
    return replace(benchmark, rows=tuple(kept))


def of(benchmark: BenchmarkResult) -> Results:
    return replace(example(), benchmarks=(benchmark,))


def test_methods_of_two_runs_stand_under_each_other():
    first = example().benchmarks[0]
    joined, _ = join([("a", of(only(first, "npo")), {}), ("b", of(only(first, "rmu", "npo")), {})])
    (found,) = joined.benchmarks
    assert found.rows == (*only(first, "npo").rows, *(row for row in first.rows if row.method == "rmu"))
    assert found.columns == first.columns


def test_a_floor_that_was_matched_otherwise_is_named_apart():
    first = example().benchmarks[0]
    other = replace(first, rows=tuple(replace(r, model="0") if r.method == "noise" else r for r in first.rows))
    (found,) = join([("runs/a", of(first), {}), ("runs/b", of(other), {})])[0].benchmarks
    assert [row.id for row in found.rows if row.method == "noise"] == ["noise-seed1", "noise (b)-seed1"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_would_mix_two_quantities_is_refused(change: str):
    first = example().benchmarks[0]
    changed, message = CHANGES[change]
    with pytest.raises(InputError, match=message):
        join([("a", of(first), {}), ("b", of(changed(first)), {})])


def test_runs_are_joined_from_their_folders(tmp_path: Path):
    first = example().benchmarks[0]
    for name, method in (("a", "npo"), ("b", "rmu")):
        of(only(first, method)).save(tmp_path / name)
        write_json(tmp_path / name / "cost.json", {f"authors/{method}-seed1": {"seconds": 1, "peak_memory_mib": 2}})
    write_again([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    results, costs = load_folder(tmp_path / "both")
    assert {row.method for row in results.benchmarks[0].rows} >= {"npo", "rmu"}
    assert set(costs) == {"authors/npo-seed1", "authors/rmu-seed1"}
    assert "rmu" in (tmp_path / "both" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="give --out"):
        write_again([tmp_path / "a", tmp_path / "b"])


def test_the_command_joins_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from lethe.cli import report

    first = example().benchmarks[0]
    of(only(first, "npo")).save(tmp_path / "a")
    of(renamed(only(first, "rmu"), "rougeL_recall.stem", "rougeL_f1")).save(tmp_path / "b")
    of(only(first, "rmu")).save(tmp_path / "c")
    report([tmp_path / "a", tmp_path / "c"], tmp_path / "both")
    assert "both/report.html" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"rouge.rougeL_f1@forget is another quantity"):
        report([tmp_path / "a", tmp_path / "b"], tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()
