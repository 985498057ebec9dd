"""The map of attacks against methods, the panels beside it, and the directions that it holds."""

from dataclasses import replace

import numpy as np
import pytest
from tests.report.test_attackers import recovery

from lethe.findings import LeftOut, Recovery
from lethe.report.attacks import curves
from lethe.report.directions import Directions, directions
from lethe.report.heat import MARKS, SHADES, heat
from lethe.report.numbers import share
from lethe.report.panels import FEW, tiers
from lethe.report.plots import styles
from lethe.report.tables import Column, Group, columns, groups
from lethe.runs.results import Results, Row


def group(name: str, *recoveries: Recovery, left_out: tuple[LeftOut, ...] = ()) -> Group:
    return Group(name, "method", (Row(name, "method", name, 1, {}, "", 0, (), recoveries, left_out=left_out),))


def test_every_cell_has_its_worst_setting_or_the_reason_why_there_is_none():
    lines = [
        group("npo", recovery("relearn", "R3", 0.2, lr=0.1), recovery("relearn", "R3", 0.7, lr=0.2)),
        group("ga", recovery("relearn", "R3", None, control=None)),
        group("idk", replace(recovery("relearn", "R3", None), before=0.89)),
        group("rmu", left_out=(LeftOut("relearn:lr=0.1", "R3", "out of memory", failed=True),)),
        group("dpo", left_out=(LeftOut("relearn", "R3", "too dear"),)),
        group("whp"),
    ]
    (strip,) = heat(lines, curves(lines)).strips
    assert [spot.text for spot in strip.spots] == ["0.70", "?", "∅", "×", "–", "–"]
    assert [spot.told for spot in strip.spots] == [
        "relearn (lr=0.2) 0.70 [0.60, 0.80], the worst of 2 settings, n = 20", "no control was attacked",
        "nothing was removed", "the attack broke: out of memory", "not tested: too dear", "not tested",
    ]  # fmt: skip
    assert {spot.state for spot in strip.spots} - {""} <= set(MARKS)
    assert strip.settings == 2


@pytest.mark.parametrize(("value", "shade"), [(-1.0, 0), (0.05, 0), (0.06, 1), (0.2, 1), (0.21, 2), (0.8, 4), (1.5, 5)])
def test_a_shade_ends_where_the_audit_stops_tolerating(value: float, shade: int):
    lines = [group("npo", recovery("relearn", "R3", value))]
    spot = heat(lines, curves(lines)).strips[0].spots[0]
    assert (spot.shade, spot.key) == (shade, f"shade-{shade}")
    assert len(SHADES) == 5


def test_attacks_stand_by_evidence_class_and_line():
    made = (recovery("relearn", "R3", 0.1), replace(recovery("hint", "R2", 0.1), evidence_class="E2"))
    made += (recovery("embedding", "R7", 0.2), recovery("latent", "R7", 0.6))
    lines = [group("npo", *made)]
    assert [one.attack for one in heat(lines, curves(lines)).strips] == ["hint", "relearn", "latent", "embedding"]


def test_what_brought_nothing_back_is_folded_away_only_where_there_are_many():
    few = [group("npo", recovery("relearn", "R3", 0.1), recovery("latent", "R7", 0.6))]
    (tier,) = tiers("a", curves(few), ["npo"], {})
    assert [panel.first.attack for panel in tier.shown] == ["latent", "relearn"]
    assert not tier.folded
    made = [recovery(f"attack{i}", "R7", 0.1) for i in range(FEW)]
    made += [recovery("relearn", "R3", 0.9, lr=0.1), recovery("relearn", "R3", 0.5, lr=0.2)]
    (tier,) = tiers("a", curves([group("npo", *made)]), ["npo", "ga"], {})
    assert [panel.first.named for panel in tier.shown] == ["relearn (lr=0.1)"]
    assert len(tier.folded) == FEW + 1
    assert tier.shown[0].untested == ("ga",)
    assert "0.90 [0.80, 1.00] came back" in tier.shown[0].told


def test_strengths_without_an_order_are_not_joined():
    ordered = [group("npo", recovery("relearn", "R3", 0.9))]
    named = [group("npo", replace(recovery("translate", "B3", 0.9), unit="language"))]

    def longest(lines: list[Group]) -> int:
        """Segments of the longest line in the method's colour: its curve, or the intervals of single points."""
        made = curves(lines)
        figure = str(tiers("a", made, ["npo"], styles(made, ["npo"]))[0].shown[0].figure)
        paths = [path for path in figure.split("<path ") if "stroke: var(--series-1)" in path and "fill: none" in path]
        return max((path.count("L ") for path in paths), default=0)

    assert longest(ordered) == 2
    assert longest(named) == 1


def test_methods_beyond_the_colours_are_grey():
    lines = [group(f"m{i}", recovery("relearn", "R3", i / 10)) for i in range(9)]
    given = styles(curves(lines), [line.label for line in lines])
    assert list(given) == ["m3", "m4", "m5", "m6", "m7", "m8"]
    assert [style.number for style in given.values()] == [1, 2, 3, 4, 5, 6]


def weak(i: int, j: int) -> Recovery:
    return recovery(f"attack{j}", "R7", 0.2 * i * (j + 1) / 4)


def test_one_direction_explains_attacks_that_are_multiples_of_each_other():
    lines = [group(f"m{i}", *(weak(i, j) for j in range(4))) for i in range(4)]
    found = directions(heat(lines, curves(lines)), lines, None, None)
    assert isinstance(found, Directions)
    assert found.found.shares[0] == pytest.approx(1)
    assert np.abs(found.found.loadings[0]) == pytest.approx(np.arange(4, 0, -1) / np.sqrt(30))
    assert not found.weighted
    assert found.told == "100%, 0%, 0%; together 100%"


def test_where_methods_or_attacks_are_too_few_there_are_no_directions():
    lines = [group(f"m{i}", *(weak(i, j) for j in range(2))) for i in range(4)]
    assert directions(heat(lines, curves(lines)), lines, None, None) == ""
    apart = [group(f"m{i}", *(weak(i, j) for j in range(i, i + 3))) for i in range(3)]
    assert "needs 3 methods" in str(directions(heat(apart, curves(apart)), apart, None, None))
    same = [group(f"m{i}", *(weak(1, j) for j in range(3))) for i in range(3)]
    assert "nothing to decompose" in str(directions(heat(same, curves(same)), same, None, None))


def test_methods_count_by_their_unlearning_score(results: Results):
    table = results.benchmarks[0]
    lines = groups(table)
    by_name: dict[str, Column] = {one.name: one for one in columns(table, lines)}
    found = directions(heat(lines, curves(lines)), lines, by_name[table.knowledge], by_name[table.utility])
    assert isinstance(found, Directions)
    assert found.weighted
    assert "ga" not in found.methods  # it was not attacked


@pytest.mark.parametrize(("value", "told"), [(1e-5, "0.00"), (-3e-3, "0.00"), (0.237, "0.24"), (-0.5, "−0.50")])
def test_a_share_is_never_written_in_powers_of_ten(value: float, told: str):
    assert share(value) == told
