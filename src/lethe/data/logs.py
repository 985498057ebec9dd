"""Evaluation logs as others have published them, read and checked: TOFU's, ULD's and TDDBench's.

Nothing is scored here; `lethe.data.rescore` does that. Whatever a log lacks is named by file, section, row and field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lethe.data.parse import parse
from lethe.data.schema import nearest
from lethe.errors import InputError, cause

Array = npt.NDArray[np.float64]

ANSWER_SETS = {
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
    "forget": "eval_log_forget.json",
}
_LOSSES = ("avg_gt_loss", "avg_paraphrased_loss", "rougeL_recall")
_WRONG = "average_perturb_loss"
_AGGREGATED = re.compile(r"evallog_(?P<front>.+)|(?P<back>.+?)_?eval_log_aggregated|eval_log_aggregated")

DETECTION_COLUMNS = (
    "AUROC", "Accuracy", "Precision", "Recall", "F1-score", "FNR", "FPR", "Membership advantage", "TPR@1%FPR",
    "TPR@10%FPR",
)  # fmt: skip


@dataclass(frozen=True)
class AnswerLog:
    """What one model answered to one question set, N questions with K wrong answers each; losses are nats per token.

    gold: mean NLL of the right answer, (N,).
    paraphrase: mean NLL of its paraphrase, (N,); where there is none, a second, low-precision pass over the answer.
    wrong: mean NLL of the wrong answers, (N, K).
    rouge: stemmed ROUGE-L recall as logged, (N,).
    ratio: truth ratio as logged, (N,), where it was.
    texts: (generated, truth) per question, where they were kept.
    """

    rows: tuple[str, ...]  # as the log names them
    gold: Array
    paraphrase: Array
    wrong: Array
    rouge: Array
    ratio: Array | None = None
    texts: tuple[tuple[str, str], ...] = ()

    def first(self, rows: int | None) -> AnswerLog:
        """The log of the first `rows` questions (TOFU's own evaluation reads 300), of all when None."""
        return replace(
            self,
            rows=self.rows[:rows],
            gold=self.gold[:rows],
            paraphrase=self.paraphrase[:rows],
            wrong=self.wrong[:rows],
            rouge=self.rouge[:rows],
            ratio=None if self.ratio is None else self.ratio[:rows],
            texts=self.texts[:rows],
        )


@dataclass(frozen=True)
class Curve:
    """A published ROC curve: false and true positive rates, both rising from 0 to 1, and how many records made it."""

    fpr: Array
    tpr: Array
    members: int
    nonmembers: int


def find_answer_logs(source: str | Path) -> dict[str, Path]:
    """Name of the model -> its log, for every TOFU-like log below a folder, or for one file.

    Known are `evallog_MODEL.json`, `MODEL_eval_log_aggregated.json`, and TOFU's own folders: an
    `eval_log_aggregated.json`, or the four files of one evaluation; those are named after their place in the folder.

    Raises:
        InputError: There is no such path, or no log below it, or two logs of one name.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return {_model_of(path, path.parent): path}
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder; give the place of the recorded logs.")
    logs = sorted(file for file in path.rglob("*.json") if _AGGREGATED.fullmatch(file.stem))
    logs = logs or sorted(file.parent for file in path.rglob(ANSWER_SETS["forget"]))
    if not logs:
        raise InputError(
            f"{path}: holds no evaluation log; give a folder with evallog_MODEL.json, MODEL_eval_log_aggregated.json "
            "or the files of an evaluation by TOFU's code."
        )
    named: dict[str, Path] = {}
    for log in logs:
        name = _model_of(log, path)
        if name in named:
            raise InputError(f"{log}: is another log of {name!r} besides {named[name]}; read them one by one.")
        named[name] = log
    return named


def read_answer_logs(path: str | Path) -> dict[str, AnswerLog]:
    """One model's evaluation log: retain, real_authors, world_facts and forget.

    Both published forms are read: columns of {row: value} (TOFU) and columns of lists (ULD).

    Args:
        path: the aggregated file, or a folder with one file per question set.

    Raises:
        InputError: A section, row or field is missing or is not what it should be; says which.
    """
    place = Path(path)
    sections = {name: _object(place / name) for name in ANSWER_SETS.values()} if place.is_dir() else _object(place)
    return {
        name: _answer_log(_part(sections, file, f"{place}", "section"), f"{place}, section {file}")
        for name, file in ANSWER_SETS.items()
    }


def read_detection_results(path: str | Path) -> list[dict[str, Any]]:
    """TDDBench's table of results: one mapping per algorithm and target model, with `DETECTION_COLUMNS`.

    Raises:
        InputError: A row lacks a column, or holds something that is no number.
    """
    place = Path(path)
    rows = parse(_bytes(place), "json", str(place))
    for number, row in enumerate(rows, 1):
        where = f"{place}, row {number}"
        if not isinstance(row, dict) or not isinstance(row.get("Algorithm"), str):
            raise InputError(f"{where}: the field 'Algorithm' is missing; name the algorithm that was run.")
        for column in DETECTION_COLUMNS:
            _number(_part(row, column, where, "field"), f"{where}, field {column!r}")
    return rows


def read_detection_curves(path: str | Path) -> dict[str, Curve]:
    """TDDBench's ROC curves by algorithm.

    Args:
        path: an .npz of arrays `ALGORITHM__fpr`, `__tpr` and `__label`, or a folder ALGORITHM/{fpr,tpr,label}.npy. An
            algorithm without labels takes those of the others, which audit the same records.

    Raises:
        InputError: An array is missing, or is no curve.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f"{place}: there is no such file or folder; give the place of the recorded curves.")
    arrays = _saved_arrays(place)
    labels = {name: values for name, values in arrays.items() if name.endswith("__label")}
    counts = {(int((values == 1).sum()), int((values != 1).sum())) for values in labels.values()}
    curves = {}
    for name in sorted({key.rpartition("__")[0] for key in arrays}):
        fpr, tpr = (_part(arrays, f"{name}__{side}", str(place), "array") for side in ("fpr", "tpr"))
        own = labels.get(f"{name}__label")
        if own is None and len(counts) != 1:
            raise InputError(f"{place}: {name} has no labels, and the others do not agree on them; add its label.npy.")
        members, others = counts.copy().pop() if own is None else (int((own == 1).sum()), int((own != 1).sum()))
        curves[name] = _curve(fpr, tpr, members, others, f"{place}, {name}")
    return curves


