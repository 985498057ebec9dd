"""Search a method's options on a validation split, by one stated rule; a killed search goes on with the same trials."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lethe.auditing.lines import LEFT
from lethe.data.atomic import write_json, write_text
from lethe.data.content import digest
from lethe.data.order import mix
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.base import Model
from lethe.registry import bind, find, settle
from lethe.runs.bench import make_plan
from lethe.runs.cells import Plan, prepare, told
from lethe.runs.space import Range, space_of
from lethe.runs.unlearn import apply_method, check_family
from lethe.runs.workers import Pool

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial as Draw

UTILITY, BAND = 0.9, 0.1  # share of the target's utility; nats per token, a tenth of perplexity
RULE = (
    f"Of all trials that leave at most {LEFT:g} of what the target knows of the forget set beyond the controls, keep "
    f"at least {UTILITY:g} of its utility, and whose KL to the control on the retain set is at most {BAND:g} nats per "
    "token above its own, the one with the smallest KL to the control on the forget set."
)
DISTANCES = ("distance:set=forget", "distance:set=retain")
DRAWN_AT_RANDOM = 6  # trials before the model of the space is asked
STUDY = "search.db"


@dataclass(frozen=True)
class Trial:
    """One set of options and what came of it; distances in nats per token."""

    number: int
    options: dict[str, Any]
    forget: float | None
    retain: float | None
    utility: float | None
    left: float | None  # share of what the target knows of the forget set beyond the controls: 1 all, 0 nothing
    admitted: bool  # whether the rule lets it be chosen
    failure: str = ""


@dataclass(frozen=True)
class Tuned:
    """A search: what was searched by which rule, every trial, and the number of the one that is chosen."""

    method: str
    benchmark: str
    split: str
    source: str
    seed: int
    rule: str
    space: dict[str, str]
    fixed: dict[str, Any]
    target: dict[str, float]  # forget, retain, utility, left of the untouched target
    shared: int  # forget records of the search that stand in the reported split as well
    trials: tuple[Trial, ...]
    best: int | None

    @property
    def chosen(self) -> Trial | None:
        """The trial that the rule chooses; None where it admits none."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    @property
    def preset(self) -> str:
        """The chosen options as a line of a benchmark's presets."""
        return f'"{self.method}": {json.dumps(self.chosen.options)},' if self.chosen else ""


def validation_plan(
    benchmark: str, split: str, out: Path, *, source: str, seed: int, controls: int, options: Mapping[str, Any]
) -> Plan:
    """The benchmark on a split that no table reports.

    Raises:
        InputError: If the split is the benchmark's default, which is what tables report, or part of it
            (published splits are nested: there it is told, see `Tuned.shared`), or there is no control.
    """
    card = find("benchmark", benchmark)
    known = card.options()
    if "split" not in known:
        raise InputError(f"{benchmark} has no splits, so nothing could be reported on another one than is searched.")
    if split == known["split"].default:
        raise InputError(
            f"{split} is the split of {benchmark} that tables report, and options are not chosen on what they are "
            "reported on; give another split."
        )
    given = {"source": source, "split": split, **({"seed": seed} if "seed" in known else {}), **options}
    plan = make_plan(benchmark, given, out, controls, attacks=False)
    if source == "tiny" and _shared(plan) == len(plan.task().request.forget):
        raise InputError(
            f"All forget records of {split} also stand in {known['split'].default}, the split that tables report, and "
            f"options are not chosen on them; give another --seed than {seed}, which makes other records."
        )
    if not plan.controls:
        raise InputError("The rule compares with a control; give at least one (--controls, or --control FOLDER).")
    return plan


