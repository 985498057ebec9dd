"""What metrics and attacks are worth: do they tell models that know from models that never saw the data?

Many small models of several sizes and lengths of training, half of them trained with the forget set and half without
it, are scored by every metric and attacked by every attack of their family. A figure is the AUC of the value alone,
with its orientation fixed beforehand, and how far a harmless fine-tuning moves a metric.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lethe.auditing.recovery import attacked, knowledge, takes_original
from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.data.derived import with_derived
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.base import Model
from lethe.registry import Card, find, names
from lethe.request import Record, Request
from lethe.runs.cells import told
from lethe.runs.environment import code, environment
from lethe.runs.workers import Pool
from lethe.scoring.intervals import bootstrap
from lethe.scoring.roc import auc, auc_score_interval
from lethe.train import Recipe, Term, train
from lethe.worlds.witnesses import kind, records, witness

SCHEMA = 1
FAMILY = "language"
SEEDS = 3  # models of each kind on either side; the control of one model are the unknowing ones of the other seeds
KNOWN = "probability:set=forget"  # what is measured after an attack
SPEC = Spec(max_new_tokens=32, generate=("forget",), distributions=("forget",), gradients=("forget", "holdout"))
FURTHER = ("lowercase", "neighbourhood", "recall")  # attacks on membership that read texts of their own
NEIGHBOURS = 3
HARMLESS: dict[str, Any] = {"lr": 5e-4, "steps": 20, "batch_size": 16}
# Values that are LOW in a model that knows. Of all others those are high in it; but what is "higher is better" on the
# forget set (a p-value against the control) is low. Fixed before anything was measured; no figure is turned round.
LOW = ("truth_ratio", "perplexity", "privleak", "mia_mean", "mia_shift")
HIGH = ("truth_ratio.knowledge", "privleak.absolute")

Kind = Literal["metric", "attack"]


@dataclass(frozen=True)
class Trust:
    """One metric or attack: AUC over the models, 1 = every model that knows above every one that does not.

    `drift` is the mean distance that a harmless fine-tuning moves the metric, in units of the gap between the means of
    the two sides. `reason` says why there is no figure.
    """

    name: str  # qualified name of the score, or the attack's name
    kind: Kind
    sign: int  # 1: high in models that know; -1: low
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    drift: float | None = None
    drift_low: float | None = None
    drift_high: float | None = None
    knows: tuple[float, ...] = ()  # the values themselves, model by model
    never: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Calibration:
    """What `calibration.json` holds."""

    command: str
    family: str
    models: int  # on either side
    kinds: tuple[dict[str, Any], ...]  # width, layers, epochs and world of each kind of model
    figures: tuple[Trust, ...]
    environment: dict[str, str]
    code: str  # SHA-256 of Lethe's source
    schema: int = SCHEMA

    def of(self, name: str) -> Trust | None:
        """The figure of that name, or None."""
        return next((one for one in self.figures if one.name == name), None)


def run_calibration(folder: str | Path, *, models: int = 30, workers: int = 1) -> Calibration:
    """Train, look at, fine-tune and attack every model; what has its file is not made again.

    Args:
        folder: Where the files of the single models stand, below `calibration`.
        models: Models on either side, a multiple of three.
        workers: Processes.

    Raises:
        InputError: If a count does not fit.
    """
    if models < SEEDS or models % SEEDS:
        raise InputError(f"models is {models}; it must be a multiple of {SEEDS}: each kind is trained under {SEEDS}.")
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    place = str(Path(folder) / "calibration")
    sides = [(n, seed, knows) for n in range(models // SEEDS) for seed in range(SEEDS) for knows in (True, False)]
    with Pool(workers) as pool:
        pool.map(look, [(place, *side) for side in sides])
        rows = pool.map(weigh, [(place, *side) for side in sides])
    return conclude(rows, [knows for *_, knows in sides])


def look(folder: str, number: int, seed: int, knows: bool) -> None:
    """Train a model and observe it: every job that reads it finds both on disk."""
    _evidence(folder, number, seed, knows)


def weigh(folder: str, number: int, seed: int, knows: bool) -> dict[str, Any]:
    """One model's values: of every metric before and after harmless fine-tuning, and of every attack."""
    path = Path(folder) / f"kind{number}-{'knows' if knows else 'never'}-seed{seed}.json"
    key = digest([code(), number, seed, knows])
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return stored
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not made yet, or damaged
    own = _evidence(folder, number, seed, knows)
    controls = [_evidence(folder, number, other, False) for other in range(SEEDS) if other != seed]
    model = witness(number, seed, knows)
    before, why = metrics_of(own, controls)
    after, _ = metrics_of(observe(_harmless(model, number, seed), _probes(number), SPEC), controls)
    found, unmade = attacks_of(model, number, seed)
    write_json(path, {"key": key, "before": before, "after": after, "attacks": found, "why": why | unmade})
    return json.loads(path.read_text(encoding="utf-8"))


