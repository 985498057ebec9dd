"""What `lethe bench` runs beside benchmarks: the calibration of metrics, and recorded logs scored without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lethe.api import bench_headlines
from lethe.data.atomic import write_json
from lethe.errors import InputError
from lethe.registry import bind
from lethe.report import headlines_table
from lethe.report.calibration import calibration_table, write_calibration
from lethe.report.recorded import recorded_table, write_recorded
from lethe.runs.calibrate import Calibration, run_calibration
from lethe.runs.recorded import Convention, Recorded, read_recorded


def calibrate(*, out: str | Path, models: int = 30, workers: int = 2) -> Calibration:
    """Measure what every metric and attack tells of models that know and models that never saw the data.

    Args:
        out: Folder for calibration.json, calibration.md, calibration.html and a file per model; a killed run goes on
            where it was.
        models: Models on either side, a multiple of three.
        workers: Processes.

    Raises:
        InputError: If a count does not fit.
    """
    found = run_calibration(out, models=models, workers=workers)
    write_json(Path(out) / "calibration.json", asdict(found))
    write_calibration(found, out)
    return found


def rescore(
    name: str,
    source: str | Path,
    *,
    out: str | Path,
    control: Sequence[str] = (),
    convention: Convention = "tofu",
    rows: int | None = None,
    seed: int = 0,
) -> Recorded:
    """All aggregates of a benchmark's recorded evaluation logs, with no model.

    Args:
        name: tofu (the logs of TOFU or ULD) or tddbench (its ROC curves).
        source: Folder of the logs, or one log.
        out: Folder for results.json, report.md and report.html.
        control: Names of the logs of models that never saw the forget set, as the folder names them.
        convention: tofu reads the first 300 rows of each set, open-unlearning all.
        rows: Most rows of each set, in the place of the convention's.
        seed: Seed of the bootstrap intervals.

    Raises:
        InputError: If a log lacks something, a control is not among them, or the benchmark has no recorded logs.
    """
    found = read_recorded(name, source, control=control, convention=convention, rows=rows, seed=seed)
    found.save(out)
    write_recorded(found, out)
    return found


@dataclass(frozen=True)
class Shown:
    """What a command prints: a table, the page, and what failed with the reason."""

    table: Any
    page: Path
    failures: Sequence[tuple[str, str]] = ()


def shown(name: str, chosen: Mapping[str, Any], options: Mapping[str, Any]) -> Shown | None:
    """The study that a command asks for, made and written; None where it asks for a benchmark.

    Args:
        name: What stands behind `lethe bench`.
        chosen: Its options as given, without defaults.
        options: Those of --set.

    Raises:
        InputError: If an option is given that the study does not take.
    """
    out = Path(chosen["out"])
    if name == "headlines":
        _takes(f"bench {name}", chosen, options, "only", "seeds", "workers", "out")
        claims = bench_headlines(**{**chosen, "only": _listed(chosen.get("only") or ())})
        failed = [(f"{one.name}, seed {seed}", why) for one in claims.findings for seed, why in one.failures.items()]
        return Shown(headlines_table(claims), out / "headlines.html", failed)
    if name == "calibrate":
        _takes(f"bench {name}", chosen, options, "models", "workers", "out")
        return Shown(calibration_table(calibrate(**chosen)), out / "calibration.html")
    if "models" in chosen:
        raise InputError("--models belongs to `lethe bench calibrate`; a benchmark counts --seeds and --controls.")
    if "from_logs" not in chosen:
        return None
    _takes(f"bench {name} --from-logs", chosen, {}, "from_logs", "control", "out")
    given = bind(read_recorded, {**options, **_controls(chosen)}, what=f"bench {name} --from-logs")
    return Shown(recorded_table(rescore(name, chosen["from_logs"], out=out, **given)), out / "report.html")


def _controls(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {"control": tuple(_listed(chosen["control"]))} if chosen.get("control") else {}


def _takes(what: str, chosen: Mapping[str, Any], options: Mapping[str, Any], *known: str) -> None:
    if stray := sorted({*chosen, *(["set"] if options else [])} - set(known)):
        told = ", ".join(f"--{name.replace('_', '-')}" for name in known)
        raise InputError(f"`lethe {what}` takes no --{stray[0].replace('_', '-')}; it takes {told}.")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