def run_tune(
    method: str,
    plan: Plan,
    out: Path,
    *,
    trials: int,
    space: Mapping[str, str],
    options: Mapping[str, Any],
    seed: int,
    workers: int,
    watch: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Search until there are so many trials, and write `tune.json` and, where the rule admits one, `best.yaml`.

    Trials are drawn in rounds of one per process, so the same seed and number of processes give the same trials.

    Raises:
        InputError: If anything given does not fit, or the folder holds another search.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}; it must be at least 1.")
    card, task = find("method", method), plan.task()
    check_family(card, task.family)
    _needs_optuna()
    settle(card, options)
    own = {} if "preset" in options else task.presets.get(method, {})
    base = {**own, **{name: value for name, value in options.items() if name != "preset"}}
    base = bind(card.function, base, what=method) | {n: v for n, v in options.items() if n == "preset"}
    defaults = {name: option.default for name, option in card.options().items()} | settle(card, base)
    searched = space_of(card, options, space, defaults)
    fixed = {name: value for name, value in base.items() if name not in searched}
    first = {name: one.nearest(defaults[name]) for name, one in searched.items()}
    from optuna.trial import TrialState

    with Pool(workers) as pool:
        sides = [("target", 0), *(("control", number) for number in range(1, plan.controls + 1))]
        weights = pool.map(prepare, [(plan, role, number) for role, number in sides])
        (target,) = pool.map(look_at_target, [(plan,)])
        search = [RULE, method, plan.options, weights, {name: one.text for name, one in searched.items()}, fixed, seed]
        study = _study(out / STUDY, digest(search))
        if not any(trial.state == TrialState.WAITING or set(trial.params) == set(searched) for trial in study.trials):
            study.enqueue_trial(first)  # not drawn yet, or killed while it was
        while (left := trials - len(_finished(study))) > 0:
            draws = _draws(study, searched, min(left, pool.count), seed)
            given = [{**fixed, **{n: searched[n].rounded(v) for n, v in draw.params.items()}} for draw in draws]
            looks = pool.map(try_options, [(plan, method, one) for one in given])
            for draw, one, look in zip(draws, given, looks, strict=True):
                watch(_tell(study, draw, one, look, target))
    found = tuple(_finished(study)[:trials])
    best = min((trial for trial in found if trial.admitted), key=lambda one: (one.forget, one.number), default=None)
    named = dict(plan.options)
    tuned = Tuned(
        method, plan.name, str(named["split"]), str(named.get("source", "tiny")), seed, RULE,
        {name: one.text for name, one in searched.items()}, fixed, target, _shared(plan), found, best and best.number,
    )  # fmt: skip
    write_json(out / "tune.json", asdict(tuned), nan="null")
    if best is not None:
        write_text(out / "best.yaml", _yaml(tuned, best))
    else:
        (out / "best.yaml").unlink(missing_ok=True)
    return tuned


def _shared(plan: Plan) -> int:
    """How many forget records of the plan stand in what the benchmark reports by default."""
    given = {name: value for name, value in plan.options if name not in ("split", "seed")}
    reported = find("benchmark", plan.name).function(**given).request.forget
    known = {digest(dict(record)) for record in reported}
    return sum(digest(dict(record)) in known for record in plan.task().request.forget)


def look_at_target(plan: Plan) -> dict[str, float]:
    """What the rule reads, of the untouched target."""
    return _looked(plan, plan.side("target", 0))


def try_options(plan: Plan, method: str, options: Mapping[str, Any]) -> dict[str, float] | str:
    """Unlearn and look; an error is told, for it rules out these options and no others."""
    try:
        request = replace(plan.task().request, allow_overlap=True)  # the benchmark has compared its sets
        return _looked(plan, apply_method(method, plan.side("target", 0), request, options, None))
    except Exception as error:
        return told(error)


def _looked(plan: Plan, model: Model) -> dict[str, float]:
    """Only what the rule reads: no answers to forget questions are generated, and nothing of the holdout is seen."""
    task = plan.task()
    probes = {name: records for name, records in task.probes.items() if name != "holdout"}
    asked = probes if "*" in task.spec.generate else task.spec.generate
    spec = replace(task.spec, generate=tuple(name for name in asked if name != "forget"))
    evidence: Evidence = observe(model, probes, spec)
    controls = plan.control_evidence()
    calls = (*DISTANCES, task.utility)
    forget, retain, utility = (compute(call, evidence, controls).value for call in calls)
    known, target = (compute(task.knowledge, one, controls).value for one in (evidence, _target(plan, spec)))
    floor = sum(compute(task.knowledge, one, controls).value for one in controls) / len(controls)
    if not target > floor:
        raise InputError("The target knows no more of the forget set than the controls, so nothing can be forgotten.")
    looked = {"forget": forget, "retain": retain, "utility": utility, "left": (known - floor) / (target - floor)}
    if unmeasured := [name for name, value in looked.items() if not math.isfinite(value)]:
        raise InputError(f"{unmeasured[0]} is {looked[unmeasured[0]]}, so the rule cannot be asked.")
    return looked


