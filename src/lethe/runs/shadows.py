"""U-LiRA on a benchmark's classifiers: a pool of shadow models, each with a request of its own, unlearned by methods.

The points are the benchmark's forget set and as many records of its holdout. Models come in pairs that share the points
between them; each is trained on its half and on the whole retain set, and its half is its request, so every request is
of one size. What a method makes of the target models is attacked with what it makes of the shadow models.

Every model and every observation is one file, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.descent.relearning import MARGIN, mean_loss, relearn_time
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.registry import bind, find, parse_call
from lethe.request import Record, Request
from lethe.runs.environment import code, environment, metered
from lethe.runs.unlearn import apply_method
from lethe.runs.workers import Pool
from lethe.scoring.arrays import FloatArray
from lethe.scoring.classification import mia_loss_logistic
from lethe.scoring.detection_learnt import rescaled_logit
from lethe.scoring.forgetting import forgetting, forgetting_score
from lethe.scoring.lira import Attack, Estimate, attack, over_pairs, ratio
from lethe.task import Task
from lethe.train import Term, train
from lethe.worlds.cache import cached_model

SCHEMA = 1
SEED = 9000  # shadow models count their seeds from here, those of detection runs from 3000
METHODS = ("retrain", "finetune", "scrub")
ORIGINAL, RETRAINED = "the original", "a retrained model"
RETRAINED_SEEDS = 100_000
CAP = 200  # most steps of relearning
FEW = 16  # pairs below which a point's own deviation is no estimate (LiRA shares one, too, where it has few models)


@dataclass(frozen=True)
class Setting:
    """What a run is, small enough to be sent to a process; `lethe.studies.ulira` documents the fields."""

    benchmark: str = "digits"
    options: tuple[tuple[str, Any], ...] = ()
    shadows: int = 64
    targets: int = 32
    seed: int = 0
    recipe: str = ""


@dataclass(frozen=True)
class World:
    """The points, who holds them, and what models of them are trained with."""

    task: Task
    points: tuple[Record, ...]
    member: np.ndarray  # (M, P) bool, shadow models before targets: which points each was trained on, and is to forget
    recipe: Mapping[str, Any]
    network: Model  # of that architecture; its weights count for nothing

    def request(self, number: int) -> Request:
        """The request of a model: its own half of the points."""
        forget, free = (
            [point for point, held in zip(self.points, self.member[number], strict=True) if held == side]
            for side in (True, False)
        )
        # The points were compared with the retain set when the benchmark made its own request.
        return Request(forget, self.task.request.retain, free, seed=SEED + number, allow_overlap=True)


@dataclass(frozen=True)
class Method:
    """What is told of a method; all but the last are balanced accuracy, AUC and true positive rate with intervals."""

    call: str
    population: Attack  # a loss threshold; its accuracy is that of MUFAC's logistic regression
    lira: Attack  # the unlearned model, against plainly trained shadow models
    ulira: Attack  # was this model unlearned, or never trained on the point? Against models of either kind
    matched: Attack  # the same where both are unlearned by the method, one of the point and one of others
    retain: float  # accuracies, means over all models
    test: float
    quality: float  # the forgetting quality F of the NeurIPS 2023 competition, 0..1
    quality_bound: float  # the same by Clopper-Pearson bounds
    score: float  # the competition's score
    ain: Estimate  # anamnesis index: steps to relearn, over those of a retrained model
    censored: tuple[int, int]  # of how many target models the steps were not enough: unlearned, retrained
    seconds: float  # median of one unlearning


@dataclass(frozen=True)
class Shadows:
    """What `results.json` of `lethe bench ulira` holds."""

    benchmark: str
    shadows: int
    targets: int
    points: int
    forget: int  # records in each request
    retain: int
    accuracies: dict[str, float]  # retain and test accuracy of the original and of retrained models
    methods: tuple[Method, ...]
    environment: dict[str, str]
    config: dict[str, Any]
    schema: int = SCHEMA


def run_shadows(folder: str | Path, setting: Setting, *, methods: Sequence[str] = METHODS, workers: int = 1) -> Shadows:
    """Train the shadow models, unlearn each by every method, and attack what comes of it.

    Args:
        folder: Where observations are kept.
        setting: The run.
        methods: Calls such as `scrub:lr=1e-3`, over the benchmark's presets.
        workers: Processes.

    Raises:
        InputError: If a count, the benchmark or a method does not fit.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    world, chosen = _world(setting), list(dict.fromkeys(methods)) or list(METHODS)
    for call in chosen:
        _options(world, call)
    numbers = range(len(world.member))
    with Pool(workers) as pool:
        pool.map(observe, [(setting, str(folder), ORIGINAL, number) for number in numbers])
        pool.map(observe, [(setting, str(folder), who, n) for who in (RETRAINED, *chosen) for n in numbers])
        told = pool.map(attacked, [(setting, str(folder), call) for call in chosen])
    sides = {who: _observed(setting, folder, who) for who in (ORIGINAL, RETRAINED)}
    return Shadows(
        benchmark=setting.benchmark,
        shadows=setting.shadows,
        targets=setting.targets,
        points=len(world.points),
        forget=len(world.points) // 2,
        retain=len(world.task.request.retain),
        accuracies={f"{what}, {who}": float(seen[what].mean()) for who, seen in sides.items() for what in ACCURACIES},
        methods=tuple(told),
        environment=environment(),
        config={"seed": setting.seed, "options": dict(setting.options), "recipe": world.recipe, "methods": chosen},
    )


