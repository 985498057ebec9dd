"""TDDBench run in miniature: its models trained over processes, what they answer kept, all 21 algorithms scored.

The work is cut into jobs that end in one file or one cached model each, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.atomic import folder as atomic_folder
from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.data.rescore import rescore_tddbench
from lethe.detection.columns import Column, columns, over_targets
from lethe.detection.study import SHARED, TRAINED, Arrays, Setting, Study, observations, questions
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import did_you_mean
from lethe.runs.environment import code, environment, metered
from lethe.runs.results import Blind
from lethe.runs.workers import Pool
from lethe.score import Score
from lethe.scoring.blind import blind_baselines
from lethe.scoring.detection import ALGORITHMS, detect
from lethe.worlds.cache import cache_folder

SCHEMA = 1


@dataclass(frozen=True)
class Algorithm:
    """One algorithm: its scores on every target, and on every target retrained without what is to be forgotten."""

    name: str
    paradigm: str
    missing: str  # why it was not run; "" where it was
    targets: tuple[tuple[Score, ...], ...] = ()
    controls: tuple[tuple[Score, ...], ...] = ()
    columns: tuple[Column, ...] = ()
    control_columns: tuple[Column, ...] = ()
    queries: float | None = None  # questions to a target per audited record; None where that is not known
    models: int | None = None  # models trained beside the targets


@dataclass(frozen=True)
class Detection:
    """What `results.json` of `lethe bench tddbench` holds."""

    world: str
    kind: str
    source: str
    counts: dict[str, float]  # records, pools, and how the targets do on what they saw and did not see
    algorithms: tuple[Algorithm, ...]
    blind: Blind | None  # texts only: can the split be told without a model?
    environment: dict[str, str]
    config: dict[str, Any]
    schema: int = SCHEMA


@dataclass(frozen=True)
class DetectionCost:
    """What an algorithm cost over all targets: apart from the results because it is not reproducible.

    What several algorithms share (reference models, the target's outputs) counts in full for each of them.
    """

    training_seconds: float
    observing_seconds: float
    scoring_seconds: float
    peak_memory_mib: float


def run_detection(
    folder: str | Path, setting: Setting, *, algorithms: Sequence[str] = (), workers: int = 1
) -> tuple[Detection, dict[str, DetectionCost]]:
    """Train, observe and score a setting.

    Args:
        folder: Where observations and scores are kept.
        setting: The run.
        algorithms: Names out of the 21; all of them without.
        workers: Processes.

    Raises:
        InputError: On an unknown algorithm, or a setting that does not fit.
    """
    for name in algorithms:
        if name not in ALGORITHMS:
            raise InputError(
                f"There is no algorithm {name!r}{did_you_mean(name, ALGORITHMS)}; {', '.join(ALGORITHMS)}."
            )
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    study = _study(setting)
    chosen = list(dict.fromkeys(algorithms)) or list(ALGORITHMS)
    run = [name for name in chosen if not study.missing(name)]
    wanted = {part for name in run for part in observations(name)}
    roles = {"target", "control", *(TRAINED.get(part, "") for part in wanted)}
    places = range(len(study.audited()))
    with Pool(workers) as pool:
        pool.map(train, [(setting, *one) for one in study.training() if one[0] in roles])
        if "proxy" in wanted:
            pool.map(train, [(setting, "proxy", place) for place in places])
        jobs = [(part, place) for part in sorted(wanted) for place in ([0] if part in SHARED else places)]
        pool.map(observe, [(setting, str(folder), *job) for job in jobs])
        made = pool.map(score, [(setting, str(folder), name) for name in run])
    by_name = dict(zip(run, made, strict=True))
    found = Detection(
        world=setting.world,
        kind=study.subject.kind,
        source="tiny" if "/" not in setting.world else "path",
        counts=_counts(study, str(folder)),
        algorithms=tuple(_algorithm(study, str(folder), name, by_name.get(name)) for name in chosen),
        blind=_blind(study),
        environment=environment(),
        config=asdict(setting) | {"algorithms": chosen},
    )
    return found, {name: _cost(study, str(folder), name, made[1], made[2]) for name, made in by_name.items()}


def rescored_detection(source: str | Path, *, seed: int = 0) -> Detection:
    """A table of recorded ROC curves in TDDBench's form; no model is asked.

    Args:
        source: An .npz of curves, a folder ALGORITHM/{fpr,tpr,label}.npy, or a folder that holds one such .npz.
        seed: Seed of the bootstrap.

    Raises:
        InputError: If there is no curve, or one is damaged.
    """
    place = Path(source)
    archives = sorted(place.glob("*.npz")) if place.is_dir() else []
    if len(archives) > 1:
        raise InputError(f"{source}: holds {len(archives)} .npz files; name the one to score.")
    scored = rescore_tddbench(archives[0] if archives else place, seed=seed)
    rows = []
    for name, scores in scored.items():
        rows.append(
            Algorithm(name, name.partition("-")[0], "", (tuple(scores),), columns=over_targets([tuple(scores)]))
        )
    first = next(iter(scored.values()))[0]
    counts = {"members": float(first.n), "non-members": float(first.detail["n_against"])}
    return Detection("", "", str(place.name), counts, tuple(rows), None, environment(), {"seed": seed})


@lru_cache(maxsize=2)
def _study(setting: Setting) -> Study:
    return Study(setting)


def train(setting: Setting, role: str, number: int) -> None:
    """One model, from the cache or trained now; what that cost is kept beside the cache."""

    def measured(key: str, run: Callable[[], Model]) -> Model:
        with metered() as meter:
            model = run()
        write_json(_price(key), {"seconds": meter.seconds, "peak_memory_mib": meter.peak_memory_mib})
        return model

    _study(setting).model(role, number, measured)


def _price(key: str) -> Path:
    return cache_folder() / "costs" / f"{key}.json"


def observe(setting: Setting, folder: str, part: str, place: int) -> None:
    """One observation of one audited model, from its file where that was made by the same code."""
    study = _study(setting)
    path = Path(folder) / "observations" / f"{part}-{place}"
    key = digest([study.key(), part, place, code()])
    if _read_json(path / "lethe.json").get("key") == key:
        return
    from safetensors.numpy import save_file

    with metered() as meter:
        arrays = study.makers()[part](place)
    cost = {"key": key, "seconds": meter.seconds, "peak_memory_mib": meter.peak_memory_mib}
    with atomic_folder(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary / "arrays.safetensors"
        )
        (temporary / "lethe.json").write_text(json.dumps(cost), encoding="utf-8")


def _observed(folder: str, part: str, place: int) -> Arrays:
    from safetensors.numpy import load_file

    return load_file(Path(folder) / "observations" / f"{part}-{0 if part in SHARED else place}" / "arrays.safetensors")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def score(setting: Setting, folder: str, name: str) -> tuple[list[tuple[Score, ...]], float, float]:
    """An algorithm's columns for every audited model, its seconds and its peak memory (MiB)."""
    study = _study(setting)
    seeded = {"seed": setting.seed} if name.startswith("Learn") or name == "Query-augment" else {}
    if name == "Query-neighbor" and study.subject.kind == "text":
        seeded = {"variant": "mean"}
    found = []
    with metered() as meter:
        for place, (_, number) in enumerate(study.audited()):
            arrays: Arrays = {}
            for part in observations(name):
                arrays |= _observed(folder, part, place)
            if "phi_query" in arrays:
                arrays["phi_query"] = arrays["phi_query"][place]
            sides = study.pools.members[number]  # of a control: what it was to forget, against what nobody saw
            rows = arrays.get("rows", np.arange(len(sides)))
            found.append(columns(detect(name, arrays, **seeded), sides[rows], seed=setting.seed))
    return found, meter.seconds, meter.peak_memory_mib


def _algorithm(study: Study, folder: str, name: str, made: Any) -> Algorithm:
    paradigm = name.partition("-")[0]
    if made is None:
        return Algorithm(name, paradigm, study.missing(name))
    per = dict(zip(study.audited(), made[0], strict=True))
    targets = [scores for (role, _), scores in per.items() if role == "target"]
    controls = [scores for (role, _), scores in per.items() if role == "control"]
    parts, pools = observations(name), study.pools
    search = int(_observed(folder, "boundary", 0)["asked"].item()) if "boundary" in parts else 0
    return Algorithm(
        name, paradigm, "", tuple(targets), tuple(controls), over_targets(targets), over_targets(controls),
        queries=questions(name, study.setting.copies, search, len(pools.shadow) / len(pools.audited)),
        models=len(_trained(study, name)),
    )  # fmt: skip


def _trained(study: Study, name: str) -> list[tuple[str, int]]:
    """The models beside the targets that an algorithm needs."""
    roles = {TRAINED[part] for part in observations(name) if part in TRAINED}
    proxies = [("proxy", place) for place in range(len(study.audited()))]
    return [one for one in [*study.training(), *proxies] if one[0] in roles]


def _cost(study: Study, folder: str, name: str, seconds: float, memory: float) -> DetectionCost:
    prices = [_read_json(_price(digest(study.content(*one)))) for one in _trained(study, name)]
    places = range(len(study.audited()))
    observed = [
        _read_json(Path(folder) / "observations" / f"{part}-{place}" / "lethe.json")
        for part in observations(name)
        for place in ([0] if part in SHARED else places)
    ]
    peaks = [one.get("peak_memory_mib", 0.0) for one in [*prices, *observed]]
    return DetectionCost(
        training_seconds=sum(one.get("seconds", 0.0) for one in prices),
        observing_seconds=sum(one.get("seconds", 0.0) for one in observed),
        scoring_seconds=seconds,
        peak_memory_mib=max([memory, *peaks]),
    )


def _counts(study: Study, folder: str) -> dict[str, float]:
    pools, correct = study.pools, {True: [], False: []}
    targets = [(place, n) for place, (role, n) in enumerate(study.audited()) if role == "target"]
    for place, number in targets:
        path = Path(folder) / "observations" / f"outputs-{place}"
        if path.exists():
            arrays = _observed(folder, "outputs", place)
            right = arrays["logits"].argmax(axis=1) == arrays["labels"]
            for side in correct:
                correct[side].append(float(right[pools.members[number] == side].mean()))
    found = {
        "records": float(len(study.subject)), "audited": float(len(pools.audited)),
        "members": float(pools.members[0].sum()), "reference models": float(len(pools.references)),
    }  # fmt: skip
    if correct[True]:
        found |= {"accuracy on members": float(np.mean(correct[True])),
                  "accuracy on non-members": float(np.mean(correct[False]))}  # fmt: skip
    return found


def _blind(study: Study) -> Blind | None:
    if study.subject.kind != "text":
        return None
    texts, member = study.subject.take(study.pools.rows), study.pools.members[0]
    sides = [[text for text, held in zip(texts, member, strict=True) if held == side] for side in (True, False)]
    return Blind.of(blind_baselines(sides[0], sides[1], seed=study.setting.seed))
