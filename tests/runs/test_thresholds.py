"""The data behind the checklist's thresholds, how they come out of audits of true controls, and those audits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytest import approx
from scipy import stats

from lethe.auditing.case import TITLES
from lethe.auditing.checklist import FAMILY
from lethe.auditing.lines import LEFT
from lethe.auditing.thresholds import ALPHA, Null, in_force, nulls, stored
from lethe.errors import InputError
from lethe.report.thresholds import thresholds_table, told
from lethe.runs import thresholds
from lethe.runs.thresholds import FOLDS, look, nulls_of, run_thresholds


def test_the_data_in_the_package_hold_the_false_alarms_of_the_whole_audit():
    found = stored()
    assert found["command"].startswith("lethe bench thresholds --models ")
    assert found["alpha"] == ALPHA
    assert found["worlds"]["tiny"]["controls"] >= 10
    assert found["worlds"]["toys"]["controls"] >= 100
    for world in found["worlds"].values():
        fine = sum(world["reached"].get(reached, 0) for reached in ("removal", "consistent with removal", "no verdict"))
        assert sum(world["reached"].values()) == world["controls"] >= fine >= world["controls"] - world["false_alarms"]
        assert world["rate"] == world["false_alarms"] / world["controls"] <= 0.05
        low, high = world["interval"]
        assert low <= world["rate"] <= high
        for one in world["power"].values():
            assert one["audits"] == sum(one["reached"].values()) >= one["exposed"]
    assert set(found["worlds"]["toys"]["power"]) == {"scaled", "masked", "contrary"}
    assert {"ga", "npo", "idk"} == set(found["worlds"]["tiny"]["power"])
    assert told("tiny", found["worlds"]["tiny"]) and thresholds_table(found).row_count > 10


def test_what_is_in_force_is_the_wider_world_of_each_line():
    found = stored()
    assert set(nulls()) == set(found["lines"])
    for line, null in nulls().items():
        assert line[0] in FAMILY and line.partition(".")[0] in TITLES
        assert null.limit == max(world["lines"][line]["limit"] for world in found["worlds"].values()
                                 if line in world["lines"])  # fmt: skip
    assert {"B1", "B3", "R3", "R5", "R6", "R6.merge", "R7", "P1", "N1"} <= set(nulls())


def test_a_line_strays_by_the_root_of_its_mean_square_and_its_limit_pays_for_all_lines():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (24, 2))
    found = nulls_of([{"B1": (row[0],), "R3": (row.max(), *row)} for row in values])
    assert set(found) == {"B1", "R3"}
    rms = np.sqrt((values[:, 0] ** 2).mean())
    assert found["B1"].rms == approx(rms, rel=1e-3)
    above = np.sqrt((np.maximum(values[:, 0], 0) ** 2).mean())  # a control that falls short strays to no harm
    assert found["B1"].limit == approx(above * stats.t.isf(ALPHA / 2, 23), rel=1e-3)
    assert found["R3"].rms == approx(np.sqrt((values**2).mean()), rel=1e-3)  # of single attacks, not of the worst
    assert found["B1"].models == 24
    assert not nulls_of([{"B1": (0.1,)}] * (FOLDS - 2))  # too few to tell


def test_the_wider_spread_counts():
    null = Null(13, 0.1, 0.2)
    assert null.p(0.3) == approx(stats.t.sf(3, 12))
    assert null.p(0.3, error=0.05) == null.p(0.3)
    assert null.p(0.3, error=0.3) == approx(stats.t.sf(1, 12))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Twelve toys alone; the tiny language models would take minutes."""
    folder = str(tmp_path_factory.mktemp("thresholds"))
    place = thresholds.ground("toys", "quick")
    found = thresholds.controls_audited(folder, place, "quick", FOLDS)
    nulls = in_force(found["lines"])
    return {**found, "power": thresholds.power(folder, place, "quick", FOLDS, nulls)}


def test_true_controls_pass_the_whole_audit_and_what_hides_does_not(small: dict):
    assert small["false_alarms"] == 0
    assert small["reached"] == {"consistent with removal": FOLDS}
    for who in ("scaled", "masked", "contrary"):
        assert small["power"][who]["exposed"] == small["power"][who]["audits"] == FOLDS
    assert small["power"]["scaled"]["by"]["R3"] == FOLDS
    assert small["power"]["contrary"]["by"]["B6"] == FOLDS
    assert small["power"]["masked"]["by"]["R9"] == FOLDS
    assert all(one["limit"] < LEFT for name, one in small["lines"].items() if name[0] in "BR")


def test_what_stands_on_disk_is_not_made_again(tmp_path: Path):
    first = look(str(tmp_path), "toys", "quick", "control-0")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "traces").iterdir()}
    again = look(str(tmp_path), "toys", "quick", "control-0")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "traces").iterdir()} == made
    assert again.traces == first.traces
    assert replace(again.evidence).key == "toys-control-0"


def test_counts_and_budgets_that_cannot_be_meant_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="give at least 12 of each"):
        run_thresholds(tmp_path, models=3)
    with pytest.raises(InputError, match="no budget 'fast'"):
        run_thresholds(tmp_path, budget="fast")
