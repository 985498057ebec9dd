"""What `lethe bench` runs beside benchmarks: the calibration of metrics, and recorded logs scored without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lethe.api import bench_headlines
from lethe.data.atomic import write_json
from lethe.detection.study import Setting
from lethe.errors import InputError
from lethe.registry import bind
from lethe.report import headlines_table
from lethe.report.calibration import calibration_table, write_calibration
from lethe.report.detection import detection_table, read_costs, write_detection
from lethe.report.recorded import recorded_table, write_recorded
from lethe.runs.calibrate import Calibration, run_calibration
from lethe.runs.detection import Detection, rescored_detection, run_detection
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


def tddbench(
    *,
    out: str | Path,
    source: str = "tiny",
    world: str = "records",
    targets: int = 5,
    references: int = 16,
    seed: int = 0,
    size: int = 0,
    epochs: int = 0,
    noise: float = 0.1,
    forget: float = 0.0,
    algorithms: tuple[str, ...] = (),
    copies: int = 10,
    published: bool = False,
    boundary_rows: int = 200,
    boundary_iterations: int = 20,
    boundary_queries: int = 2000,
    workers: int = 2,
) -> Detection:
    """All 21 training-data-detection algorithms of TDDBench (arXiv 2411.03363) on one kind of model.

    Args:
        out: Folder for results.json, cost.json, tddbench.md and what is made on the way; a killed run goes on.
        source: tiny, records with a label and an image or features, or a folder of recorded ROC curves to score again.
        world: Of source tiny: records (a table), digits or faces (images), authors or facts (texts).
        targets: Target models.
        references: Reference models, half of which are trained with each record; an even number.
        seed: Seed of world, pools, models and attack networks.
        size: Most records; 0 takes all.
        epochs: Passes over the training records; 0 takes the world's own.
        noise: Share of wrong labels in the worlds records and authors, 0 to below 1.
        forget: Share of the pool that every target holds and that is to be forgotten, 0 to 0.25: those records are then
            told from as many that nobody saw, on the targets and on targets retrained without them, by reference models
            that saw neither.
        algorithms: Names such as Model-lira; all of them by default.
        copies: Changed copies of each record for Query-neighbor and Query-augment.
        published: Change nothing where TDDBench's own rule does (1 % of fewer than 100 columns).
        boundary_rows: Records whose decision boundary is searched for, and those that Query-ref makes queries for.
        boundary_iterations: Rounds of that search; 50 in TDDBench.
        boundary_queries: Most questions of that search per record; 10,000 in TDDBench.
        workers: Processes.

    Raises:
        InputError: If a name, count or share does not fit.
    """
    place = Path(source)
    if source != "tiny" and (place.suffix == ".npz" or any(place.glob("*.npz")) or any(place.glob("*/fpr.npy"))):
        found, costs = rescored_detection(source, seed=seed), {}
    else:
        records = world if source == "tiny" else str(place.resolve())
        setting = Setting(
            records, targets, references, seed, size, epochs, noise, forget, copies,
            published, boundary_rows, boundary_iterations, boundary_queries,
        )  # fmt: skip
        found, costs = run_detection(out, setting, algorithms=algorithms, workers=workers)
    write_detection(found, costs, out)
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
    if name == "tddbench" and "from_logs" not in chosen:
        _takes("bench tddbench", chosen, {}, "source", "workers", "out")
        found = tddbench(**bind(tddbench, {**options, **chosen, "out": str(out)}, what="bench tddbench"))
        return Shown(detection_table(found, read_costs(out)), out / "tddbench.md")
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