@lru_cache(maxsize=2)
def _world(setting: Setting) -> World:
    card = find("benchmark", setting.benchmark)
    options = {**dict(setting.options), **({"seed": setting.seed} if "seed" in card.options() else {})}
    task = card.function(**bind(card.function, options, what=f"benchmark {setting.benchmark}"))
    if task.family != "classifier":
        raise InputError(f"ulira trains classifiers; {setting.benchmark} is of {task.family} models: take digits.")
    if "retrain" not in task.presets or "test" not in task.probes:
        raise InputError(f"{setting.benchmark} has no recipe to train shadow models with, or no test set: take digits.")
    for name, least in (("shadows", 6), ("targets", 4)):
        if (count := getattr(setting, name)) < least or count % 2:
            raise InputError(f"{name} is {count}; models come in pairs, give an even number from {least}.")
    size = min(len(task.request.forget), len(task.request.holdout))
    if size < 5:
        raise InputError(f"{setting.benchmark} has {size} records to forget beside as many unseen; give at least 5.")
    points = (*task.request.forget[:size], *task.request.holdout[:size])
    member = np.zeros((setting.shadows + setting.targets, len(points)), dtype=bool)
    rng = np.random.default_rng([SEED, setting.seed])
    for pair in range(0, len(member), 2):
        held = rng.permutation(len(points))[:size]
        member[pair, held] = True
        member[pair + 1] = ~member[pair]
    recipe = {**task.presets["retrain"], **parse_call(f"retrain:{setting.recipe}")[1]}
    recipe = bind(find("method", "retrain").function, recipe, what="the recipe of shadow models")
    return World(replace(task, presets={**task.presets, "retrain": recipe}), points, member, recipe, task.target(0))


def _options(world: World, call: str) -> dict[str, Any]:
    """The options of a method call over the benchmark's preset, checked."""
    name, given = parse_call(call)
    card = find("method", name)
    if card.families and "classifier" not in card.families:
        raise InputError(f"The method {name} is for {', '.join(card.families)} models; shadow models are classifiers.")
    return bind(card.function, {**world.task.presets.get(name, {}), **given}, what=name)


def shadow(setting: Setting, number: int, *, retrained: bool = False) -> Model:
    """A model, from the cache or trained now on its points and the retain set.

    Args:
        setting: The run.
        number: Its number.
        retrained: Trained on the retain set alone, by other seeds than those of the method "retrain".
    """
    world, request = _world(setting), _world(setting).request(number)
    seed = SEED + number + RETRAINED_SEEDS * retrained
    model = world.network.fresh(seed)
    records = request.retain if retrained else [*request.forget, *request.retain]

    def build(_: Path) -> Model:
        train(model, [Term("train", model.encode(records), own_loss)], Recipe(**world.recipe, seed=seed))
        return model

    content = {"start": model.fingerprint(), "records": records, "recipe": world.recipe, "seed": seed}
    name = f"ulira-{setting.benchmark}{number}{'-retrained' * retrained}"
    return cached_model(name, content, build, family="classifier")


def observe(setting: Setting, folder: str, who: str, number: int) -> None:
    """Losses of one model at all points and its accuracies, from their file where the same code made it.

    Of target models it is also observed how soon they relearn their request.
    """
    path = _path(folder, who, number)
    key = digest([setting.benchmark, dict(setting.options), setting.recipe, setting.seed, who, number, code()])
    if _read(path).get("key") == key:
        return
    world = _world(setting)
    request = world.request(number)
    model = original = shadow(setting, number)
    with metered() as meter:
        if who == RETRAINED:
            model = shadow(setting, number, retrained=True)
        elif who != ORIGINAL:
            model = apply_method(parse_call(who)[0], original, request, _options(world, who), None)
    loss, _ = outputs(model, world.points)
    found: dict[str, Any] = {"key": key, "seconds": meter.seconds, "loss": loss}
    found |= {what: float(outputs(model, world.task.probes[what])[1].mean()) for what in ACCURACIES}
    if number >= setting.shadows and who != ORIGINAL:
        bound = MARGIN * mean_loss(original, request.forget)
        rate = {name: world.recipe[name] for name in ("lr", "batch_size", "optimizer") if name in world.recipe}
        back = relearn_time(model, request.forget, bound, cap=CAP, seed=SEED + number, recipe=rate)
        found |= {"relearn": back.steps, "censored": back.censored}
    write_json(path, found)


