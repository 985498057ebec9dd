import math
from dataclasses import replace

import pytest

from lethe.report.tables import Cell, cell, column, columns, groups, names
from lethe.runs.results import BenchmarkResult, Results, Row
from lethe.score import Direction, Score
from lethe.scoring.intervals import control_threshold


def score(value: float, direction: Direction = "control", name: str = "m", **changes: float) -> Score:
    return replace(Score(name, "", "forget", value, value - 1, value + 1, 40, direction, (0, 1)), **changes)


def row(identifier: str, role: str, *scores: Score, **options: float) -> Row:
    return Row(identifier, role, "" if role in ("target", "control") else "npo", 1, options, "", 0, scores)  # pyright: ignore[reportArgumentType]


def benchmark(*rows: Row, **changes: object) -> BenchmarkResult:
    made = BenchmarkResult(
        "b", "language", "", "", "", {}, "u@utility", "m@forget", "d@forget", ("m@forget",), (), rows
    )
    return replace(made, **changes)


def placed(value: float, direction: Direction, controls: tuple[float, ...]) -> Cell:
    """The cell of one method beside those controls."""
    rows = [row(f"control-seed{i}", "control", score(v, direction)) for i, v in enumerate(controls)]
    lines = groups(table := benchmark(*rows, row("npo-seed1", "method", score(value, direction))))
    return column(table, lines, "m@forget").cells[-1]


def test_seeds_of_one_method_are_one_line_and_other_options_another():
    lines = groups(
        benchmark(
            row("npo-seed1", "method", beta=0.1, seed=1),
            row("control-seed2", "control"),
            row("npo-seed2", "method", beta=0.1, seed=2),
            row("npo-seed1b", "method", beta=0.1, seed=1),
            row("target", "target"),
            row("control-seed1", "control"),
        )
    )
    assert [(line.label, len(line.rows)) for line in lines] == [
        ("target", 1), ("control", 2), ("npo", 2), ("npo-seed1b", 1),
    ]  # fmt: skip


def test_configurations_of_one_name_are_told_apart_by_what_differs():
    rows = [row("npo-seed1", "method", beta=beta, lr=0.01, seed=1) for beta in (0.1, 0.5)]
    assert [line.label for line in groups(benchmark(*rows))] == ["npo (beta=0.1)", "npo (beta=0.5)"]


def test_one_seed_has_its_interval_over_items_and_several_have_their_spread():
    one, two, three = (row(f"npo-seed{i}", "method", score(value)) for i, value in enumerate((1.0, 2.0, 6.0)))
    single = cell(groups(benchmark(one))[0], "m@forget")
    assert (single.value, single.low, single.high, single.sd) == (1.0, 0.0, 2.0, None)
    several = cell(groups(benchmark(one, two, three))[0], "m@forget")
    assert several.value == 3.0
    assert several.sd == pytest.approx(math.sqrt(7))  # divisor n - 1
    assert several.low is None
    assert several.spread(1) == "± 2.6"


def test_what_was_not_measured_says_so_and_is_not_averaged():
    known, unknown = row("npo-seed1", "method", score(0.5)), row("npo-seed2", "method", score(math.nan))
    assert cell(groups(benchmark(known, unknown))[0], "m@forget").value == 0.5
    assert cell(groups(benchmark(unknown))[0], "m@forget").missing == "no finite value"
    nothing = cell(groups(benchmark(known))[0], "other@forget")
    assert (nothing.value, nothing.missing, nothing.text(3)) == (None, "not measured", "–")


def test_closeness_counts_spreads_on_the_wrong_side_of_the_controls():
    controls = (0.4, 0.5, 0.6)  # mean 0.5, sd 0.1
    assert placed(0.8, "control", controls).z == pytest.approx(3)
    assert placed(0.2, "control", controls).z == pytest.approx(3)  # below the control is no better than above
    assert placed(0.8, "lower", controls).z == pytest.approx(3)
    assert placed(0.2, "lower", controls).z == 0
    assert placed(0.2, "higher", controls).z == pytest.approx(3)
    assert placed(0.8, "higher", controls).z == 0


def test_bands_follow_the_threshold_for_one_more_control():
    limit = control_threshold(3, 1)  # 4.97 for three controls
    assert limit == pytest.approx(4.97, abs=0.01)
    for z, band in ((0.99 * limit, "near"), (1.01 * limit, "off"), (2.99 * limit, "off"), (3.01 * limit, "far")):
        assert placed(0.5 + 0.1 * z, "control", (0.4, 0.5, 0.6)).band == band


@pytest.mark.parametrize("controls", [(), (0.5,), (0.5, 0.5, 0.5)])
def test_without_a_spread_there_is_no_closeness(controls: tuple[float, ...]):
    one = placed(0.9, "control", controls)
    assert (one.z, one.band, one.spreads) == (None, "", "")


def test_the_controls_value_comes_from_the_scores_where_no_control_has_a_row():
    table = benchmark(row("npo-seed1", "method", score(0.9, reference=0.4)))
    one = column(table, groups(table), "m@forget")
    assert one.control.value == 0.4
    assert one.cells[0].z is None


def test_the_distance_stands_first_on_forget_then_on_retain(results: Results):
    for table in results.benchmarks:
        order = names(table)
        assert order[:2] == ["distance.kl@forget", "distance.kl@retain"]
        assert sorted(order) == sorted(table.columns)  # nothing lost, nothing twice


def test_a_missing_distance_keeps_its_column():
    table = benchmark(row("npo-seed1", "method", score(0.5)))
    shown = columns(table, groups(table))
    assert [one.name for one in shown] == ["d@forget", "m@forget"]
    assert shown[0].cells[0].missing == "not measured"


def test_variants_never_share_a_column(results: Results):
    table = results.benchmarks[0]
    shown = {one.name: one for one in columns(table, groups(table))}
    assert {"forget_quality.ks_d@forget", "forget_quality.ks_p@forget"} <= set(shown)
    for name, one in shown.items():
        found = [row.score(name) for row in table.rows]
        assert all(score is None or score.variant == one.variant for score in found)
