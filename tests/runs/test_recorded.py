"""`lethe bench NAME --from-logs DIR`: published logs scored without a model, and small ones written here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import approx

from lethe import rescore
from lethe.data.logs import ANSWER_SETS
from lethe.errors import InputError

Command = Callable[..., tuple[int, str, str]]


def log(seed: int, rows: int = 12, shift: float = 0.0) -> dict[str, Any]:
    """An aggregated log in TOFU's form, every set of so many questions; `shift` makes the right answers less likely."""
    rng = np.random.default_rng(seed)

    def column(low: float, high: float) -> dict[str, float]:
        return {str(i): float(value) for i, value in enumerate(rng.uniform(low, high, rows))}

    return {
        section: {
            "avg_gt_loss": column(0.1 + shift, 0.9 + shift),
            "avg_paraphrased_loss": column(0.3 + shift, 1.2 + shift),
            "average_perturb_loss": {str(i): rng.uniform(1, 3, 5).tolist() for i in range(rows)},
            "rougeL_recall": column(0.2, 1),
        }
        for section in ANSWER_SETS.values()
    }


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name, content in {"full": log(1), "retain90": log(2, shift=1.5), "retain95": log(3, 8, 1.5)}.items():
        (tmp_path / f"evallog_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def scores_of(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["scores"]
    return {
        model: {f"{one['metric']}.{one['variant']}@{one['set']}": one for one in scores}
        for model, scores in found.items()
    }


def test_a_folder_is_scored_and_reported(logs: Path, lethe: Command, tmp_path: Path):
    out = tmp_path / "out"
    code, said, _ = lethe("bench", "tofu", "--from-logs", str(logs), "--control", "retain90", "--out", str(out))
    assert code == 0
    assert "3 recorded models scored without a model, against 1 control" in said
    scores = scores_of(out)
    full = scores["full"]
    assert {"model_utility.geometric@utility", "model_utility.arithmetic@utility"} <= set(full)
    assert full["model_utility.geometric@utility"]["low"] < full["model_utility.geometric@utility"]["value"]
    assert full["forget_quality.ks_d@forget"]["n"] == 12
    losses = log(1)[ANSWER_SETS["forget"]]
    ratio = [
        np.exp(losses["avg_paraphrased_loss"][str(i)] - np.mean(losses["average_perturb_loss"][str(i)]))
        for i in range(12)
    ]
    expected = np.mean([min(r, 1 / r) for r in ratio])
    assert full["truth_ratio.geometric@forget"]["value"] == approx(expected)
    for page in ("report.md", "report.html"):
        text = (out / page).read_text(encoding="utf-8")
        assert "retain90 (control)" in text
        assert f"{full['model_utility.geometric@utility']['value']:.4f}" in text


def test_p_values_of_other_counts_never_share_a_column(logs: Path, tmp_path: Path):
    found = rescore("tofu", logs, out=tmp_path / "out", control=["retain90"])
    assert set(found.column("forget_quality.ks_p.n12@forget")) == {"full"}
    assert set(found.column("forget_quality.ks_p.n8x12@forget")) == {"retain95"}


def test_the_conventions_read_their_rows(logs: Path, tmp_path: Path):
    (logs / "evallog_full.json").write_text(json.dumps(log(1, 310)), encoding="utf-8")
    counts = {
        convention: rescore("tofu", logs / "evallog_full.json", out=tmp_path / "out", convention=convention).scores
        for convention in ("tofu", "open-unlearning")
    }
    read = {convention: {score.n for score in scores["full"]} for convention, scores in counts.items()}
    assert read == {"tofu": {300, 900}, "open-unlearning": {310, 930}}


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no section": (lambda content: content.pop("eval_log_forget.json"), "eval_log_forget.json"),
    "no field": (lambda content: content["eval_log.json"].pop("avg_gt_loss"), "avg_gt_loss"),
    "unequal": (lambda content: content["eval_log.json"]["rougeL_recall"].popitem(), "rougeL_recall"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_damaged_log_is_refused_in_one_sentence(logs: Path, lethe: Command, tmp_path: Path, mistake: str):
    content = log(1)
    change, named = BAD[mistake]
    change(content)
    (logs / "evallog_full.json").write_text(json.dumps(content), encoding="utf-8")
    code, _, error = lethe("bench", "tofu", "--from-logs", str(logs), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "evallog_full.json" in error
    assert named in error
    assert error.count("\n") == 1


def test_a_wrong_control_or_option_is_refused(logs: Path, lethe: Command, tmp_path: Path):
    given = ("bench", "tofu", "--from-logs", str(logs), "--out", str(tmp_path / "out"))
    for more, told in (
        (("--control", "retain91"), "did you mean 'retain9"),
        (("--set", "convention=open-unlearnin"), "did you mean 'open-unlearning'"),
        (("--set", "rows=0"), "rows is 0"),
        (("--seeds", "3"), "takes no --seeds"),
    ):
        code, _, error = lethe(*given, *more)
        assert code == 2
        assert told in error
    with pytest.raises(InputError, match="tofu and tddbench have"):
        rescore("shop", logs, out=tmp_path / "out")


# The four rows that the specification prints, and ULD's two utilities.
PUBLISHED = {
    ("tofu", "llama2-7b_full"): (0.6227, 0.5859, 0.985, 0.991, 0.516),
    ("tofu", "llama2-7b_retain90"): (0.6137, 0.5752, 0.408, 0.148, 0.674),
    ("tofu", "phi_full"): (0.5221, 0.5034, 0.925, 0.928, 0.483),
    ("tofu", "phi_retain90"): (0.5320, 0.5130, 0.428, 0.135, 0.629),
}
COLUMNS = (
    "model_utility.geometric@utility", "model_utility.arithmetic@utility", "rouge.rougeL_recall.stem@forget",
    "probability.answer@forget", "truth_ratio.geometric@forget",
)  # fmt: skip


def test_published_logs_give_the_published_numbers(data_dir: Path, lethe: Command, tmp_path: Path):
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for name, control in (("tofu", "llama2-7b_retain90"), ("uld", "retain90_phi")):
        out = tmp_path / name
        given = ("--from-logs", str(data_dir / name), "--control", control, "--out", str(out))
        assert lethe("bench", "tofu", *given)[0] == 0
        found |= {(name, model): scores for model, scores in scores_of(out).items()}
    for place, row in PUBLISHED.items():
        values = [found[place][column]["value"] for column in COLUMNS]
        assert values[:2] == approx(row[:2], abs=5e-5)
        assert values[2:] == approx(row[2:], abs=5e-4)
    assert found["tofu", "llama2-7b_full"]["forget_quality.ks_d@forget"]["value"] == approx(0.396667, abs=5e-7)
    assert found["tofu", "llama2-7b_full"]["forget_quality.ks_p.n300@forget"]["value"] == approx(1.834e-21, rel=2.5e-3)
    utility = {model: found["uld", model][COLUMNS[0]]["value"] for model in ("retain90_llama", "retain99_phi")}
    assert utility == approx({"retain90_llama": 0.62034365, "retain99_phi": 0.52026914}, abs=5e-9)
    for model, (d, p, named) in {
        "retain90_llama": (0.0966667, 0.121227, "ks_p.n300"),
        "retain99_phi": (0.0966667, 0.867321, "ks_p.n40x300"),
    }.items():
        assert found["uld", model]["forget_quality.ks_d@forget"]["value"] == approx(d, abs=5e-7)
        assert found["uld", model][f"forget_quality.{named}@forget"]["value"] == approx(p, abs=5e-7)


def test_published_detection_curves(data_dir: Path, lethe: Command, tmp_path: Path):
    source = data_dir / "tddbench" / "student_curves_model0.npz"
    assert lethe("bench", "tddbench", "--from-logs", str(source), "--out", str(tmp_path))[0] == 0
    loss = scores_of(tmp_path)["Metric-loss"]
    assert loss["membership.auc@audited"]["value"] == approx(0.600736, abs=5e-7)
    assert loss["membership.best_balanced_accuracy@audited"]["value"] == approx(0.591216, abs=5e-7)
    assert loss["membership.tpr_below_0.01_fpr@audited"]["value"] == approx(0.021101, abs=5e-7)