ACCURACIES = ("retain", "test")


def outputs(model: Model, records: Sequence[Record]) -> tuple[FloatArray, FloatArray]:
    """Loss of every record (N,) in nats, with all digits, and what share of its labels is right (N,).

    A record of several labels is one event, whose probability is the product of theirs.
    """
    from torch.nn.functional import cross_entropy

    examples = model.encode(records)
    loss, right = np.empty(len(examples)), np.empty(len(examples))
    with model.evaluating():
        for batch in model.batches(examples, 512):
            logits, labels, rows = model.logits(batch).double(), batch.labels, batch.index.cpu().numpy()
            nats = cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(-1)
            loss[rows] = nats.clamp(min=0).cpu().numpy()
            right[rows] = (logits.argmax(-1) == labels).double().mean(-1).cpu().numpy()
    return loss, right


def attacked(setting: Setting, folder: str, call: str) -> Method:
    """All attacks on what a method made of the shadow models."""
    member = _world(setting).member
    own, before, never = (_observed(setting, folder, who) for who in (call, ORIGINAL, RETRAINED))
    phi, plain, fresh = (rescaled_logit(seen["loss"]) for seen in (own, before, never))
    held, free = beside(phi, member)
    clean, _ = beside(fresh, member)  # retrained for the same request as the model that forgot the point
    known, asked = slice(0, setting.shadows // 2), slice(setting.shadows // 2, None)
    spread = "record" if setting.shadows // 2 >= FEW else "global"

    def against(inside: FloatArray, outside: FloatArray, others: FloatArray) -> Attack:
        members, nonmembers = (
            ratio(side[asked], inside[known], outside[known], spread=spread) for side in (held, others)
        )
        return attack(members, nonmembers, seed=setting.seed)

    found = forgetting(held, clean)
    accuracy = {what: float(own[what].mean()) for what in ACCURACIES}
    retrained = {what: float(never[what].mean()) for what in ACCURACIES}
    return Method(
        call=call,
        population=attack(held[asked], free[asked], seed=setting.seed)._replace(
            accuracy=_population(own["loss"][setting.shadows :], member[setting.shadows :], setting.seed)
        ),
        lira=against(*beside(plain, member), free),
        ulira=against(held, clean, clean),
        matched=against(held, free, free),
        **accuracy,
        quality=found.quality,
        quality_bound=found.bound,
        score=forgetting_score(
            found.quality, accuracy["retain"], retrained["retain"], accuracy["test"], retrained["test"]
        ),
        ain=_anamnesis(own["relearn"], never["relearn"], setting.seed),
        censored=(int(own["censored"].sum()), int(never["censored"].sum())),
        seconds=float(np.median(own["seconds"])),
    )


def beside(values: FloatArray, member: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Values (M, P) of models in pairs as those of the model that held the point, and of its partner: (J, P) twice."""
    first, second, held = values[::2], values[1::2], member[::2]
    return np.where(held, first, second), np.where(held, second, first)


def _population(loss: FloatArray, member: np.ndarray, seed: int) -> Estimate:
    """MUFAC's attack on every model apart: its forget set, against the points that it never saw."""
    told = [mia_loss_logistic(row[held], row[~held]) for row, held in zip(loss, member, strict=True)]
    return over_pairs(np.reshape(told, (-1, 2)).mean(axis=1), seed=seed)


def _anamnesis(unlearned: FloatArray, retrained: FloatArray, seed: int) -> Estimate:
    """Mean over target models of the ratio of steps; no step is counted as one."""
    ratios = np.maximum(unlearned, 1) / np.maximum(retrained, 1)
    return over_pairs(ratios.reshape(-1, 2).mean(axis=1), seed=seed)


def _observed(setting: Setting, folder: str | Path, who: str) -> dict[str, FloatArray]:
    rows = [_read(_path(folder, who, number)) for number in range(setting.shadows + setting.targets)]
    found = {what: np.array([row[what] for row in rows]) for what in ("loss", "seconds", *ACCURACIES)}
    if who != ORIGINAL:
        found |= {what: np.array([row[what] for row in rows[setting.shadows :]]) for what in ("relearn", "censored")}
    return found


def _path(folder: str | Path, who: str, number: int) -> Path:
    named = f"{parse_call(who)[0]}-{digest(who)[:8]}".replace(" ", "-")
    return Path(folder) / "observations" / named / f"{number}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
