"""The table of all methods: one line a model, mean over seeds with its interval, nothing dropped."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.example import costs

from lethe.benchmarks.tofu import PRESETS
from lethe.registry import find
from lethe.report.overview import estimate, head, lines, write_overview
from lethe.report.tables import groups
from lethe.runs.results import BenchmarkResult, Cost, Results


@pytest.fixture
def language(results: Results) -> BenchmarkResult:
    return next(one for one in results.benchmarks if one.family == "language")


def over_seeds(benchmark: BenchmarkResult, values: tuple[float, ...]) -> BenchmarkResult:
    """The benchmark with NPO under several seeds, which differ in their distance alone; the last one failed."""
    (npo,) = [row for row in benchmark.rows if row.id.startswith("npo-seed1")]
    others = [row for row in benchmark.rows if not row.id.startswith("npo-seed")]
    seeds = []
    for seed, value in enumerate(values, 1):
        scores = [replace(s, value=value) if s.name == benchmark.distance else s for s in npo.scores]
        seeds.append(replace(npo, id=f"npo-seed{seed}", seed=seed, scores=tuple(scores), trained=1000))
    failed = replace(
        npo, id=f"npo-seed{len(values) + 1}", scores=(), recoveries=(), verdict=None, failure="It | broke."
    )
    return replace(benchmark, rows=(*others, *seeds, failed))


def test_every_model_has_a_line_and_methods_stand_by_their_distance(results: Results, language: BenchmarkResult):
    shown = lines(language, costs(results))
    assert all(len(line.cells) == len(head(language, costs(results))) for line in shown)
    methods = {row.method for row in language.of_role("method")}
    assert methods <= {line.cells[0].split()[0].removesuffix(",") for line in shown}
    ends = [line.cells[0].split()[0] for line in shown]
    assert ends[:2] == ["target", "control"]
    assert ends.index("npo") < ends.index("rmu") < ends.index("ga")


def test_a_method_over_seeds_has_its_mean_with_the_interval_and_what_failed(
    results: Results, language: BenchmarkResult, tmp_path: Path
):
    benchmark = over_seeds(language, (2.0, 3.0, 4.0))
    (npo,) = [line for line in lines(benchmark, {}) if line.cells[0].startswith("npo")]
    assert npo.cells[0] == "npo (4 seeds)"
    # t(0.975, 2) = 4.303 times 1 / sqrt(3); the fourth seed failed
    assert npo.cells[1] == "3.000 [0.516, 5.484], n = 3"
    assert npo.cells[5].endswith(", n = 3")
    assert npo.cells[-1] == "1,000"
    assert npo.failures == ("npo-seed4 failed: It | broke.",)
    page = write_overview(replace(results, benchmarks=(benchmark,)), {}, tmp_path).read_text(encoding="utf-8")
    assert "npo-seed4 failed: It \\| broke." in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert {line.count(" | ") for line in rows} == {len(head(benchmark, {})) - 1}


def test_where_every_seed_has_a_value_their_number_stands_at_the_name_alone(
    results: Results, language: BenchmarkResult
):
    benchmark = over_seeds(language, (2.0, 3.0, 4.0))
    benchmark = replace(benchmark, rows=tuple(row for row in benchmark.rows if not row.failure))
    (npo,) = [line for line in lines(benchmark, {}) if line.cells[0].startswith("npo")]
    assert npo.cells[:2] == ("npo (3 seeds)", "3.000 [0.516, 5.484]")
    assert not any("n =" in text for line in lines(language, costs(results)) for text in line.cells)
    assert estimate([0.5], of=2) == "0.500, n = 1" and estimate([], of=3) == "–"


def test_what_is_not_the_papers_method_is_told_at_its_name(language: BenchmarkResult, results: Results, tmp_path: Path):
    """Of a row, so in every table, plot and verdict that shows it."""
    assert find("method", "rocr").departure(PRESETS["rocr"]) == "at=answer"
    assert not find("method", "rocr").departure({"at": "subject"})
    (npo,) = [row for row in language.rows if row.id == "npo-seed1"]
    other = replace(npo, id="rocr-seed1", method="rocr", card={**npo.card, "departs": "at=answer"})
    named = replace(other, id="rocr-at=answer-seed1")
    benchmark = replace(language, rows=(*language.rows, other))
    assert "rocr (at=answer)" in [line.label for line in groups(benchmark)]
    assert "rocr-at=answer" in [line.label for line in groups(replace(language, rows=(*language.rows, named)))]
    text = write_overview(replace(results, benchmarks=(benchmark,)), {}, tmp_path).read_text(encoding="utf-8")
    assert "| rocr (at=answer) |" in text


@pytest.mark.parametrize(
    ("values", "text"), [([], "–"), ([0.5], "0.500"), ([0.5, 0.5], "0.500 [0.500, 0.500]"), ([0.0], "0.000")]
)
def test_an_interval_needs_two_seeds(values: list[float], text: str):
    assert estimate(values) == text


def test_a_recommenders_columns_and_what_it_gains_over_retraining(results: Results):
    benchmark = next(one for one in results.benchmarks if one.family == "recommender")
    (row,) = benchmark.of_role("method")
    again = replace(row, id="retrain-seed1", method="retrain")
    named = replace(benchmark, rows=(*benchmark.rows, again))
    spent = {
        f"{benchmark.name}/{again.id}": Cost(10.0, 100.0),
        f"{benchmark.name}/{row.id}": Cost(2.0, 50.0, prepared=30.0),
    }
    titles = head(named, spent)
    assert titles[3:5] == ("Score distance", "Forget recall")
    assert titles[-5:] == ("Seconds", "Prepared", "Retraining", "MiB", "Trained")
    shown = {line.cells[0]: line.cells for line in lines(named, spent)}
    assert shown["retrain"][-5:-1] == ("10.0", "–", "1.0×", "100")
    assert shown[row.method][-5:-1] == ("2.0", "30.0", "5.0×", "50")
    assert head(benchmark, {})[-3:] == ("Seconds", "MiB", "Trained")
