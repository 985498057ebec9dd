"""What `lethe bench` runs beside benchmarks: calibration, membership, shadow models, sequences, recorded logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
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
from lethe.report.sequence import sequence_table, write_sequence
from lethe.report.shadows import shadows_table, write_shadows
from lethe.report.thresholds import thresholds_table
from lethe.runs.bench import divide
from lethe.runs.calibrate import Calibration, run_calibration
from lethe.runs.config import calls
from lethe.runs.detection import Detection, rescored_detection, run_detection
from lethe.runs.division import By
from lethe.runs.recorded import Convention, Recorded, read_recorded
from lethe.runs.sequence import Costs, Served, run_sequence, save
from lethe.runs.shadows import METHODS, Shadows, run_shadows
from lethe.runs.shadows import Setting as ShadowSetting
from lethe.runs.thresholds import run_thresholds


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


def thresholds(
    *, out: str | Path, models: int = 12, seeds: int = 108, budget: str = "quick", workers: int = 2
) -> dict[str, Any]:
    """Audit models that truly never knew: how far each line of the checklist strays, and how often the audit errs.

    Args:
        out: Folder for thresholds.json, which is the data of `lethe.auditing`; a killed run goes on where it was.
        models: Tiny language models retrained without the forget set, 12 or more.
        seeds: Toys trained without it, 12 or more.
        budget: What the tiny models are attacked with: quick, standard or thorough.
        workers: Processes.

    Raises:
        InputError: If there are too few controls, or there is no such budget.
    """
    found = run_thresholds(out, models=models, seeds=seeds, budget=budget, workers=workers)
    write_json(Path(out) / "thresholds.json", found)
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


def ulira(
    *,
    out: str | Path,
    benchmark: str = "digits",
    methods: tuple[str, ...] = METHODS,
    shadows: int = 64,
    targets: int = 32,
    recipe: str = "",
    seed: int = 0,
    workers: int = 2,
    options: Mapping[str, Any] | None = None,
) -> Shadows:
    """U-LiRA, LiRA and a population attack on what methods make of classifiers, with managed shadow models.

    Args:
        out: Folder for results.json, ulira.md and the observations; a killed run goes on where it was.
        benchmark: A benchmark of classifiers that trains its own models, such as digits or faces.
        methods: Calls such as scrub:lr=1e-3, over the benchmark's presets.
        shadows: Models that the attacker knows, an even number; each holds half of the points.
        targets: Models that are attacked, an even number.
        recipe: How models are trained where it is not as in the benchmark, such as epochs=40,batch_size=64.
        seed: Seed of the benchmark's world, of who holds what, and of the bootstrap.
        workers: Processes.
        options: Those of the benchmark.

    Raises:
        InputError: If a count, the benchmark or a method does not fit.
    """
    setting = ShadowSetting(benchmark, tuple(sorted((options or {}).items())), shadows, targets, seed, recipe)
    found = run_shadows(out, setting, methods=methods, workers=workers)
    write_shadows(found, out)
    return found


def sequence(
    *,
    out: str | Path,
    benchmark: str = "tofu",
    methods: tuple[str, ...] = (),
    requests: int = 0,
    by: By = "entity",
    orders: int = 3,
    batches: tuple[int, ...] = (),
    sizes: tuple[float, ...] = (),
    repeat: bool = True,
    seeds: int = 1,
    controls: int = 3,
    workers: int = 2,
    options: Mapping[str, Any] | None = None,
) -> tuple[Served, Costs]:
    """Requests one after another on a benchmark: the lines O1 to O8 of the checklist.

    Args:
        out: Folder for results.json, cost.json, sequence.md, sequence.html and the states; a killed run goes on.
        benchmark: Its forget set is divided into requests.
        methods: Calls such as npo:lr=1e-3, over the benchmark's presets.
        requests: Number of requests; 0 takes the benchmark's own where it has several, or five.
        by: entity, all records of one entity, identity or user in one request; or record.
        orders: Orders in which the requests are served, the given one included.
        batches: Numbers of requests served at once, beside one and all.
        sizes: Shares of all records, each forgotten afresh, such as 0.01,0.05,0.2.
        repeat: Serve the last request a second time.
        seeds: Seeds per method.
        controls: Controls with different seeds.
        workers: Processes.
        options: Those of the benchmark, and of methods as `npo.beta`.

    Raises:
        InputError: If a number does not fit the forget set, or a name does not exist.
    """
    own, of_methods = divide(options or {})
    found, costs = run_sequence(
        out, benchmark=benchmark, options=own, methods=methods, of_methods=of_methods, requests=requests, by=by,
        orders=orders, batches=batches, sizes=sizes, repeat=repeat, seeds=seeds, controls=controls, workers=workers,
    )  # fmt: skip
    save(found, costs, out)
    write_sequence(found, costs, out)
    return found, costs


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
    if name == "thresholds":
        _takes("bench thresholds", chosen, {}, "models", "workers", "out")
        given = bind(thresholds, {**options, **chosen, "out": str(out)}, what="bench thresholds")
        return Shown(thresholds_table(thresholds(**given)), out / "thresholds.json")
    if name == "tddbench" and "from_logs" not in chosen:
        _takes("bench tddbench", chosen, {}, "source", "workers", "out")
        found = tddbench(**bind(tddbench, {**options, **chosen, "out": str(out)}, what="bench tddbench"))
        return Shown(detection_table(found, read_costs(out)), out / "tddbench.md")
    if name == "ulira":
        return _ulira(chosen, options)
    if name == "sequence":
        return _sequence(chosen, options)
    if "models" in chosen:
        raise InputError("--models belongs to `lethe bench calibrate`; a benchmark counts --seeds and --controls.")
    if "from_logs" not in chosen:
        return None
    _takes(f"bench {name} --from-logs", chosen, {}, "from_logs", "control", "out")
    given = bind(read_recorded, {**options, **_controls(chosen)}, what=f"bench {name} --from-logs")
    return Shown(recorded_table(rescore(name, chosen["from_logs"], out=out, **given)), out / "report.html")


def _ulira(chosen: Mapping[str, Any], options: Mapping[str, Any]) -> Shown:
    """What --set names is the study's own where it has such an option, and the benchmark's otherwise."""
    _takes("bench ulira", chosen, {}, "methods", "split", "workers", "out")
    own = [option for option in signature(ulira).parameters if option != "options"]
    given = {key: value for key, value in {**options, **chosen}.items() if key in own}
    others = {key: value for key, value in {**options, **chosen}.items() if key not in own}
    if "methods" in given:
        given["methods"] = tuple(calls(given["methods"]))
    bound = bind(ulira, {**given, "out": str(chosen["out"])}, what="bench ulira")
    return Shown(shadows_table(ulira(**bound, options=others)), Path(chosen["out"]) / "ulira.md")


def _sequence(chosen: Mapping[str, Any], options: Mapping[str, Any]) -> Shown:
    """What --set names is the study's own where it has such an option, and the benchmark's or a method's otherwise."""
    of_benchmark = ("source", "split", "model", "control")
    _takes("bench sequence", chosen, {}, "methods", "seeds", "controls", "workers", "out", *of_benchmark)
    own = [option for option in signature(sequence).parameters if option != "options"]
    given = {key: value for key, value in options.items() if key in own}
    given |= {key: value for key, value in chosen.items() if key not in of_benchmark}
    others = {key: value for key, value in options.items() if key not in own}
    others |= {key: chosen[key] for key in of_benchmark if key in chosen}
    if "methods" in given:
        given["methods"] = tuple(calls(given["methods"]))
    bound = bind(sequence, {**given, "out": str(chosen["out"])}, what="bench sequence")
    found, costs = sequence(**bound, options=others)
    failed = [(f"{one.label}, seed {one.seed}, {one.kind}", one.failure) for one in found.courses if one.failure]
    return Shown(sequence_table(found, costs), Path(chosen["out"]) / "sequence.html", failed)


def _controls(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {"control": tuple(_listed(chosen["control"]))} if chosen.get("control") else {}


def _takes(what: str, chosen: Mapping[str, Any], options: Mapping[str, Any], *known: str) -> None:
    if stray := sorted({*chosen, *(["set"] if options else [])} - set(known)):
        told = ", ".join(f"--{name.replace('_', '-')}" for name in known)
        raise InputError(f"`lethe {what}` takes no --{stray[0].replace('_', '-')}; it takes {told}.")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
