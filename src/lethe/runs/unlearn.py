"""One request carried out on one model: check, train, save with a manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lethe.data.atomic import folder as atomic_folder
from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.data.interactions import requested
from lethe.data.labels import aligned
from lethe.data.load import load_records
from lethe.errors import InputError, cause
from lethe.models.base import Model
from lethe.registry import Card, find, names, settle
from lethe.request import Record, Request
from lethe.runs.environment import SPENT, environment, metered

Source = str | Path | Sequence[Record]


@dataclass(frozen=True)
class Manifest:
    """What `lethe.json` says: enough to repeat the run and to check that the weights are the ones it made."""

    family: str
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
    trained_parameters: int = 0  # those that an optimiser moved
    preset: str = ""  # the named preset of the method that the options stand on
    prepared_seconds: float = 0.0  # of what serves further requests as well, beside `seconds`
    load: tuple[str, ...] = ()  # the lines of Python that load the folder


def make_request(
    family: str,
    forget: Source,
    retain: Source = (),
    holdout: Source = (),
    *,
    edges: Sequence[Sequence[int]] | None = None,
    classes: tuple[Sequence[str], int | None] = ((), None),
    **options: Any,
) -> tuple[Request, dict[str, str]]:
    """A checked request from paths, hub names, tiny worlds or lists of records, and where each set came from.

    With the `edges` (users, items) that a recommender was trained on a request may name whole users or items, and what
    it does not name is retained. Class names are numbered as the model's `classes` are, (names, count).
    """
    sources = {"forget": forget, "retain": retain, "holdout": holdout}
    records = {name: _records(source, family) for name, source in sources.items() if name == "holdout" or edges is None}
    if family == "classifier":
        records = aligned(records, *classes)
    if edges is not None:
        records["forget"], records["retain"] = requested(forget, retain, edges)
    told = {name: str(s) if isinstance(s, str | Path) else f"{len(s)} records" for name, s in sources.items()}
    return Request(**records, **options), {name: text for name, text in told.items() if records[name]}


def _records(source: Source, family: str) -> Sequence[Record]:
    return load_records(source, family=family) if isinstance(source, str | Path) else source


def describe_request(request: Request) -> dict[str, Any]:
    """The request as it stands in manifests and results."""
    counts = {name: len(getattr(request, name)) for name in ("forget", "retain", "holdout")}
    told = {name: getattr(request, name) for name in ("intent", "scope", "seed", "reason")}
    return {"fingerprint": request.fingerprint(), "forget_sha256": digest(list(request.forget)), **told, **counts}


def apply_method(name: str, model: Model, request: Request, options: Mapping[str, Any], folder: Path | None) -> Model:
    """Check a method against model and request before any compute, then run it.

    Raises:
        InputError: On an unknown method, preset or option, a family or ability it does not fit, or an empty set that it
            needs.
    """
    card = find("method", name)
    check_family(card, model.family)
    model.require(card.needs, f"The method {name}")
    for part in sorted(card.requires):
        if not getattr(request, part):
            raise InputError(f"The method {name} needs {part} records; the {part} set is empty.")
    bound = settle(card, options)
    if "folder" in card.options():
        bound["folder"] = folder
    return card.function(model, request, **bound)


def check_family(card: Card, family: str) -> None:
    """Refuse a method for another family.

    Raises:
        InputError: If the method names families and this is none of them.
    """
    if card.families and family not in card.families:
        raise InputError(f"The method {card.name} is for {', '.join(card.families)} models, this is a {family} model.")


def changed_weights(before: Model, after: Model) -> tuple[int, int]:
    """How many of the model's own weights differ between two models, and how many there are."""
    old, total, changed = before.inner.state_dict(), 0, 0
    for name, tensor in after.inner.state_dict().items():
        total += tensor.numel()
        other = old.get(name)
        if other is None or other.shape != tensor.shape:
            changed += tensor.numel()
        else:
            changed += int((other != tensor).sum())
    return changed, total


def carry_out(
    loaded: Model,
    request: Request,
    method: str,
    options: Mapping[str, Any],
    out: str | Path | None = None,
    *,
    sources: Mapping[str, str] | None = None,
    original: str = "",
    finish: Callable[[Path, Mapping[str, Any]], object] = lambda folder, manifest: None,
) -> Model:
    """Run a method and, where `out` is given, leave the model's folder with its manifest there.

    Args:
        loaded: The model; it is not changed.
        request: What to forget.
        method: Registered name.
        options: Options of the method, and `preset` where they stand on one.
        out: Folder for the model; a killed run continues from the checkpoint beside it.
        sources: Where the records came from, for the manifest.
        original: Where the model came from, for the manifest.
        finish: Adds to the folder before it takes its name.
    """
    work = None if out is None else Path(out).with_name(f".{Path(out).name}.run")
    writes = os.environ.get("RANK", "0") == "0"  # under torchrun all processes hold the result; one writes it
    with metered(work if writes else None) as meter:
        unlearned = apply_method(method, loaded, request, options, work)
    if out is None or not writes:
        return unlearned
    changed, total = changed_weights(loaded, unlearned)
    manifest = Manifest(
        family=loaded.family,
        method=method,
        options=options_in_force(find("method", method), options),
        seed=request.seed,
        request=describe_request(request),
        sources=dict(sources or {}),
        original=original,
        weights_before=loaded.fingerprint(),
        weights_after=unlearned.fingerprint(),
        changed_weights=changed,
        total_weights=total,
        seconds=meter.seconds,
        peak_memory_mib=meter.peak_memory_mib,
        environment=environment(),
        trained_parameters=meter.trained,
        preset=str(options.get("preset") or ""),
        prepared_seconds=meter.prepared,
        load=unlearned.loading,
    )
    _save(unlearned, asdict(manifest), Path(out), work, finish)
    if work is not None and work.exists():
        shutil.rmtree(work)
    return unlearned


def _save(
    model: Model,
    manifest: Mapping[str, Any],
    out: Path,
    work: Path | None,
    finish: Callable[[Path, Mapping[str, Any]], object],
) -> None:
    """The model's ordinary folder with `lethe.json` and the training log in it, whole or not at all."""
    with atomic_folder(out) as temporary:
        inner = temporary / out.name
        model.save(inner)
        write_json(inner / "lethe.json", manifest)
        finish(inner, manifest)
        if work is not None and work.exists():
            shutil.copytree(work, inner / "training", ignore=shutil.ignore_patterns("*.safetensors", SPENT))
        for file in inner.iterdir():
            file.rename(temporary / file.name)
        inner.rmdir()


def options_in_force(card: Card, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that was in force, not only the given ones."""
    bound = settle(card, given)
    known = {name: bound.get(name, option.default) for name, option in card.options().items()}
    known.pop("folder", None)
    return {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in known.items()}


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
        method = manifest["method"]
        missing = {field.name for field in fields(Manifest) if field.default is MISSING} - set(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({cause(error)}); restore it, or delete it to audit the weights alone."
        ) from error
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; restore it, or delete it to audit the weights.")
    if method not in names("method"):
        raise InputError(f"{path} names the method {method!r}, which is not installed; install its package.")
    return manifest
