"""Calibration: what the figures are made of, one real pair of models, and the data that come with the package."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import approx

from lethe import calibrate
from lethe.errors import InputError
from lethe.registry import names
from lethe.report.calibration import headline, write_calibration
from lethe.report.trust import calibration, legend, told
from lethe.runs.calibrate import SEEDS, conclude, load_calibration, look, sign_of, weigh
from lethe.scoring.roc import auc, auc_score_interval
from lethe.worlds.witnesses import kind, records

QUICK = 9  # the kind that is trained shortest


def row(known: float, p: float, after: float, attack: float) -> dict[str, Any]:
    return {
        "before": {"probability.answer@forget": [1, known], "forget_quality.ks_p.n30@forget": [-1, p]},
        "after": {"probability.answer@forget": [1, after], "forget_quality.ks_p.n30@forget": [-1, p]},
        "attacks": {"relearn": attack},
        "why": {"merge": "It needs the model before unlearning.", "multiple_choice:set=forget": "no choices"},
    }


def test_figures_are_auc_and_drift_in_units_of_the_gap():
    rows = [row(0.9, 0.01, 0.8, 0.9), row(0.1, 0.5, 0.1, 0.9), row(0.7, 0.02, 0.7, 0.8), row(0.3, 0.9, 0.2, 0.1)]
    found = conclude(rows, [True, False, True, False])
    probability, p, attack = (
        found.of(name) for name in ("probability.answer@forget", "forget_quality.ks_p.n30@forget", "relearn")
    )
    assert probability
    assert p
    assert attack
    assert (probability.auc, p.auc) == (1, 1)  # a p-value is low in models that know
    assert attack.auc == (2.5) / 4
    assert probability.drift == approx((0.1 + 0 + 0 + 0.1) / 4 / 0.6)  # the sides' means lie 0.6 apart
    assert p.drift == 0
    assert attack.drift is None
    refused = found.of("merge")
    assert refused
    assert refused.auc is None
    assert refused.reason == "It needs the model before unlearning. (4 of 4)"


def test_a_figure_that_misleads_is_not_turned_round():
    rows = [row(0.1, 0.5, 0.1, 0), row(0.9, 0.5, 0.9, 0)]
    found = conclude(rows, [True, False]).of("probability.answer@forget")
    assert found
    assert found.auc == 0


def test_orientation_is_fixed_by_name_and_direction():
    assert sign_of("probability.answer@forget", "control") == 1
    assert sign_of("distance.kl@forget", "lower") == 1
    assert sign_of("forget_quality.ks_p.n30@forget", "higher") == -1
    assert sign_of("truth_ratio.ou@forget", "control") == -1
    assert sign_of("truth_ratio.knowledge@forget", "control") == 1


@pytest.mark.parametrize("counts", [(0.9, 30, 30), (1.0, 30, 30), (0.5, 5, 50), (0.0, 3, 3)])
def test_the_score_interval_holds_its_value_and_turns_with_it(counts: tuple[float, int, int]):
    low, high = auc_score_interval(*counts)
    assert 0 <= low <= counts[0] <= high <= 1
    assert low < high
    turned = auc_score_interval(1 - counts[0], *counts[1:])
    assert (1 - turned.high, 1 - turned.low) == approx((low, high))
    assert auc_score_interval(0.9, 3000, 3000).low > 0.89
    with pytest.raises(InputError, match="no AUC"):
        auc_score_interval(1.2, 3, 3)


def test_the_score_interval_covers():
    """Normal scores at 30 against 30: of 300 draws the interval holds the true AUC in about 95 %."""
    rng = np.random.default_rng(0)
    true = 0.8556  # Phi(1.5 / sqrt 2)
    held = 0
    for _ in range(300):
        low, high = auc_score_interval(auc(rng.normal(1.5, 1, 30), rng.normal(0, 1, 30)), 30, 30)
        held += low <= true <= high
    assert 0.92 <= held / 300 <= 0.99


def test_kinds_differ_and_their_sets_do_not_meet():
    kinds = [kind(number) for number in range(10)]
    assert kinds == [kind(number) for number in range(10)]
    assert len({(one.width, one.layers, one.epochs) for one in kinds}) == 10
    questions = {split: {one["question"] for one in records(split, 3)} for split in ("forget", "holdout", "unrelated")}
    assert not questions["forget"] & questions["holdout"]
    assert not questions["unrelated"] & (questions["forget"] | {one["question"] for one in records("retain", 3)})


def test_models_that_know_differ_from_those_that_do_not_and_are_weighed_once(tmp_path: Path):
    place = str(tmp_path)
    look(place, QUICK, 0, True)
    known, unknown = (weigh(place, QUICK, 0, knows) for knows in (True, False))
    for name in ("probability.answer@forget", "membership.loss@forget"):
        assert known["before"][name][1] > unknown["before"][name][1]
    assert known["attacks"]["relearn"] > unknown["attacks"]["relearn"]
    assert known["before"] != known["after"]
    file = tmp_path / f"kind{QUICK}-knows-seed0.json"
    written = file.stat().st_mtime_ns
    assert weigh(place, QUICK, 0, True) == known
    assert file.stat().st_mtime_ns == written
    file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert weigh(place, QUICK, 0, True) == known  # a damaged file is made again, to the same values


@pytest.mark.parametrize("models", [0, 2, 31])
def test_a_count_that_does_not_divide_is_refused(models: int, tmp_path: Path):
    with pytest.raises(InputError, match="multiple of 3"):
        calibrate(out=tmp_path, models=models)


def test_the_data_of_the_package_say_what_they_are_made_of():
    found = calibration()
    assert found.models >= 30
    assert len(found.kinds) * SEEDS == found.models
    assert found.command == f"lethe bench calibrate --models {found.models}"
    assert len(found.code) == 64
    for one in found.figures:
        if one.auc is None:
            assert one.reason
            continue
        assert len(one.knows) == len(one.never) == found.models
        area = auc(one.sign * np.array(one.knows), one.sign * np.array(one.never))
        assert area == approx(one.auc, abs=0.002)  # the values are rounded to six digits
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.auc <= one.high
    measured = {one.name.partition(".")[0].partition("@")[0] for one in found.figures if one.kind == "metric"}
    assert {"probability", "rouge", "truth_ratio", "forget_quality", "membership", "distance"} <= measured
    assert {one.name for one in found.figures if one.kind == "attack"} <= set(names("attack"))


def test_reports_print_the_figure_or_that_there_is_none():
    assert told("language", "probability.answer@forget").startswith("AUC ")
    assert "[" in told("language", "probability.answer@forget")
    for family, name in (("language", "probability.answer@retain"), ("classifier", "probability.answer@forget")):
        assert told(family, name) == "not calibrated"
    assert "tiny language models" in legend()


def test_a_calibration_is_read_back_and_its_page_names_every_figure(tmp_path: Path):
    found = calibration()
    assert load_calibration(json.loads(json.dumps(asdict(found)))) == found
    write_calibration(found, tmp_path)
    page = (tmp_path / "calibration.md").read_text(encoding="utf-8")
    assert headline(found) in page
    assert "relearn" in page
    assert "merge" in page
    assert "<script" not in (tmp_path / "calibration.html").read_text(encoding="utf-8")