def _model_of(log: Path, root: Path) -> str:
    match = _AGGREGATED.fullmatch(log.stem) if log.suffix == ".json" else None
    if match and (named := match["front"] or match["back"]):
        return named
    if match is None and log.suffix == ".json":
        return log.stem
    folder = log if log.is_dir() else log.parent
    parts = [part for part in folder.relative_to(root).parts if part not in ("eval_results", "data")]
    return "/".join(part for part in parts if not part.startswith("ds_size")) or root.resolve().name


def _answer_log(section: Mapping[str, Any], where: str) -> AnswerLog:
    columns = {name: _column(_part(section, name, where, "field"), where, name) for name in (*_LOSSES, _WRONG)}
    rows = sorted(set().union(*columns.values()), key=lambda row: (len(row), row))
    if not rows:
        raise InputError(f"{where}: holds no rows; run the evaluation again.")
    for name, column in columns.items():
        if absent := [row for row in rows if row not in column]:
            raise InputError(f"{where}, row {absent[0]}: the field {name!r} is missing; run the evaluation again.")
    gold, paraphrase, rouge = (
        np.array([_number(columns[name][row], f"{where}, row {row}, field {name!r}") for row in rows])
        for name in _LOSSES
    )
    return AnswerLog(
        tuple(rows), gold, paraphrase, _wrong(columns[_WRONG], rows, where), rouge,
        ratio=_logged_ratio(section, rows, where), texts=_texts(section, rows, where),
    )  # fmt: skip


