"""The functions behind `lethe.unlearn`, `lethe.audit`, `lethe.bench` and the commands of the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lethe.auditing.intake import Intake
from lethe.budget import affordable, checked
from lethe.data.atomic import write_json
from lethe.errors import InputError
from lethe.findings import LeftOut
from lethe.models import classes_of_model, edges_of, family_of, load
from lethe.models.base import Model
from lethe.registry import find, settle
from lethe.report import write_headlines, write_model_card, write_orders, write_overview, write_report
from lethe.report.keys import read_private
from lethe.report.record import audit_record, write_record
from lethe.report.signed import sign as write_signature
from lethe.runs.bench import cells_of, divide, make_plan, run_plan
from lethe.runs.cells import Cell
from lethe.runs.environment import code, environment
from lethe.runs.headlines import Headlines, run_headlines
from lethe.runs.results import BenchmarkResult, Cost, Results, Row
from lethe.runs.sequence import given_checks
from lethe.runs.tune import Trial, Tuned, run_tune, validation_plan
from lethe.runs.unlearn import Source, carry_out, check_family, make_request, read_manifest
from lethe.runs.workers import Pool

# What stands beside target, controls and floors; the options are the benchmarks' presets.
# Ascent runs on at the rate of the others, as papers run it: the benchmark's own preset for it stops early.
DEMO = {
    "tofu": (
        "ga:lr=1e-3,epochs=5",
        "grad_diff",
        "npo",
        "npo:step=sam:rho=0.1",
        "simnpo",
        "idk",
        "rmu",
        "task_vector",
    ),
    "faces": ("finetune", "neggrad_plus", "scrub", "salun"),
    "shop": ("finetune", "grad_diff", "reverse_bpr"),
}

ATTACKED = {"quick": 1, "standard": 2, "thorough": 3}  # most controls that an audit attacks


def unlearn(
    model: str | Path | Model,
    forget: Source,
    retain: Source = (),
    holdout: Source = (),
    *,
    method: str,
    out: str | Path | None = None,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    family: str | None = None,
    seed: int = 0,
    intent: str = "removal",
    scope: str = "entity",
    reason: str = "",
    allow_overlap: bool = False,
    trust_remote_code: bool = False,
) -> Model:
    """Make a model forget.

    Args:
        model: Folder, hub id, or a Lethe model.
        forget: Records to forget: a path, a hub name, `tiny:WORLD:SPLIT`, or a list of records.
        retain: Records to keep.
        holdout: Records never trained on.
        method: Registered name, see `lethe list methods`.
        out: Folder for the unlearned model with its manifest `lethe.json`; None writes nothing. A run that was killed
            continues from its last checkpoint when the same call is made again.
        preset: Options of the method by a name, such as paper (the authors' own); those of `options` go before them.
        options: Options of the method, see `lethe describe METHOD`.
        family: language, classifier or recommender; read from the model where not given.
        seed: Seed of the request.
        intent: removal, suppression or unsure.
        scope: sample, entity, topic, capability or copyright.
        reason: Why, in your words; kept in the manifest.
        allow_overlap: Accept records that stand in forget and another set.
        trust_remote_code: Run code that comes with the model.

    Raises:
        InputError: If anything about the input does not fit; nothing is written then.
    """
    if out is not None and isinstance(model, str | Path) and Path(out).resolve() == Path(model).resolve():
        raise InputError(f"{out} is the model itself; write the unlearned one elsewhere, the audit needs both.")
    card = find("method", method)
    given = {**({"preset": preset} if preset else {}), **(options or {})}
    settle(card, given)  # a mistyped option is found before anything is loaded
    known = model.family if isinstance(model, Model) else family or family_of(model)
    check_family(card, known)
    # A recommender carries the interactions that a request means by its users and items, a classifier its class names.
    loaded = _opened(model, known, trust_remote_code) if known != "language" else None
    request, sources = make_request(
        known,
        forget,
        retain,
        holdout,
        edges=edges_of(loaded) if loaded else None,
        classes=classes_of_model(loaded) if loaded and known == "classifier" else ((), None),
        seed=seed,
        intent=intent,
        scope=scope,
        reason=reason,
        allow_overlap=allow_overlap,
    )
    loaded = loaded or _opened(model, known, trust_remote_code)
    original = "" if isinstance(model, Model) else str(model)
    return carry_out(loaded, request, method, given, out, sources=sources, original=original, finish=write_model_card)


def _opened(model: str | Path | Model, family: str, trust: bool) -> Model:
    return model if isinstance(model, Model) else load(model, family=family, trust_remote_code=trust)


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
    budget: str = "standard",
    family: str | None = None,
    intent: str = "",
    scope: str = "",
    threat: str = "",
    basis: str = "",
    deadline: str = "",
    seed: int = 0,
    allow_overlap: bool = False,
    trust_remote_code: bool = False,
    sign: str | Path | None = None,
    sequence: str | Path = "",
    workers: int = 1,
) -> Results:
    """Observe, attack and judge an unlearned model; writes the report and the record audit.json.

    Args:
        model: The unlearned model's folder.
        original: The model before unlearning.
        forget: Records that were to be forgotten: a path, a hub name or `tiny:WORLD:SPLIT`.
        out: Folder for report.html, report.md, results.json and audit.json.
        retain: Records that were to be kept.
        holdout: Records of the same kind, never trained on.
        control: Models trained without the forget set; two or more with different seeds.
        attacks: Attacks, each `name:option=value,...`; by default all that fit and that the budget pays for.
        budget: quick, standard or thorough: which attacks are made, on how many controls, and what is looked at.
        family: language, classifier or recommender; read from the model where not given.
        intent: removal, suppression or unsure; not stated is read as removal.
        scope: sample, entity, topic, capability or copyright; not stated is read as entity.
        threat: Who must not get it back: api (asks and reads answers), logits (reads probabilities as well), weights
            (holds them) or insider (holds some of the forgotten records too); not stated is read as insider.
        basis: Why the request must be met: a law, a contract, a policy.
        deadline: By when, YYYY-MM-DD.
        seed: Seed of the attacks.
        allow_overlap: Accept records that stand in forget and another set.
        trust_remote_code: Run code that comes with a model.
        sign: Private Ed25519 key, PEM, see `lethe keygen`; writes audit.json.sig over the record and the report.
        sequence: Folder of `lethe bench sequence` whose last state the model is; gives the lines O1 to O8.
        workers: Processes.

    Raises:
        InputError: If models, records or the key cannot be loaded, or do not fit each other.
    """
    intake = Intake(intent, scope, threat, basis, deadline)
    key = None if sign is None else read_private(sign)  # before the work that would be lost without it
    options: dict[str, Any] = {
        "model": str(original), "forget": str(forget), "retain": str(retain), "holdout": str(holdout),
        "control": tuple(str(folder) for folder in control), "family": family or "", "intent": intent or "removal",
        "scope": scope or "entity", "seed": seed, "allow_overlap": allow_overlap, "budget": checked(budget),
        "trust_remote_code": trust_remote_code,
    }  # fmt: skip
    for call in attacks or ():
        find("attack", call.partition(":")[0])
    plan = make_plan("records", options, Path(out) / "run", len(control), attacks=True, calls=tuple(attacks or ()))
    manifest, task = read_manifest(model), plan.task()
    subject = load(model, family=task.family, trust_remote_code=trust_remote_code)
    left_out: tuple[LeftOut, ...] = ()
    if attacks is None:
        calls, left_out = affordable(budget, subject.family, subject.abilities, task.request)
        plan = replace(plan, calls=calls, attacked=ATTACKED[budget], forgiving=True)
    weights = subject.fingerprint()
    if manifest and manifest["weights_after"] != weights:
        raise InputError(f"{model}: its weights are not those that lethe.json vouches for; audit an untouched folder.")
    seeded = int(manifest.get("seed", 0))
    name = Path(model).resolve().name
    label = f"audited-{name}" if name in ("target", "control") else name
    cell = Cell(manifest.get("method", ""), seeded, "method", (("weights", weights),), label, str(model))
    with Pool(workers) as pool:
        result, costs = run_plan(
            plan, [cell], pool, given=[*intake.checks(), *given_checks(sequence, weights)],
            budget="" if attacks else budget, left_out=left_out,
        )  # fmt: skip
    results = Results(
        title=f"Audit of {Path(model).name}",
        command="lethe audit",
        benchmarks=(result,),
        environment=environment(),
        config={name: value for name, value in options.items() if value not in ("", ())}
        | {name: value for name, value in asdict(intake).items() if value}
        | {"audited": str(model), "intake": asdict(intake)},
    )
    _write(results, costs, out)
    write_model_card(out, manifest, row=result.rows[-1], benchmark=result)
    record = write_record(audit_record(results, task, intake, code=code(), behaviour=subject.behaviour()), out)
    if key is not None:
        write_signature(record, key)
    return results


def bench(
    name: str,
    *,
    out: str | Path,
    source: str = "tiny",
    split: str | None = None,
    methods: Sequence[str] | None = None,
    seeds: int = 1,
    controls: int = 3,
    attacks: bool = True,
    model: str | None = None,
    control: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    workers: int = 2,
) -> Results:
    """Compare methods on a benchmark, with controls, floors, attacks and intervals.

    Args:
        name: Benchmark, see `lethe list benchmarks`; or several, separated by commas, each with its default split and
            options.
        out: Folder for results.json, report.html, report.md, and everything made on the way.
        source: tiny (embedded world), hub, or a path with the official data.
        split: Split of the benchmark.
        methods: Methods, each `name` or `name:option=value,...` on top of the benchmark's preset; all with a preset by
            default.
        seeds: Seeds per method.
        controls: Models trained without the forget set, each with another seed.
        attacks: Attack every model with the benchmark's attacks.
        model: Folder of the target model, for sources other than tiny.
        control: Folders of control models, for sources other than tiny.
        options: Further options of the benchmark, or of the methods as METHOD.OPTION.
        workers: Processes.

    Raises:
        InputError: If a name or option does not exist or does not fit.
    """
    names = [part.strip() for part in name.split(",")]
    own, of_methods = divide(options or {})
    given = {"source": source, "split": split, "model": model, "control": tuple(control) or None, **own}
    given = {key: value for key, value in given.items() if value is not None}
    if len(names) > 1 and (stray := sorted(set(given) - {"source"})):
        raise InputError(f"{stray[0]} belongs to one benchmark, and {len(names)} are named; run them one by one.")
    found, costs = [], {}
    with Pool(workers) as pool:
        plans = [make_plan(one, given, Path(out) / one, controls, attacks) for one in names]
        runs = [(plan, cells_of(plan.task(), methods, seeds, of_methods)) for plan in plans]  # refused before any work
        for plan, cells in runs:
            result, cost = run_plan(plan, cells, pool)
            found.append(result)
            costs |= cost
    results = Results(
        title=f"{', '.join(names)} ({source})",
        command=f"lethe bench {','.join(names)}",
        benchmarks=tuple(found),
        environment=environment(),
        config={"benchmark": ",".join(names), **given, "seeds": seeds, "controls": controls, "attacks": attacks},
    )
    _write(results, costs, out)
    return results


def bench_headlines(*, out: str | Path, only: Sequence[str] = (), seeds: int = 3, workers: int = 2) -> Headlines:
    """Measure the claims of papers in miniature, and say which hold.

    Args:
        out: Folder for results.json, headlines.md, headlines.html, and a file per claim and seed; what has its file is
            not measured again unless the claim's own source has changed.
        only: Names of claims, see `lethe list headlines`; all by default.
        seeds: Seeds of each claim, from 0.
        workers: Processes.

    Raises:
        InputError: On an unknown name, or a count below 1.
    """
    found = run_headlines(out, only=only, seeds=seeds, workers=workers)
    write_json(Path(out) / "results.json", asdict(found))
    write_headlines(found, out)
    return found


def tune(
    method: str,
    *,
    out: str | Path,
    split: str,
    benchmark: str = "tofu",
    source: str = "tiny",
    trials: int = 20,
    space: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    control: Sequence[str] = (),
    controls: int = 2,
    seed: int = 1,
    workers: int = 2,
    watch: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Search a method's options on a validation split; a killed search goes on with the same trials.

    The rule: of all trials that leave at most 0.2 of what the target knows of the forget set beyond the controls, keep
    at least 0.9 of its utility, and whose KL to the control on the retain set is at most 0.1 nats per token above its
    own, the one with the smallest KL to the control on the forget set.

    Args:
        method: Registered name, see `lethe list methods`.
        out: Folder for tune.json, best.yaml (a --config of `lethe unlearn`) and the search itself.
        split: Split of the benchmark; its default, which tables report, is refused.
        benchmark: Benchmark, see `lethe list benchmarks`.
        source: tiny (embedded world), hub, or a path with the official data.
        trials: Trials in all, earlier ones of the same search included.
        space: Ranges by option, LOW:HIGH, LOW:HIGH:log or ONE|OTHER; else lr, epochs and the method's own decimals.
        options: Options that stay fixed; the benchmark's preset stands below them.
        model: Folder of the target model, for sources other than tiny.
        control: Folders of control models, for sources other than tiny.
        controls: Models trained without the forget set, each with another seed.
        seed: Seed of the search and of the embedded world; tables report world 0, so these are other people.
        workers: Processes, each with a trial.
        watch: Receives each trial when it is over.

    Raises:
        InputError: If a name, option or range does not fit, or the split is the reported one.
    """
    sides = {"model": model, "control": tuple(control) or None}
    given = {name: value for name, value in sides.items() if value}
    plan = validation_plan(
        benchmark, split, Path(out) / benchmark, source=source, seed=seed, controls=controls, options=given
    )
    return run_tune(
        method, plan, Path(out), trials=trials, space=space or {}, options=options or {}, seed=seed, workers=workers,
        watch=watch,
    )  # fmt: skip


def demo(out: str | Path, *, workers: int = 2) -> Results:
    """Train targets and controls, unlearn, attack, audit and report; every figure is computed in this run.

    Args:
        out: Folder for results and report.
        workers: Processes.

    Raises:
        InputError: If the number of workers is below 1.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    results, costs = [], {}
    with Pool(workers) as pool:
        for name, methods in DEMO.items():
            plan = make_plan(name, {}, Path(out) / name, controls=3, attacks=True)
            result, cost = run_plan(plan, cells_of(plan.task(), methods, 1, {}), pool)
            results.append(result)
            costs |= cost
    found = Results(
        title="Lethe demo: three worlds, three families",
        command="lethe demo",
        benchmarks=tuple(results),
        environment=environment(),
        config={"methods": {name: list(methods) for name, methods in DEMO.items()}, "controls": 3},
    )
    _write(found, costs, out)
    return found


def _write(results: Results, costs: Mapping[str, Cost], out: str | Path) -> None:
    """results.json, cost.json, the report, and a card beside every model that the run made."""
    results.save(out)
    write_json(Path(out) / "cost.json", {name: asdict(cost) for name, cost in sorted(costs.items())})
    write_report(results, costs, out)
    write_overview(results, costs, out)
    write_orders(results, out)
    for benchmark in results.benchmarks:
        for row in benchmark.rows:
            _write_card(Path(out) / benchmark.name / "models" / row.id, row, benchmark)


def _write_card(folder: Path, row: Row, benchmark: BenchmarkResult) -> None:
    if folder.is_dir() and not row.failure:
        write_model_card(folder, read_manifest(folder), row=row, benchmark=benchmark)
