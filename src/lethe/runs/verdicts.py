"""Rows with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from lethe.runs.results import Row
from lethe.task import Task


def judged(rows: Sequence[Row], task: Task) -> list[Row]:
    """The rows, each method and floor with its verdict."""
    return list(rows)
