"""An audit: one unlearned model against its original and its controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lethe.errors import InputError
from lethe.models import load
from lethe.registry import find, names
from lethe.runs.bench import make_plan, run_plan, write_all
from lethe.runs.cells import Cell
from lethe.runs.environment import environment
from lethe.runs.results import Results
from lethe.runs.workers import Pool


def audit(
    model: str | Path,
    original: str | Path,
    *,
    forget: str | Path,
    out: str | Path,
    retain: str | Path = "",
    holdout: str | Path = "",
    control: Sequence[str | Path] = (),
    attacks: Sequence[str] | None = None,
    family: str | None = None,
    intent: str = "removal",
    seed: int = 0,
    allow_overlap: bool = False,
    trust_remote_code: bool = False,
    workers: int = 1,
) -> Results:
    """Observe, attack and judge an unlearned model; writes the report.

    Args:
        model: The unlearned model's folder.
        original: The model before unlearning.
        forget: Records that were to be forgotten: a path, a hub name or `tiny:WORLD:SPLIT`.
        out: Folder for report.html, report.md and results.json.
        retain: Records that were to be kept.
        holdout: Records of the same kind, never trained on.
        control: Models trained without the forget set; two or more with different seeds.
        attacks: Attacks, each `name:option=value,...`; by default all that fit.
        family: language, classifier or recommender; read from the model where not given.
        intent: removal, suppression or unsure.
        seed: Seed of the attacks.
        allow_overlap: Accept records that stand in forget and another set.
        trust_remote_code: Run code that comes with a model.
        workers: Processes.

    Raises:
        InputError: If models or records cannot be loaded or do not fit each other.
    """
    options: dict[str, Any] = {
        "model": str(original), "forget": str(forget), "retain": str(retain), "holdout": str(holdout),
        "control": tuple(str(folder) for folder in control), "family": family or "", "intent": intent, "seed": seed,
        "allow_overlap": allow_overlap, "trust_remote_code": trust_remote_code,
    }  # fmt: skip
    for call in attacks or ():
        find("attack", call.partition(":")[0])
    plan = make_plan("records", options, Path(out) / "run", len(control), attacks=True, calls=tuple(attacks or ()))
    manifest = read_manifest(model)
    subject = load(model, family=plan.task().family, trust_remote_code=trust_remote_code)
    weights = subject.fingerprint()
    if manifest and manifest["weights_after"] != weights:
        raise InputError(f"{model}: its weights are not those that lethe.json vouches for; audit an untouched folder.")
    cell = Cell(manifest.get("method", ""), int(manifest.get("seed", 0)), "method", (("weights", weights),),
                Path(model).name, str(model))  # fmt: skip
    with Pool(workers) as pool:
        result, costs = run_plan(plan, [cell], pool)
    results = Results(
        title=f"Audit of {Path(model).name}",
        command="lethe audit",
        benchmarks=(result,),
        environment=environment(),
        config={name: value for name, value in options.items() if value not in ("", ())} | {"audited": str(model)},
    )
    write_all(results, costs, out)
    return results


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """A model folder's `lethe.json`, or nothing where it has none.

    Raises:
        InputError: If the file is damaged, or names a method that is not installed.
    """
    path = Path(folder) / "lethe.json"
    if not path.is_file():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        method, _ = manifest["method"], manifest["weights_after"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); restore it, or delete it to audit the weights alone."
        ) from error
    if method not in names("method"):
        raise InputError(f"{path} names the method {method!r}, which is not installed; install its package.")
    return manifest
