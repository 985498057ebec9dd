"""Hubble: texts inserted a known number of times, read against a twin that never saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lethe.data.canaries import read_canaries
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds import canaries

HUB = "allegrolab/{split}"
PUBLISHED = (  # data sets of the hub; any other name of theirs is tried as well
    "passages_gutenberg_popular",
    "passages_gutenberg_unpopular",
    "passages_wikipedia",
    "biographies_yago",
    "biographies_ecthr",
)
TINY = ("register",)
ROWS = 200  # most texts of a level
Twin = Literal["without", "standard"]

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    "probability:set=retain",
    "duplicates:set=forget",
    "duplicates:set=forget,variant=likelihood",
    "duplicates:set=retain",
    "duplicates:set=retain,variant=likelihood",
    "twin_gap:set=forget",
    "twin_gap:set=retain",
    "twin_gap:set=forget,variant=recall",
    "twin_gap:set=retain,variant=recall",
    "exact_memorization",
    "exact_memorization:set=retain",
    "extraction_strength",
    "membership:variant=loss",
    "membership:variant=zlib",
    "membership:variant=min_k",
    "membership:variant=min_k_pp",
    "membership:set=retain,variant=min_k_pp",
)
PER_LEVEL = (
    "duplicates:set={level}",
    "duplicates:set={level},variant=likelihood",
    "membership:set={level},variant=loss",
    "membership:set={level},variant=min_k_pp",
)

# By hand, on other people and stories than those reported.
PRESETS = {
    "ga": {"lr": 5e-4, "epochs": 4, "batch_size": 8},
    "grad_diff": {"lr": 7e-4, "epochs": 4, "batch_size": 8},
    "npo": {"lr": 5e-4, "epochs": 6, "batch_size": 8, "beta": 0.1, "retain_weight": 5.0},
    "rmu": {"lr": 2e-3, "epochs": 6, "batch_size": 8},
    "satimp": {"lr": 2e-3, "epochs": 5, "batch_size": 8, "beta1": 1.0, "beta2": 0.5},
}


@benchmark(families={"language"}, paper="2510.19811")
def hubble(
    *,
    source: str = "tiny",
    split: str = "register",
    seed: int = 0,
    twin: Literal["without", "standard"] = "without",
    prefix: int = 0,
    tokens: int = 48,
    rows: int = ROWS,
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """Hubble: forget half of the texts that were inserted most often, keep the other half; scores by duplicate level.

    Levels are assigned at random, so level 0 (the holdout) is what membership is told from, and the twin of the target
    is what forgetting is read against.

    Args:
        source: tiny (embedded world), hub (the official data), or a file or folder with official JSON lines.
        split: Set of texts: register (tiny), or of the official data as biographies_yago.
        seed: Seed of the embedded world, of the division into forget and keep, and of the request.
        twin: Control of the tiny source: without (all insertions but those to be forgotten) or standard (none).
        prefix: Words of a text that are shown before it is to be continued; 0 stands for what its meta says (tiny), or
            else half.
        tokens: Longest continuation, tokens.
        rows: Most texts of each level.
        model: Folder of the perturbed model; needed unless the source is tiny.
        control: Folders of models trained without the texts, such as the standard twin.

    Raises:
        InputError: If there is no such split, no level 0 or too few texts, or a source other than tiny has no model.
    """
    if rows < 2 or prefix < 0:
        raise InputError(f"hubble: rows is {rows} and prefix {prefix}; give 2 or more and 0 or more.")
    entries = _entries(source, split, seed)
    levels = _levels(entries, source, prefix, rows)
    most = max(levels)
    mixed = [levels[most][i] for i in np.random.default_rng([seed, 14]).permutation(len(levels[most]))]
    forget, retain = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    probes = {"forget": forget, "retain": retain, "holdout": levels[0]}
    between = {f"level{level}": some for level, some in sorted(levels.items()) if 0 < level < most}
    target, controls = _models(source, seed, twin, {str(record["id"]) for record in forget}, model, control)
    return Task(
        name="hubble",
        family="language",
        request=Request(forget, retain, levels[0], seed=seed, scope="sample"),
        probes={**probes, **between},
        metrics=(*METRICS, *(call.format(level=level) for level in between for call in PER_LEVEL)),
        knowledge="probability:set=forget",
        utility="exact_memorization:set=retain",
        target=target,
        control=controls,
        spec=Spec(max_new_tokens=tokens),
        presets=PRESETS if source == "tiny" else {},
        attacks=("relearn", "quantize:bits=8", "quantize:bits=4"),
        floors=("noise",),  # nothing is asked here that could be refused
        note=f"Forget and retain were inserted {most} times each, the holdout never; the control is "
        f"{'the standard twin' if twin == 'standard' else 'a twin with all insertions but the forget texts'}."
        if source == "tiny"
        else f"Forget and retain were inserted {most} times each, the holdout never.",
    )


def _entries(source: str, split: str, seed: int) -> list[dict[str, Any]]:
    known = TINY if source == "tiny" else PUBLISHED
    if source == "tiny":
        if split not in known:
            raise InputError(f"hubble (tiny) has no split {split!r}{did_you_mean(split, known)}; it has {known[0]}.")
        return [{**entry, **entry["meta"]} for entry in canaries.entries(seed)]
    if source == "hub":
        return read_canaries(HUB.format(split=split))
    if not Path(source).exists():
        raise InputError(f"hubble: {source} does not exist; give tiny, hub, or a file or folder of JSON lines.")
    return read_canaries(source, None if Path(source).is_file() else split)


def _levels(entries: Sequence[Mapping[str, Any]], source: str, prefix: int, rows: int) -> dict[int, list[Record]]:
    """The records of every level; each distinct text once."""
    levels: dict[int, list[Record]] = {}
    for entry in {entry["text"]: entry for entry in entries}.values():
        some = levels.setdefault(entry["duplicates"], [])
        if len(some) < rows:
            some.append(_record(entry, prefix))
    if 0 not in levels or len(levels) < 2 or len(levels[max(levels)]) < 2:
        found = ", ".join(f"{len(some)} at {level}" for level, some in sorted(levels.items()))
        raise InputError(f"hubble: {source} holds {found} copies; level 0 and two texts of a higher level are needed.")
    return levels


def _record(entry: Mapping[str, Any], prefix: int) -> Record:
    """The text as a prompt and what follows it, cut between two words."""
    text = str(entry["text"])
    words = text.split(" ")
    cut = (
        int(entry["prefix"]) if "prefix" in entry and not prefix else len(" ".join(words[: prefix or len(words) // 2]))
    )
    if not 0 < cut < len(text):
        raise InputError(f"hubble: the text {entry['id']!r} has {len(words)} words; that is too short to be continued.")
    kept = {name: entry[name] for name in ("id", "entity", "duplicates") if name in entry}
    return {**kept, "raw_prompt": text[:cut], "answer": text[cut:]}


def _models(source: str, seed: int, twin: Twin, forget: set[str], model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("hubble", model, control):
        return given
    if source != "tiny":
        raise InputError(f"hubble with source {source!r} needs the perturbed model's folder: give model (and control).")
    entries = canaries.entries(seed)
    other = partial(canaries.model, (), world_seed=seed)
    if twin == "without":
        other = partial(canaries.model, entries, world_seed=seed, without=frozenset(forget))
    return partial(canaries.model, entries, world_seed=seed), other
