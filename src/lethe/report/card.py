"""The model card of an unlearned model: README.md with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lethe.data.atomic import write_text
from lethe.report import verdicts
from lethe.report.attacks import curves
from lethe.report.markdown import environment
from lethe.report.numbers import finite, printable
from lethe.report.reach import reached
from lethe.report.tables import Column, Group, column, groups, names, settings, stem
from lethe.report.verdicts import MEANING, Finding, finding
from lethe.runs.results import BenchmarkResult, Row

LIBRARY = {"language": "transformers"}
TASK = {"language": "text-generation", "classifier": "image-classification"}  # the hub has none for recommenders
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def write_model_card(
    folder: str | Path,
    manifest: Mapping[str, Any],
    *,
    row: Row | None = None,
    benchmark: BenchmarkResult | None = None,
) -> Path:
    """Write README.md into an unlearned model's folder.

    Args:
        folder: The model's folder; its name is the model's name.
        manifest: What `lethe.json` holds, and `license` where it is known.
        row: What was found of the model; None says that it was not audited.
        benchmark: The benchmark that the row belongs to.

    Raises:
        InputError: If the folder cannot be written to.
    """
    folder = Path(folder)
    name = printable(folder.resolve().name)
    shown = _columns(row, benchmark) if row and benchmark else []
    family = benchmark.family if benchmark else str(manifest.get("family", ""))
    told = {
        "name": name,
        "family": family,
        "method": str(manifest.get("method") or (row.method if row else "")),
        "manifest": _plain(manifest),
        "options": settings(manifest.get("options") or {}),
        "packages": settings(manifest.get("environment") or {}),
        "request": manifest.get("request") or {},
        "metadata": yaml.safe_dump(
            _metadata(name, family, manifest, row, benchmark), sort_keys=False, allow_unicode=True, width=10_000
        ),
        "load": _load(manifest, family),
        "row": row,
        "benchmark": benchmark,
        "columns": shown,
        "meaning": MEANING,
        **_audit(row),
    }
    return write_text(folder / "README.md", environment().get_template("card.md.j2").render(told))


def _metadata(
    name: str, family: str, manifest: Mapping[str, Any], row: Row | None, benchmark: BenchmarkResult | None
) -> dict[str, Any]:
    """The front matter; a key that is not known is left out."""
    method = str(manifest.get("method", "") or (row.method if row else ""))
    original = str(manifest.get("original") or "")
    on_hub = HUB_NAME.fullmatch(original) is not None and not Path(original).exists()
    found: dict[str, Any] = {
        "license": str(manifest.get("license") or "").lower() or None,
        "library_name": LIBRARY.get(family, "lethe"),
        "pipeline_tag": TASK.get(family),
        "base_model": original if on_hub else None,
        "tags": [tag for tag in ("lethe", "machine-unlearning", family, method) if tag],
    }
    results = _model_index(name, family, row, benchmark) if row and benchmark else []
    return {key: value for key, value in {**found, "model-index": results}.items() if value}


def _model_index(name: str, family: str, row: Row, benchmark: BenchmarkResult) -> list[dict[str, Any]]:
    """Every finite score of the row; one that is not finite was not measured, and is no result."""
    controls = {one.name: one.control.value for one in _columns(row, benchmark)}
    metrics = []
    for score in row.scores:
        if finite(score.value) is None:
            continue
        told = {"set": score.set, "n": score.n, "low": finite(score.low), "high": finite(score.high)}
        told["control"] = finite(controls.get(score.name))
        args = {key: value for key, value in told.items() if value is not None}
        metrics.append({"type": score.metric, "name": score.name, "value": float(score.value), "args": args})
    task = TASK.get(family, "other")
    dataset = {"type": re.sub(r"[^\w./-]+", "-", benchmark.name), "name": f"{benchmark.name} {benchmark.split}".strip()}
    if benchmark.split:
        dataset["split"] = benchmark.split
    results = [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]
    return [{"name": name, "results": results}] if metrics else []


def _audit(row: Row | None) -> dict[str, Any]:
    """Verdict, what was not tested and the attacks, of this row alone."""
    if row is None:
        return {"finding": None, "untested": [], "attacks": [], "accesses": (), "unattempted": list(MEANING)}
    line = Group(stem(row.id), row.role, (row,))
    found: Finding = finding(line)
    made = curves([line])
    return {
        "finding": found,
        "untested": [check for check, _ in verdicts.untested([found])],
        "unattempted": verdicts.unattempted([found]),
        "attacks": made,
        "accesses": reached([found], made)[0].accesses,
    }


def _columns(row: Row, benchmark: BenchmarkResult) -> list[Column]:
    """The row's scores in table order, each with the control's; the last cell is the row's."""
    controls = [line for line in groups(benchmark) if line.role == "control"]
    lines = [*controls, Group(stem(row.id), row.role, (row,))]
    return [column(benchmark, lines, name) for name in names(benchmark)]


def _load(manifest: Mapping[str, Any], family: str) -> list[str]:
    """The lines that load the folder: those of the manifest, or what any language model's folder takes."""
    lines = [str(line) for line in manifest.get("load") or ()]
    if not lines and family == "language":
        lines = [
            "from transformers import AutoModelForCausalLM",
            'model = AutoModelForCausalLM.from_pretrained("FOLDER")',
        ]
    if any("AutoModelForCausalLM" in line for line in lines):
        lines += ["from transformers import AutoTokenizer", 'tokenizer = AutoTokenizer.from_pretrained("FOLDER")']
    return [line.replace("FOLDER", "path/to/this/folder") for line in lines]


def _plain(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What identifies the weights, as text."""
    wanted = (
        "method",
        "preset",
        "original",
        "weights_before",
        "weights_after",
        "changed_weights",
        "total_weights",
        "seed",
    )
    return {key: str(manifest[key]) if isinstance(manifest[key], str) else json.dumps(manifest[key]) for key in wanted
            if manifest.get(key) not in (None, "")}  # fmt: skip
