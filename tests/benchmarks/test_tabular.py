"""Tables: scikit-learn's and a user's own, divided for a request."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.benchmarks.tabular import tabular
from lethe.data.tables import read_table
from lethe.errors import InputError
from lethe.worlds.tables import bundled, divide


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def grades(count: int = 150, classes: int = 3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"length": round(rng.normal(n % classes), 6), "grade": f"class {n % classes}", "width": round(rng.random(), 6)}
        for n in range(count)
    ]


def test_a_users_table_is_divided_and_learnt(tmp_path: Path):
    file = write(tmp_path / "grades.csv", grades())
    task = tabular(source=str(file), label="grade")
    sizes = {name: len(records) for name, records in task.probes.items()}
    assert sizes == {"forget": 15, "retain": 45, "holdout": 15, "test": 60}
    assert {record["label"] for record in task.probes["test"]} == {0, 1, 2}
    assert all(record["features"].shape == (2,) for record in task.request.forget)
    assert "wrong in 0%" in task.note
    assert task.control is not None
    assert task.target(0).fingerprint() != task.control(1).fingerprint()
    gone = tabular(source=str(file), label="grade", split="class", number=2)
    assert {record["label"] for record in gone.request.forget} == {2}
    assert {record["label"] for record in (*gone.request.retain, *gone.probes["test"])} == {0, 1}


def test_rows_are_scaled_by_what_no_request_touches():
    table = bundled("wine")
    parts = divide(table, 0.3, 1)
    apart = np.stack([record["features"] for name in ("unseen", "test") for record in parts[name]])
    assert np.abs(apart.mean(axis=0)).max() < 1e-5
    assert np.abs(apart.std(axis=0) - 1).max() < 1e-4
    row = int(parts["forget"][0]["id"].removeprefix("wine"))
    rows = table.rows.copy()
    rows[row] += 100  # an outlier among the forgotten rows moves nobody else
    moved = divide(type(table)(table.name, rows, table.labels, table.classes), 0.3, 1)
    assert all(
        np.array_equal(one["features"], other["features"])
        for name in ("retain", "unseen", "test")
        for one, other in zip(parts[name], moved[name], strict=True)
    )
    truth = {record["id"]: record["label"] for record in divide(table, 0, 1)["retain"]}
    wrong = np.mean([record["label"] != truth[record["id"]] for record in parts["retain"]])
    assert 0.1 < wrong < 0.5
    assert divide(table, 0, 1)["test"][0]["label"] == parts["test"][0]["label"]


def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path):
    file = write(tmp_path / "grades.csv", grades())
    refused: dict[str, dict[str, Any]] = {
        "no column 'grad', did you mean 'grade'": {"source": str(file), "label": "grad"},
        r"row 1, column 'grade': 'class 0' is no finite number": {"source": str(file), "label": "width"},
        "nowhere.csv: cannot be read": {"source": str(tmp_path / "nowhere.csv")},
        "did you mean 'wine'": {"table": "wines"},
        "number is 3; wine has the classes 0 to 2": {"table": "wine", "split": "class", "number": 3},
        "has two classes, and without one": {"split": "class"},
        "noise is 1": {"noise": 1.0},
    }
    for text, options in refused.items():
        with pytest.raises(InputError, match=text):
            tabular(**options)
    few = write(tmp_path / "few.csv", grades(60))
    with pytest.raises(InputError, match=r"few has 60 rows; .* at least 100"):
        tabular(source=str(few), label="grade")
    with pytest.raises(InputError, match="all rows have grade=class 0"):
        read_table(write(tmp_path / "one.csv", grades(20, classes=1)), "grade")
    with pytest.raises(InputError, match="no column to tell classes by"):
        read_table(write(tmp_path / "bare.csv", [{"grade": "a"}, {"grade": "b"}]), "grade")
    holed = grades(20)
    holed[3]["width"] = ""
    with pytest.raises(InputError, match="row 4, column 'width': '' is no finite number"):
        read_table(write(tmp_path / "holed.csv", holed), "grade")
