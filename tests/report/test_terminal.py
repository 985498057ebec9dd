import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.report.example import large

from lethe.report import terminal_table
from lethe.runs.results import BenchmarkResult, Results


def shown(results: Results, place: int, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(terminal_table(results.benchmarks[place]))
    return capture.get()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_table_fits_and_nothing_is_cut(results: Results, place: int, width: int):
    text = shown(results, place, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in results.benchmarks[place].rows:
        assert row.method in text


def test_the_verdict_stands_under_the_name(results: Results):
    lines = shown(results, 0, 80).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(" npo ×3"))
    assert lines[place + 1].startswith(" consistent with")
    assert lines[place + 2].startswith(" removal E3")


def test_what_was_not_tested_is_said(results: Results):
    text = " ".join(shown(results, 0, 80).split())
    assert "Not tested: R1 Jailbreak prefixes (all); N1 Linear probe on every layer (all)." in text
    ga = next(line for line in shown(results, 0, 80).splitlines() if line.startswith(" ga"))
    assert ga.rstrip().endswith("not tested")  # no attack was made on it


def test_merging_is_not_counted_among_what_came_back(results: Results):
    """It puts the original's weights back: whatever was truly deleted fails it as well, so it decides nothing."""

    def last(benchmark: BenchmarkResult) -> tuple[str, str]:
        told = shown(replace(results, benchmarks=(benchmark,)), 0, 80).splitlines()
        place = next(i for i, line in enumerate(told) if line.startswith(" rmu"))
        return told[place].split()[-1], told[place + 1].split()[-1]

    table = results.benchmarks[0]
    before = last(table)
    changed = []
    for row in table.rows:
        worst = [replace(one, attack="merge", check="R6", adjusted=1.4) for one in row.recoveries[:1]]
        changed.append(replace(row, recoveries=(*row.recoveries, *worst)))
    assert last(replace(table, rows=tuple(changed))) == before != ("1.40", "merge")
    alone = [replace(row, recoveries=row.recoveries[-1:]) for row in changed]
    assert last(replace(table, rows=tuple(alone)))[0] == "tested"  # "not tested"


def test_the_distances_come_first_and_have_their_intervals(results: Results):
    head, *rows = [line for line in shown(results, 0, 80).splitlines() if line.strip()][1:]
    assert head.split()[:3] == ["model", "distance", "distance"]
    place = next(i for i, line in enumerate(rows) if line.startswith(" simnpo"))
    score = next(row for row in results.benchmarks[0].rows if row.id == "simnpo-seed1").score("distance.kl@forget")
    assert score
    assert f"{score.value:.2f}" in rows[place]
    assert f"[{score.low:.2f},{score.high:.2f}]" in rows[place + 1]


def test_twenty_methods_fit(results: Results):
    text = shown(large(results), 0, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"method_{i:02}" in text for i in range(20))