def metrics_of(own: Evidence, controls: Sequence[Evidence]) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Every metric of the family on the forget set: score name -> (sign, value); and why others have none."""
    found: dict[str, list[Any]] = {}
    why: dict[str, str] = {}
    for name in names("metric"):
        for call in _calls(name):
            try:
                score = compute(call, own, controls)
            except Exception as error:  # a metric that reads what this world does not have, or another's that breaks
                why[call] = told(error)
                continue
            if np.isfinite(score.value):
                found[score.name] = [sign_of(score.name, score.direction), score.value]
    return found, why


def attacks_of(model: Model, number: int, seed: int) -> tuple[dict[str, float], dict[str, str]]:
    """Highest knowledge of the forget records after every attack, over its strengths; and why others have none."""
    measure = knowledge(partial(compute, KNOWN), spec=Spec(generate=(), distributions=()))
    forget, retain, holdout = (records(split, number) for split in ("forget", "retain", "holdout"))
    request = Request(forget, retain, holdout, seed=seed)
    found: dict[str, float] = {}
    why: dict[str, str] = {}
    for name in names("attack"):
        try:
            card = find("attack", name)
            if card.families and FAMILY not in card.families:
                continue
            if takes_original(card):
                raise InputError("It needs the model before unlearning, and models that never knew have none.")
            trace = attacked(name, model, request, measure)
        except Exception as error:  # what one attack cannot do keeps no other from its figure
            why[name] = told(error)
            continue
        found[name] = float(np.mean(trace.after, axis=1).max())
    return found, why


def sign_of(name: str, direction: str) -> int:
    """1 where a score is high in models that know, -1 where it is low."""
    if name.startswith(HIGH):
        return 1
    return -1 if direction == "higher" or name.startswith(LOW) else 1


def conclude(rows: Sequence[Mapping[str, Any]], knows: Sequence[bool]) -> Calibration:
    """The figures over all models."""
    figures = [_metric(name, rows, knows) for name in _shared(rows, "before")]
    figures += [_attack(name, rows, knows) for name in _shared(rows, "attacks")]
    measured = {one.name for one in figures}
    refused = Counter(name for row in rows for name in row["why"])
    reasons = {name: why for row in rows for name, why in row["why"].items()}
    attacks = set(names("attack"))
    figures += [
        Trust(name, "attack" if name in attacks else "metric", 1, reason=f"{why} ({refused[name]} of {len(rows)})")
        for name, why in sorted(reasons.items())
        if name not in measured
    ]
    models = sum(knows)
    return Calibration(
        command=f"lethe bench calibrate --models {models}",
        family=FAMILY,
        models=models,
        kinds=tuple(asdict(kind(number)) for number in range(models // SEEDS)),
        figures=tuple(figures),
        environment=environment(),
        code=code(),
    )


def _metric(name: str, rows: Sequence[Mapping[str, Any]], knows: Sequence[bool]) -> Trust:
    sign = int(rows[0]["before"][name][0])
    before = np.array([row["before"][name][1] for row in rows])
    after = np.array([row["after"].get(name, (sign, np.nan))[1] for row in rows])
    figure = _figure(name, "metric", sign, before, np.array(knows))
    gap = abs(before[np.array(knows)].mean() - before[~np.array(knows)].mean())
    moved = np.abs(after - before) / gap if gap > 0 else np.full(len(before), np.nan)
    if not np.isfinite(moved).all():
        return figure
    low, high = bootstrap(moved, seed=0)
    return replace(figure, drift=float(moved.mean()), drift_low=low, drift_high=high)


def _attack(name: str, rows: Sequence[Mapping[str, Any]], knows: Sequence[bool]) -> Trust:
    return _figure(name, "attack", 1, np.array([row["attacks"][name] for row in rows]), np.array(knows))


def _figure(name: str, of: Kind, sign: int, values: np.ndarray, knows: np.ndarray) -> Trust:
    area = auc(sign * values[knows], sign * values[~knows])
    low, high = auc_score_interval(area, int(knows.sum()), int((~knows).sum()))
    own, others = (tuple(float(f"{value:.6g}") for value in values[side]) for side in (knows, ~knows))
    return Trust(name, of, sign, area, low, high, knows=own, never=others)


def _shared(rows: Sequence[Mapping[str, Any]], part: str) -> list[str]:
    """Names that every model has a value of, in the order of the first."""
    return [name for name in rows[0][part] if all(name in row[part] for row in rows)]


def _calls(name: str) -> list[str]:
    """Every variant of a metric, asked of the forget set; nothing for metrics of other families or of fixed sets."""
    try:
        card: Card = find("metric", name)
    except InputError:  # of a package that cannot be loaded
        return []
    options = card.options()
    if (card.families and FAMILY not in card.families) or options["set"].type is not str:
        return []
    variants = get_args(options["variant"].type) if "variant" in options else ()
    return [f"{name}:set=forget,variant={one}" for one in variants] or [f"{name}:set=forget"]


def _evidence(folder: str, number: int, seed: int, knows: bool) -> Evidence:
    cache = Path(folder) / "evidence"
    return observe(witness(number, seed, knows), _probes(number), SPEC, cache=cache)


def _probes(number: int) -> dict[str, list[Record]]:
    sets = {split: records(split, number)[:30] for split in ("forget", "retain", "holdout")}
    return with_derived(sets, FURTHER, neighbours=NEIGHBOURS, seed=number)


def _harmless(model: Model, number: int, seed: int) -> Model:
    """The model after a short fine-tuning on people who are in nobody's corpus."""
    tuned = model.copy()
    term = Term("harmless", tuned.encode(records("unrelated", number)), own_loss, per="token")
    train(tuned, [term], Recipe(**HARMLESS, seed=seed))
    return tuned


def load_calibration(data: Mapping[str, Any]) -> Calibration:
    """Rebuild a `Calibration` from parsed JSON."""
    figures = tuple(
        Trust(**{**one, "knows": tuple(one["knows"]), "never": tuple(one["never"])}) for one in data["figures"]
    )
    return Calibration(**{**data, "figures": figures, "kinds": tuple(data["kinds"])})
