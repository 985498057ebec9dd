"""Recorded logs in every published form, and what is said of those that are damaged."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.data.logs import (
    ANSWER_SETS,
    DETECTION_COLUMNS,
    find_answer_logs,
    read_answer_logs,
    read_detection_curves,
    read_detection_results,
)
from lethe.data.rescore import rescore_tofu
from lethe.errors import InputError

Write = Callable[[str, Any], Path]


def section(rows: int, wrong: int) -> dict[str, dict[str, Any]]:
    """{field: {row: value}}, with rows whose order as text is not their order."""
    losses = {str(row): 0.1 * (row + 1) for row in range(rows)}
    return {
        "avg_gt_loss": losses,
        "avg_paraphrased_loss": {row: 2 * loss for row, loss in losses.items()},
        "average_perturb_loss": {row: [loss + k for k in range(wrong)] for row, loss in losses.items()},
        "rougeL_recall": dict.fromkeys(losses, 0.5),
    }


def whole() -> dict[str, dict[str, dict[str, Any]]]:
    return {file: section(12, 3 if "real" in file else 5) for file in ANSWER_SETS.values()}


def as_lists(log: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    return {file: {field: list(values.values()) for field, values in one.items()} for file, one in log.items()}


def test_rows_are_read_in_their_order_from_either_form(write: Write):
    by_row = read_answer_logs(write("evallog_a.json", whole()))
    by_list = read_answer_logs(write("a_eval_log_aggregated.json", as_lists(whole())))
    for name, log in by_row.items():
        assert log.rows == tuple(map(str, range(12)))
        assert log.gold.tolist() == pytest.approx([0.1 * (row + 1) for row in range(12)])
        assert (log.wrong == by_list[name].wrong).all()
        assert log.first(3).wrong.shape == (3, 3 if name in ("real_authors", "world_facts") else 5)


def test_names_of_models_in_every_layout(write: Write, tmp_path: Path):
    write("runs/one/eval_results/ds_size300/eval_log_aggregated.json", whole())
    write("runs/two/eval_log_aggregated.json", whole())
    write("runs/evallog_three.json", whole())
    assert sorted(find_answer_logs(tmp_path / "runs")) == ["one", "three", "two"]
    for name, part in whole().items():
        write(f"split/unlearned/eval_results/ds_size300/{name}", part)
    assert list(rescore_tofu(tmp_path / "split")) == ["unlearned"]
    assert list(find_answer_logs(tmp_path / "split/unlearned/eval_results/ds_size300")) == ["ds_size300"]
    assert list(find_answer_logs(write("mine.json", whole()))) == ["mine"]


def test_two_logs_of_one_name_are_refused(write: Write, tmp_path: Path):
    write("evallog_a.json", whole())
    write("a_eval_log_aggregated.json", whole())
    with pytest.raises(InputError, match="another log of 'a'"):
        find_answer_logs(tmp_path)


def without_row(log: dict) -> None:
    del log["eval_log_forget.json"]["avg_paraphrased_loss"]["7"]


def without_field(log: dict) -> None:
    log["eval_log.json"]["rougel_recall"] = log["eval_log.json"].pop("rougeL_recall")


def without_section(log: dict) -> None:
    del log["eval_log_forget.json"]


def with_nan(log: dict) -> None:
    log["eval_log.json"]["avg_gt_loss"]["3"] = float("nan")


def with_text(log: dict) -> None:
    log["eval_log.json"]["avg_gt_loss"]["3"] = "0.4"


def with_fewer_wrong_answers(log: dict) -> None:
    log["eval_log.json"]["average_perturb_loss"]["5"] = [1.0]


def with_a_number_for_a_column(log: dict) -> None:
    log["eval_log.json"]["avg_gt_loss"] = 0.3


def with_a_torn_text(log: dict) -> None:
    log["eval_log.json"]["generated_text"] = {str(row): ["said", "true"] for row in range(11)} | {"11": ["said"]}


DAMAGED: dict[Callable[[dict], None], str] = {
    without_row: r"evallog_a.json, section eval_log_forget.json, row 7: the field 'avg_paraphrased_loss' is missing",
    without_field: r"section eval_log.json: the field 'rougeL_recall' is missing; did you mean 'rougel_recall'\?",
    without_section: r"the section 'eval_log_forget.json' is missing",
    with_nan: r"section eval_log.json, row 3, field 'avg_gt_loss': nan is not a finite number",
    with_text: r"row 3, field 'avg_gt_loss': '0.4' is not a finite number",
    with_fewer_wrong_answers: r"row 5, field 'average_perturb_loss': has 1 losses, the rows before have 5",
    with_a_number_for_a_column: r"field 'avg_gt_loss': is neither a list nor",
    with_a_torn_text: r"row 11, field 'generated_text': is not \[generated, truth\]",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_log_names_the_file_the_row_and_the_field(write: Write, damage: Callable[[dict], None]):
    log = deepcopy(whole())
    damage(log)
    with pytest.raises(InputError, match=DAMAGED[damage]):
        read_answer_logs(write("evallog_a.json", log))


def test_a_short_list_names_its_first_missing_row(write: Write):
    log = as_lists(whole())
    log["eval_log.json"]["rougeL_recall"].pop()
    with pytest.raises(InputError, match="row 11: the field 'rougeL_recall' is missing"):
        read_answer_logs(write("evallog_a.json", log))


def test_what_is_no_log_is_refused(write: Write, tmp_path: Path):
    with pytest.raises(InputError, match="no such file or folder"):
        rescore_tofu(tmp_path / "nothing")
    write("other.json", [1, 2])
    with pytest.raises(InputError, match="holds no evaluation log"):
        rescore_tofu(tmp_path)
    with pytest.raises(InputError, match="not one JSON object"):
        rescore_tofu(tmp_path / "other.json")
    with pytest.raises(InputError, match="truncated"):
        rescore_tofu(write("evallog_torn.json", json.dumps(whole())[:500]))


RESULT = {"Algorithm": "Metric-loss"} | dict.fromkeys(DETECTION_COLUMNS, 0.5)


def test_detection_results_are_checked_by_row_and_column(write: Write):
    assert read_detection_results(write("results.json", [RESULT])) == [RESULT]
    with pytest.raises(InputError, match="row 2: the field 'AUROC' is missing"):
        read_detection_results(write("a.json", [RESULT, {k: v for k, v in RESULT.items() if k != "AUROC"}]))
    with pytest.raises(InputError, match="row 1, field 'FPR': None is not a finite number"):
        read_detection_results(write("b.json", [RESULT | {"FPR": None}]))
    with pytest.raises(InputError, match="row 1: the field 'Algorithm' is missing"):
        read_detection_results(write("c.json", [{"AUROC": 0.5}]))


def save_curve(folder: Path, **arrays: Any) -> Path:
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.array(values))
    return folder.parent


def test_detection_curves_of_a_folder(tmp_path: Path):
    place = save_curve(tmp_path / "log" / "Metric-loss", fpr=[0, 0.5, 1], tpr=[0, 1, 1], label=[1, 0, 0])
    curve = read_detection_curves(place)["Metric-loss"]
    assert (curve.members, curve.nonmembers, curve.tpr.tolist()) == (1, 2, [0, 1, 1])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"fpr": [0, 1], "label": [1, 0]}, "array 'A__tpr' is missing"),
        ({"fpr": [0, 0.7, 0.2, 1], "tpr": [0, 0, 1, 1], "label": [1, 0]}, "A: is no ROC curve"),
        ({"fpr": [0, 1], "tpr": [0, 1], "label": [1, 1]}, "labels of both kinds"),
        ({"fpr": [0, 1], "tpr": [0, 1]}, "A has no labels"),
        ({"fpr": ["0", "x"], "tpr": [0, 1], "label": [1, 0]}, "A: is no ROC curve"),
    ],
)
def test_a_damaged_curve_is_named(tmp_path: Path, arrays: dict[str, list], said: str):
    with pytest.raises(InputError, match=said):
        read_detection_curves(save_curve(tmp_path / "log" / "A", **arrays))


def test_files_that_hold_no_curves(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "empty").mkdir()
    for place in ("a.npz", "b.npy", "empty", "nowhere"):
        with pytest.raises(InputError):
            read_detection_curves(tmp_path / place)
