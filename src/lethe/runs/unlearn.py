"""One request carried out on one model: check, train, save, sign the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lethe.data.atomic import folder as atomic_folder
from lethe.data.atomic import write_json
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models import family_of, load
from lethe.models.base import Model
from lethe.registry import Card, bind, find
from lethe.request import Record, Request
from lethe.runs.environment import environment, metered

Source = str | Path | Sequence[Record]


@dataclass(frozen=True)
class Manifest:
    """What `lethe.json` says: enough to repeat the run and to check that the weights are the ones it made."""

    method: str
    options: dict[str, Any]
    seed: int
    request: dict[str, Any]
    sources: dict[str, str]
    original: str
    weights_before: str
    weights_after: str
    changed_weights: int
    total_weights: int
    seconds: float
    peak_memory_mib: float
    environment: dict[str, str]


def make_request(
    family: str, forget: Source, retain: Source = (), holdout: Source = (), **options: Any
) -> tuple[Request, dict[str, str]]:
    """A checked request from paths, hub names, tiny worlds or lists of records, and where each set came from."""
    sources = {"forget": forget, "retain": retain, "holdout": holdout}
    records = {name: _records(source, family) for name, source in sources.items()}
    told = {name: str(s) if isinstance(s, str | Path) else f"{len(s)} records" for name, s in sources.items()}
    return Request(**records, **options), {name: text for name, text in told.items() if records[name]}


def _records(source: Source, family: str) -> Sequence[Record]:
    return load_records(source, family=family) if isinstance(source, str | Path) else source


def describe_request(request: Request) -> dict[str, Any]:
    """The request as it stands in manifests and results."""
    counts = {name: len(getattr(request, name)) for name in ("forget", "retain", "holdout")}
    told = {name: getattr(request, name) for name in ("intent", "scope", "seed", "reason")}
    return {"fingerprint": request.fingerprint(), **told, **counts}


def apply_method(name: str, model: Model, request: Request, options: Mapping[str, Any], folder: Path | None) -> Model:
    """Check a method against model and request before any compute, then run it.

    Raises:
        InputError: On an unknown method or option, a family or ability it does not fit, or an empty set that it needs.
    """
    card = find("method", name)
    _check_family(card, model.family)
    model.require(card.needs, f"The method {name}")
    for part in sorted(card.requires):
        if not getattr(request, part):
            raise InputError(f"The method {name} needs {part} records; the {part} set is empty.")
    bound = bind(card.function, options, what=name)
    if "folder" in card.options():
        bound["folder"] = folder
    return card.function(model, request, **bound)


def _check_family(card: Card, family: str) -> None:
    if card.families and family not in card.families:
        raise InputError(f"The method {card.name} is for {', '.join(card.families)} models, this is a {family} model.")


def changed_weights(before: Model, after: Model) -> tuple[int, int]:
    """How many weights differ between two models, and how many there are."""
    old, total, changed = before.module.state_dict(), 0, 0
    for name, tensor in after.module.state_dict().items():
        total += tensor.numel()
        other = old.get(name)
        if other is None or other.shape != tensor.shape:
            changed += tensor.numel()
        else:
            changed += int((other != tensor).sum())
    return changed, total


def unlearn(
    model: str | Path | Model,
    forget: Source,
    retain: Source = (),
    holdout: Source = (),
    *,
    method: str,
    out: str | Path | None = None,
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
    card = find("method", method)
    bind(card.function, options or {}, what=method)  # a mistyped option is found before anything is loaded
    known = model.family if isinstance(model, Model) else family or family_of(model)
    _check_family(card, known)
    request, sources = make_request(
        known,
        forget,
        retain,
        holdout,
        seed=seed,
        intent=intent,
        scope=scope,
        reason=reason,
        allow_overlap=allow_overlap,
    )
    loaded = model if isinstance(model, Model) else load(model, family=known, trust_remote_code=trust_remote_code)
    work = None if out is None else Path(out).with_name(f".{Path(out).name}.run")
    with metered() as meter:
        unlearned = apply_method(method, loaded, request, options or {}, work)
    if out is None:
        return unlearned
    changed, total = changed_weights(loaded, unlearned)
    manifest = Manifest(
        method=method,
        options=_plain_options(card, options or {}),
        seed=seed,
        request=describe_request(request),
        sources=sources,
        original=str(model) if isinstance(model, str | Path) else "",
        weights_before=loaded.fingerprint(),
        weights_after=unlearned.fingerprint(),
        changed_weights=changed,
        total_weights=total,
        seconds=meter.seconds,
        peak_memory_mib=meter.peak_memory_mib,
        environment=environment(),
    )
    save_unlearned(unlearned, manifest, out)
    if work is not None and work.exists():
        shutil.rmtree(work)
    return unlearned


def save_unlearned(model: Model, manifest: Manifest, out: str | Path) -> Path:
    """The model's ordinary folder with `lethe.json` in it, whole or not at all."""
    with atomic_folder(out) as temporary:
        model.save(temporary / "model")
        for file in (temporary / "model").iterdir():
            file.rename(temporary / file.name)
        (temporary / "model").rmdir()
        write_json(temporary / "lethe.json", asdict(manifest))
    return Path(out)


def _plain_options(card: Card, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that was in force, not only the given ones."""
    bound = bind(card.function, given, what=card.name)
    known = {name: bound.get(name, option.default) for name, option in card.options().items()}
    known.pop("folder", None)
    return {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in known.items()}
