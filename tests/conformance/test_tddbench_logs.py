"""TDDBench's recorded results, computed again from its recorded ROC curves (arXiv 2411.03363)."""

from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from lethe.data.logs import DETECTION_COLUMNS, Curve, read_detection_curves, read_detection_results
from lethe.data.rescore import rescore_tddbench
from lethe.scoring import roc
from lethe.scoring.curves import published, unroll

MEMBERS, OTHERS = 1090, 1122


@pytest.fixture
def results(data_dir: Path) -> list[dict]:
    return read_detection_results(data_dir / "tddbench" / "student_results.json")


@pytest.fixture
def curves(data_dir: Path) -> dict[str, Curve]:
    return read_detection_curves(data_dir / "tddbench" / "student_curves_model0.npz")


def test_all_columns_of_all_algorithms_of_model_0(results: list[dict], curves: dict[str, Curve]):
    recorded = [row for row in results if row["target_model_idx"] == 0]
    assert len(results) == 95
    assert len(recorded) == 19
    for row in recorded:
        curve = curves[row["Algorithm"]]
        assert (curve.members, curve.nonmembers) == (MEMBERS, OTHERS)
        found = published(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
        assert tuple(found) == DETECTION_COLUMNS
        assert found == approx({column: row[column] for column in DETECTION_COLUMNS}, abs=1e-12), row["Algorithm"]


def test_metric_loss_as_printed(curves: dict[str, Curve]):
    curve = curves["Metric-loss"]
    found = published(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
    printed = {"AUROC": 0.600736, "Accuracy": 0.591216, "Precision": 0.556970, "Recall": 0.802752}
    printed |= {"TPR@1%FPR": 0.021101, "TPR@10%FPR": 0.108257}
    assert {name: found[name] for name in printed} == approx(printed, abs=5e-7)


def test_the_scores_of_a_curve_draw_it_again(curves: dict[str, Curve]):
    for name, curve in curves.items():
        members, others = unroll(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
        found = published(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
        assert (len(members), len(others)) == (MEMBERS, OTHERS)
        assert roc.auc(members, others) == approx(found["AUROC"]), name
        assert roc.best_balanced_accuracy(members, others).balanced_accuracy == approx(found["Accuracy"]), name
        assert roc.tpr_at_fpr(members, others, 0.1, inclusive=False).tpr == approx(found["TPR@10%FPR"]), name


def test_the_curve_recorded_from_its_loose_end_is_turned_round(curves: dict[str, Curve]):
    curve = curves["Query-qrm"]  # the only one without labels of its own
    assert (curve.fpr[0], curve.fpr[-1]) == (0, 1)
    assert (curve.members, curve.nonmembers) == (MEMBERS, OTHERS)


def test_identities_of_the_recorded_curves(results: list[dict], curves: dict[str, Curve]):
    of_model_0 = {row["Algorithm"]: row for row in results if row["target_model_idx"] == 0}
    assert of_model_0["Metric-loss"]["AUROC"] == of_model_0["Metric-conf"]["AUROC"]
    corr = curves["Metric-corr"]
    assert (corr.tpr[1], corr.fpr[1]) == (approx(0.905505, abs=5e-7), approx(0.742424, abs=5e-7))
    assert of_model_0["Metric-corr"]["AUROC"] == approx((1 + corr.tpr[1] - corr.fpr[1]) / 2)
    assert of_model_0["Metric-corr"]["AUROC"] == approx(0.581540, abs=1e-6)
    top, every = (
        np.array([row["AUROC"] for row in results if row["Algorithm"] == name])
        for name in ("Learn-top3", "Learn-sorted")
    )
    gaps = np.abs(top - every)
    assert gaps[0] == approx(1.4e-4, abs=5e-6)
    assert (gaps.min(), gaps.max()) == (approx(0.8e-4, abs=5e-6), approx(4.23e-4, abs=5e-7))


def test_the_printed_ordering_of_the_paradigms(results: list[dict]):
    """Means and population deviations over the five target models."""
    printed = {
        "Model-loss": (0.670, 0.061), "Model-robust": (0.669, 0.054), "Model-calibration": (0.648, 0.057),
        "Model-fpr": (0.641, 0.066), "Model-lira": (0.634, 0.056), "Learn-label": (0.587, 0.032),
        "Learn-merge": (0.579, 0.028), "Learn-original": (0.533, 0.022), "Learn-sorted": (0.520, 0.016),
        "Learn-top3": (0.520, 0.016), "Metric-loss": (0.566, 0.028), "Metric-conf": (0.566, 0.028),
        "Metric-ment": (0.566, 0.028), "Metric-corr": (0.560, 0.020), "Metric-ent": (0.520, 0.016),
        "Query-adv": (0.564, 0.023), "Query-augment": (0.560, 0.020), "Query-neighbor": (0.529, 0.009),
        "Query-transfer": (0.517, 0.011),
    }  # fmt: skip
    for name, (mean, sd) in printed.items():
        found = np.array([row["AUROC"] for row in results if row["Algorithm"] == name])
        assert (len(found), found.mean(), found.std()) == (5, approx(mean, abs=5.1e-4), approx(sd, abs=5.1e-4)), name


def test_rescored_with_intervals(data_dir: Path, tmp_path: Path):
    recorded = np.load(data_dir / "tddbench" / "student_curves_model0.npz")
    chosen = ("Metric-corr", "Model-loss")
    np.savez(tmp_path / "two.npz", **{key: recorded[key] for key in recorded.files if key.startswith(chosen)})
    found = rescore_tddbench(tmp_path / "two.npz")
    assert tuple(found) == chosen
    for scores in found.values():
        area, accuracy, at_one, at_ten = scores
        assert area.low < area.value < area.high
        assert at_one.value <= at_ten.value
        assert at_ten.low <= at_ten.value <= at_ten.high
        assert accuracy.value == area.detail["Accuracy"] >= 0.5


def test_the_printed_rates_of_members_found_below_one_false_alarm_in_a_hundred(results: list[dict]):
    """Means over the five target models, by algorithm."""
    printed = {
        "Model-loss": 0.060, "Model-robust": 0.073, "Model-calibration": 0.061, "Model-fpr": 0.048,
        "Model-lira": 0.053, "Learn-label": 0.030, "Learn-merge": 0.019, "Learn-original": 0.016,
        "Learn-sorted": 0.016, "Learn-top3": 0.016, "Metric-loss": 0.017, "Metric-conf": 0.017, "Metric-ment": 0.017,
        "Metric-corr": 0, "Metric-ent": 0.017, "Query-adv": 0, "Query-augment": 0, "Query-neighbor": 0.005,
        "Query-transfer": 0.011,
    }  # fmt: skip
    found = {name: np.mean([r["TPR@1%FPR"] for r in results if r["Algorithm"] == name]) for name in printed}
    assert found == approx(printed, abs=5.1e-4)
