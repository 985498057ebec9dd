"""Lists of users before and after, and what a request cost beside retraining."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.example import costs, example

from lethe.report import write_report
from lethe.report.expenses import expenses
from lethe.report.html import html
from lethe.report.markdown import markdown
from lethe.report.rankings import rankings
from lethe.report.tables import groups
from lethe.report.view import view
from lethe.runs.results import BenchmarkResult, Cost, Results, Role, Row


def row(name: str, role: Role, method: str, lists: dict[str, list[int]]) -> Row:
    return Row(name, role, method, 1, {}, f"sha of {name}", 0, (), lists=lists)


def shop() -> BenchmarkResult:
    rows = (
        row("target", "target", "", {"4": [7, 3, 9], "5": [1, 2]}),
        row("control-seed1", "control", "", {"4": [3, 9, 8], "5": [1, 2]}),
        row("reverse_bpr-seed1", "method", "reverse_bpr", {"4": [3, 8, 9], "5": [2, 1]}),
        row("retrain-seed1", "method", "retrain", {"4": [9, 3], "5": [1, 2]}),
    )
    listed = ({"user": 4, "forgotten": [7, 30], "retained": 0}, {"user": 5, "forgotten": [], "retained": 2})
    return BenchmarkResult(
        "shop", "recommender", "half", "tiny", "", {"forget": 2}, "", "", "", (), (), rows,
        listed=listed, named={"7": "A <b>withdrawn</b> | book"},
    )  # fmt: skip


def test_forgotten_items_and_moves_are_told():
    benchmark = shop()
    one, other = rankings(benchmark, groups(benchmark))
    assert (one.user, one.about) == ("user 4", "2 interactions to be forgotten, none retained")
    assert other.about == "nothing to be forgotten, 2 retained"
    assert one.columns[0] == "before"
    before, after = ([places[column] for places in one.places] for column in (0, one.columns.index("reverse_bpr")))
    assert [(entry.item, entry.forgotten, entry.moved) for entry in before if entry] == [
        ("A <b>withdrawn</b> | book", True, ""), ("item 3", False, ""), ("item 9", False, ""),
    ]  # fmt: skip
    assert [(entry.item, entry.moved) for entry in after if entry] == [
        ("item 3", "was 2"), ("item 8", "new"), ("item 9", ""),
    ]  # fmt: skip
    assert one.found[0] == "1"
    assert set(one.found[1:]) == {"0"}
    shorter = [places[one.columns.index("retrain")] for places in one.places]
    assert shorter[-1] is None


def test_pages_hold_the_lists_and_nothing_of_a_name_acts():
    results = Results("t", "lethe bench shop", (shop(),), {}, {})
    shown = view(results, {})
    page, text = html(shown), markdown(shown)
    assert 'id="rankings"' in page
    assert "A &lt;b&gt;withdrawn&lt;/b&gt; | book" in page
    assert "<b>withdrawn" not in page + text
    assert "## What users are shown" in text
    assert r"| 1 | A &lt;b&gt;withdrawn&lt;/b&gt; \| book † |" in text
    assert "item 3 (was 2)" in text


def test_results_without_lists_have_no_such_section(tmp_path: Path):
    results = example()
    write_report(results, costs(results), tmp_path)
    assert "What users are shown" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What users are shown" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_costs_stand_beside_retraining_and_say_when_preparing_pays():
    benchmark = shop()
    known = {
        "shop/retrain-seed1": Cost(12.0, 1.0),
        "shop/reverse_bpr-seed1": Cost(2.0, 1.0, prepared=35.0),
    }
    found = {one.label: one for one in expenses("shop", groups(benchmark), known)}
    assert (found["reverse_bpr"].speedup, found["reverse_bpr"].break_even) == ("6.0×", "4")
    assert found["reverse_bpr"].prepared == "35.0"
    assert found["retrain"].break_even == ""
    slow = known | {"shop/reverse_bpr-seed1": Cost(20.0, 1.0, prepared=35.0)}
    assert {one.label: one.break_even for one in expenses("shop", groups(benchmark), slow)}["reverse_bpr"] == "never"
    del known["shop/retrain-seed1"]
    assert not any(one.speedup for one in expenses("shop", groups(benchmark), known))


@pytest.mark.parametrize("field", ["listed", "named"])
def test_results_come_back_from_their_file(field: str, tmp_path: Path):
    import json

    from lethe.runs.results import load_results

    results = Results("t", "lethe bench shop", (replace(shop()),), {}, {})
    back = load_results(json.loads((results.save(tmp_path)).read_text(encoding="utf-8")))
    assert getattr(back.benchmarks[0], field) == getattr(results.benchmarks[0], field)
    assert [one.lists for one in back.benchmarks[0].rows] == [one.lists for one in results.benchmarks[0].rows]
