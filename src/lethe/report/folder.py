"""A run's folder: results in, report out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lethe.data.atomic import write_text
from lethe.errors import InputError, cause
from lethe.report.html import html
from lethe.report.markdown import markdown
from lethe.report.view import view
from lethe.runs.results import SCHEMA, Cost, Results, load_results


def write_report(results: Results, costs: Mapping[str, Cost], folder: str | Path) -> Path:
    """Write `report.html` and `report.md`; the same results and costs give the same bytes.

    Args:
        results: What the run found.
        costs: Cost of each row by `BENCHMARK/ROW`, such as `tofu/npo-seed1`.
        folder: Where to write.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: If the folder cannot be written to.
    """
    shown = view(results, costs)
    write_text(Path(folder) / "report.md", markdown(shown))
    return write_text(Path(folder) / "report.html", html(shown))


def load_folder(folder: str | Path) -> tuple[Results, dict[str, Cost]]:
    """Read `results.json`, and `cost.json` where there is one.

    Raises:
        InputError: If there are no results, or they are damaged or of another schema.
    """
    path = Path(folder) / "results.json"
    data = _read(path)
    if data.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: is of schema {data.get('schema')!r}, this version reads {SCHEMA}; run the command again."
        )
    try:
        results = load_results(data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is not a complete results file ({cause(error)}); run the command again.") from error
    expenses = Path(folder) / "cost.json"
    if not expenses.exists():
        return results, {}
    try:
        return results, {row: Cost(**cost) for row, cost in _read(expenses).items()}
    except TypeError as error:
        raise InputError(f"{expenses}: every row needs seconds and peak_memory_mib ({error}); run again.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; name the folder that a run wrote.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: could not be read as JSON ({cause(error)}); run the command again.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}, not an object; run the command again.")
    return data
