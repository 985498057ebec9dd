"""Representations layer by layer: what is drawn, what is said of it, and where nothing is."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.report.example import costs

from lethe.report import write_report
from lethe.report.profile import figure, profile
from lethe.report.tables import Group
from lethe.report.view import view
from lethe.runs.results import BenchmarkResult, Results, Row
from lethe.score import Score

LAYERS = ["convolutions.0", "convolutions.1", "penultimate"]


def likeness(variant: str, values: Sequence[float]) -> Score:
    detail = {
        "layers": [0, 1, 2],
        "names": LAYERS,
        "read": LAYERS[-1:],
        "value": list(values),
        "null": [0.02, 0.03, 0.04],
    }
    return Score("cka", variant, "forget", values[-1], values[-1], values[-1], 60, "higher", (-1, 1), detail=detail)


def gap(closed: float, superficial: bool) -> Score:
    nan = float("nan")
    detail = {"gap": 0.3, "error": 0.04, "superficial": superficial, "moved": 0.0, "accuracy_closed": 1.0}
    return Score("representation_gap", "cka", "forget", closed, nan, nan, 60, "higher", (-9, 9), detail=detail)


CONTROL = {"control-seed1": (0.95, 0.8, 0.85), "control-seed2": (0.97, 0.84, 0.83), "control-seed3": (0.96, 0.82, 0.81)}


def scored(row: Row, *, told_apart: bool = True) -> Row:
    """The row with profiles: the head mask keeps all its features, other methods move them."""
    if row.role == "control":
        found = [likeness("control", CONTROL[row.id]), likeness("original", (0.9, 0.6, 0.5))]
    elif row.role == "target" or row.method == "head_mask":
        found = [likeness("control", (0.9, 0.6, 0.53)), likeness("original", (1, 1, 1))]
    else:
        found = [likeness("control", (0.92, 0.7, 0.72)), likeness("original", (0.9, 0.7, 0.6))]
    if told_apart and row.role != "control":
        found.append(gap(0.0 if row.method in ("", "head_mask") else 0.6, row.method == "head_mask"))
    return replace(row, scores=(*row.scores, *found))


def measured(results: Results, **options: bool) -> BenchmarkResult:
    """The classifiers of the example, one of its floors a head mask, with profiles."""
    benchmark = next(one for one in results.benchmarks if one.family == "classifier")
    floor = next(row for row in benchmark.rows if row.role == "floor")
    rows = [replace(row, id="head_mask-seed1", method="head_mask") if row is floor else row for row in benchmark.rows]
    return replace(benchmark, rows=tuple(scored(row, **options) for row in rows))


def lines(benchmark: BenchmarkResult) -> list[Group]:
    return view(Results("", "", (benchmark,), {}, {}), {}).sections[0].lines


def test_each_side_has_its_band_its_original_and_its_null(results: Results):
    found = profile(lines(measured(results)))
    assert found is not None
    assert found.superficial == ("head_mask",)
    assert "CKA of 0.530, a control’s of 0.830 (0.810 to 0.850)" in found.distance
    assert "moves them by 0.300, with a standard error of 0.040" in found.distance
    control, original = found.panels
    assert (control.side, original.side) == ("control", "original")
    assert (control.low, control.high) == ((0.95, 0.8, 0.81), (0.97, 0.84, 0.85))
    assert (control.original, original.original) == ((0.9, 0.6, 0.53), (1, 1, 1))
    assert original.methods["head_mask"] == (1, 1, 1)
    assert control.null == (0.02, 0.03, 0.04)
    assert "head_mask" in found.styles
    assert len(found.styles) + found.others == len(control.methods)


def test_a_panel_says_in_words_what_it_draws(results: Results):
    found = profile(lines(measured(results)))
    assert found is not None
    drawn = str(figure(found.panels[1], found.styles, "here"))
    assert "<title" in drawn
    assert "CKA to the original by layer" in drawn
    assert "head_mask 1.00 1.00 1.00" in drawn
    assert [name for name in LAYERS if f">{name}</text>" in drawn] == LAYERS
    assert not re.search(r"#0a0b[0-9a-f]{2}", drawn)  # every colour became the page's own
    assert drawn == str(figure(found.panels[1], found.styles, "here"))


def test_nothing_is_concluded_within_the_noise_of_two_seeds(results: Results):
    found = profile(lines(measured(results, told_apart=False)))
    assert found is not None
    assert "not shown to be more than the noise of two seeds, so nothing is concluded" in found.distance
    assert found.superficial == ()


def test_without_layers_or_controls_there_is_no_profile(results: Results):
    plain = next(one for one in results.benchmarks if one.family == "classifier")
    assert profile(lines(plain)) is None
    alone = measured(results)
    alone = replace(alone, rows=tuple(row for row in alone.rows if row.role != "control"))
    assert profile(lines(alone)) is None


def test_the_page_shows_it_where_it_was_measured(results: Results, page: str, tmp_path: Path):
    assert 'id="layers"' not in page
    shown = replace(results, benchmarks=(measured(results),))
    write_report(shown, costs(shown), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count('id="layers"') == text.count('href="#layers"') == 1
    section = text[text.index('id="layers"') :]
    section = section[: section.index("</section>")]
    assert section.count('<svg class="plot"') == 2
    assert "Superficial: head_mask." in section
    assert "suppression" in section
    told = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "with a standard error of 0.040. **Superficial: head_mask.** The answers went" in told