def _wrong(column: Mapping[str, Any], rows: Sequence[str], where: str) -> Array:
    width = None
    table = []
    for row in rows:
        place = f"{where}, row {row}, field {_WRONG!r}"
        losses = column[row]
        if not isinstance(losses, list) or not losses:
            raise InputError(f"{place}: is not a list of losses; log one for every wrong answer.")
        width = width or len(losses)
        if len(losses) != width:
            raise InputError(f"{place}: has {len(losses)} losses, the rows before have {width}; log the same number.")
        table.append([_number(loss, place) for loss in losses])
    return np.array(table)


def _logged_ratio(section: Mapping[str, Any], rows: Sequence[str], where: str) -> Array | None:
    if "truth_ratio" not in section:
        return None
    column = _column(section["truth_ratio"], where, "truth_ratio")
    return np.array(
        [_number(_part(column, row, where, "row"), f"{where}, row {row}, field 'truth_ratio'") for row in rows]
    )


def _texts(section: Mapping[str, Any], rows: Sequence[str], where: str) -> tuple[tuple[str, str], ...]:
    """Logged as [generated, truth], or with the prompt in front."""
    name = next((name for name in ("generated_and_truth", "generated_text") if name in section), None)
    if name is None:
        return ()
    column = _column(section[name], where, name)
    pairs = []
    for row in rows:
        said = column.get(row)
        if not isinstance(said, list) or len(said) < 2 or not all(isinstance(text, str) for text in said):
            raise InputError(f"{where}, row {row}, field {name!r}: is not [generated, truth]; log both texts.")
        pairs.append((said[-2], said[-1]))
    return tuple(pairs)


def _column(values: Any, where: str, name: str) -> dict[str, Any]:
    if isinstance(values, list):
        return {str(row): value for row, value in enumerate(values)}
    if isinstance(values, dict):
        return values
    raise InputError(f"{where}, field {name!r}: is neither a list nor {{row: value}}; run the evaluation again.")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(f"{where}: {value!r} is not a finite number; run the evaluation of that row again.")
    return float(value)


def _part(mapping: Mapping[str, Any], key: str, where: str, kind: str) -> Any:
    if key not in mapping:
        raise InputError(f"{where}: the {kind} {key!r} is missing; {nearest(key, mapping)}")
    return mapping[key]


def _object(path: Path) -> dict[str, Any]:
    rows = parse(_bytes(path), "json", str(path))
    if len(rows) != 1 or not isinstance(rows[0], dict):
        raise InputError(f"{path}: is not one JSON object; give an evaluation log.")
    return rows[0]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({cause(error)}); check the path and its permissions.") from error


def _saved_arrays(place: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        if place.is_dir():
            files = [file for side in ("fpr", "tpr", "label") for file in sorted(place.glob(f"*/{side}.npy"))]
            arrays = {f"{file.parent.name}__{file.stem}": np.load(file) for file in files}
        else:
            with np.load(place) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise InputError(f"{place}: is no .npz of numbers; give student_curves.npz or a folder of .npy.") from error
    if not arrays:
        raise InputError(f"{place}: holds no curve; give a folder ALGORITHM/fpr.npy, tpr.npy, label.npy.")
    return arrays


def _curve(fpr: Any, tpr: Any, members: int, nonmembers: int, where: str) -> Curve:
    try:
        x, y = np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: is no ROC curve; its rates must be numbers.") from error
    if x.ndim == 1 and len(x) and x[0] == 1:  # Query-qrm is recorded from the loosest threshold on
        x, y = x[::-1], y[::-1]
    rises = all(v.ndim == 1 and len(v) > 1 and v[0] >= 0 and v[-1] == 1 and (np.diff(v) >= 0).all() for v in (x, y))
    if not rises or x.shape != y.shape or min(members, nonmembers) < 1:
        raise InputError(f"{where}: is no ROC curve; give rates that go from 0 to 1, and labels of both kinds.")
    return Curve(x, y, members, nonmembers)
