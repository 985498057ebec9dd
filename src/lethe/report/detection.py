"""The table of a detection run: every algorithm with its intervals and its cost, for the terminal and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.data.atomic import write_json, write_text
from lethe.detection.columns import Column
from lethe.report import blind
from lethe.report.markdown import plain
from lethe.report.numbers import DASH, interval, number, printable
from lethe.runs.detection import Algorithm, Detection, DetectionCost

TITLES = {
    "auc": "AUROC",
    "tpr_below_0.01_fpr": "TPR, FPR < 1 %",
    "tpr_at_0.01_fpr": "TPR, FPR ≤ 1 %",
    "tpr_below_0.1_fpr": "TPR, FPR < 10 %",
    "tpr_at_0.1_fpr": "TPR, FPR ≤ 10 %",
    "best_balanced_accuracy": "balanced accuracy",
}
READING = (
    "Mean over the target models ± the population standard deviation, as TDDBench prints it; [a, b] holds both the "
    "95 % t-interval of that mean and the mean of the targets' own intervals over their records. TPR stands at the "
    "last point of the curve whose false positive rate is strictly below the limit (as published), and where it may "
    "equal it; ? marks a limit that so few non-members cannot show. The threshold of the balanced accuracy is chosen "
    "on the same records. Seconds are those of all targets together, reference models included, and count in full for "
    "every algorithm that shares them; questions are those to a target per record."
)


def write_detection(found: Detection, costs: Mapping[str, DetectionCost], folder: str | Path) -> Path:
    """Write `results.json`, `cost.json` and `tddbench.md`.

    Returns:
        The path of `tddbench.md`.
    """
    write_json(Path(folder) / "results.json", asdict(found), nan="null")
    write_json(Path(folder) / "cost.json", {name: asdict(cost) for name, cost in sorted(costs.items())})
    return write_text(Path(folder) / "tddbench.md", detection_markdown(found, costs))


def read_costs(folder: str | Path) -> dict[str, DetectionCost]:
    """What `write_detection` wrote of the costs."""
    stored = json.loads((Path(folder) / "cost.json").read_text(encoding="utf-8"))
    return {name: DetectionCost(**cost) for name, cost in stored.items()}


def detection_markdown(found: Detection, costs: Mapping[str, DetectionCost]) -> str:
    """The run as a page."""
    names = _names(found)
    heads = ["Algorithm", *(TITLES[name] for name in names), *_retrained(found)]
    if costs:
        heads += ["Questions", "Models", "Training, s", "Asking, s", "Peak memory, MiB"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for one in found.algorithms:
        if one.missing:
            continue
        cells = [one.name, *(_cell(column) for column in one.columns)]
        cells += [_cell(one.control_columns[0])] if _retrained(found) else []
        rows.append(cells + (_prices(one, costs) if costs else []))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    missing = "".join(f"- {one.name}: {plain(one.missing)}\n" for one in found.algorithms if one.missing)
    parts = [f"# TDDBench: {plain(_title(found))}", _counts(found), table]
    parts += [f"Not run:\n\n{missing.rstrip()}"] if missing else []
    parts += [f"**{plain(told)}**"] if (told := blind.told(found.blind)) else []
    return "\n\n".join([*parts, READING]) + "\n"


def detection_table(found: Detection, costs: Mapping[str, DetectionCost]) -> Table:
    """The run for a terminal: AUROC, the published TPR at 1 %, balanced accuracy and seconds of every algorithm."""
    missing = [f"{one.name}: {one.missing}" for one in found.algorithms if one.missing]
    told = [_counts(found), *(f"Not run: {line}." for line in missing), blind.told(found.blind)]
    table = Table(
        title=Text(f"TDDBench: {printable(_title(found))}", "bold"), title_justify="left", box=SIMPLE_HEAD,
        caption=Text("\n".join(filter(None, told)), "dim"), caption_justify="left", padding=0,
    )  # fmt: skip
    shown = [name for name in ("auc", "tpr_below_0.01_fpr", "best_balanced_accuracy") if name in _names(found)]
    table.add_column("algorithm", no_wrap=True)
    for name in [*(TITLES[name] for name in shown), *_retrained(found), *(["seconds", "models"] if costs else [])]:
        table.add_column(name, justify="right", overflow="fold")
    for place, one in enumerate(found.algorithms):
        if one.missing:
            continue
        known = {column.name: column for column in one.columns}
        cells = [_cell(known[name]) for name in shown] + ([_cell(one.control_columns[0])] if _retrained(found) else [])
        cost = costs.get(one.name)
        if cost is not None:
            seconds = cost.training_seconds + cost.observing_seconds + cost.scoring_seconds
            cells += [number(seconds, 1), str(one.models)]
        later = found.algorithms[place + 1 : place + 2]
        table.add_row(one.name, *cells, end_section=not later or later[0].paradigm != one.paradigm)
    return table


def _title(found: Detection) -> str:
    if not found.world:
        return f"recorded curves of {found.source}"
    return f"{found.world} ({found.kind})"


def _names(found: Detection) -> list[str]:
    return [column.name for column in next((one.columns for one in found.algorithms if one.columns), ())]


def _retrained(found: Detection) -> list[str]:
    return ["AUROC, retrained"] if any(one.control_columns for one in found.algorithms) else []


def _cell(column: Column) -> str:
    spread = f" ±{number(column.sd)}" if column.targets > 1 else ""
    ends = interval(column.low, column.high)
    return f"{number(column.mean)}{'' if column.resolved else ' ?'}{spread}{f' {ends}' if ends else ''}"


def _prices(one: Algorithm, costs: Mapping[str, DetectionCost]) -> list[str]:
    cost = costs[one.name]
    questions = DASH if one.queries is None else number(one.queries, 1)
    return [questions, str(one.models), number(cost.training_seconds, 1),
            number(cost.observing_seconds + cost.scoring_seconds, 1), number(cost.peak_memory_mib, 0)]  # fmt: skip


def _counts(found: Detection) -> str:
    parts = [f"{name} {number(value, 0 if value > 1 else 3)}" for name, value in found.counts.items()]
    return ", ".join(parts) + "."