@functools.lru_cache(maxsize=1)
def _target(plan: Plan, spec: Spec) -> Evidence:
    """What is observed of the untouched target, once per process."""
    probes = {name: records for name, records in plan.task().probes.items() if name != "holdout"}
    return observe(plan.side("target", 0), probes, spec)


def _needs_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise InputError("lethe tune needs Optuna; pip install 'lethe-ml[tune]'.")


def _study(path: Path, search: str) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(storage=f"sqlite:///{path.resolve()}", study_name="lethe", load_if_exists=True)
    if study.user_attrs.setdefault("search", search) != search:
        raise InputError(f"{path} holds another search (other options, space, seed or models); choose a new folder.")
    study.set_user_attr("search", search)
    return study


def _draws(study: Study, space: Mapping[str, Range], count: int, seed: int) -> list[Draw]:
    """The trials that a killed search left under way, or new ones; the draws are a function of seed and history."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import TrialState

    def distribution(one: Range) -> BaseDistribution:
        if one.choices:
            return CategoricalDistribution(one.choices)
        if one.whole:
            return IntDistribution(int(one.low), int(one.high), log=one.log)
        return FloatDistribution(one.low, one.high, log=one.log)

    under_way = study.get_trials(states=(TrialState.RUNNING,))
    for trial in under_way:
        if set(trial.params) != set(space):  # killed while it was being drawn
            study.tell(trial.number, state=TrialState.FAIL)
    whole = [trial for trial in under_way if set(trial.params) == set(space)][:count]
    draws = [optuna.trial.Trial(study, trial._trial_id) for trial in whole]
    drawn = len(_finished(study))
    while len(draws) < count:  # a sampler of its own for each: none depends on where the search was killed
        place = mix(seed, drawn + len(draws)) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=place, n_startup_trials=DRAWN_AT_RANDOM)
        draws.append(study.ask({name: distribution(one) for name, one in space.items()}))
    return draws


def _tell(
    study: Study, draw: Draw, options: Mapping[str, Any], look: Mapping[str, float] | str, target: Mapping[str, float]
) -> Trial:
    from optuna.trial import TrialState

    if isinstance(look, str):
        trial = Trial(draw.number, dict(options), None, None, None, None, False, look)
    else:
        lacking = {
            "utility": UTILITY * target["utility"] - look["utility"],
            "retain": look["retain"] - target["retain"] - BAND,
            "left": look["left"] - LEFT,
        }
        for name, value in lacking.items():
            draw.set_constraint(name, value)
        admitted = all(value <= 0 for value in lacking.values())
        trial = Trial(
            draw.number, dict(options), look["forget"], look["retain"], look["utility"], look["left"], admitted
        )
    draw.set_user_attr("trial", asdict(trial))
    if trial.forget is None:
        study.tell(draw.number, state=TrialState.FAIL)
    else:
        study.tell(draw.number, trial.forget)
    return trial


def _finished(study: Study) -> list[Trial]:
    from optuna.trial import TrialState

    over = study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL))
    return [Trial(**trial.user_attrs["trial"]) for trial in over if "trial" in trial.user_attrs]


def _yaml(tuned: Tuned, best: Trial) -> str:
    import yaml

    where = f"{tuned.benchmark}, {tuned.split} ({tuned.source}, seed {tuned.seed})"
    head = [
        f"Trial {best.number} of {len(tuned.trials)} of `lethe tune {tuned.method}` on {where}.",
        f"KL to the control: {best.forget:.3g} on forget, {best.retain:.3g} on retain; utility "
        f"{best.utility:.3g}, {best.left:.0%} of the forget set's knowledge left.",
        tuned.rule,
        *([f"{tuned.shared} of its forget records stand in the reported split, too."] if tuned.shared else []),
        f"As a line of a benchmark's presets: {tuned.preset}",
    ]
    body = yaml.safe_dump({"method": tuned.method, "set": best.options}, sort_keys=False)
    return "".join(f"# {line}\n" for line in head) + body


def trial_rows(tuned: Tuned, most: int = 8) -> Sequence[Trial]:
    """The trials worth showing: those that the rule admits, best first, then the others."""
    return sorted(tuned.trials, key=lambda one: (not one.admitted, one.forget is None, one.forget))[:most]
