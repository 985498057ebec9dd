"""What decides whether a text is memorised: copies, corpus, order; and what unlearning it leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lethe.benchmarks.hubble import PRESETS
from lethe.evidence import Spec, observe
from lethe.metrics.duplicates import scores
from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.scoring import hubble
from lethe.scoring.membership import loss
from lethe.worlds import canaries

LEVELS = {0: 10, 1: 10, 4: 10, 16: 10, 64: 10}  # copies -> texts
TIMED = {0: 10, 32: 8}  # for the ordering: as many as a quarter of the corpus holds
SMALL, LARGE = 1200, 4800  # windows of 65 tokens
# Without decay: at a rate that has fallen, what is inserted last would be learnt least.
STEADY = {**canaries.RECIPE, "lr": 6e-3, "schedule": "constant"}
METHODS = ("grad_diff", "npo", "rmu", "satimp")
TOKENS = 48


@headline(
    paper="2510.19811",
    expects={
        "largest fall of recall from a level to the next": ("<=", 0.1),
        "recall at 64 copies less recall at 0": (">=", 0.3),
        "dilution: recall(N) / recall(4N) at the steepest level": (">=", 1.5),
        "ordering: recall of first quarter / last quarter": ("<=", 0.3),
        "AUC of 64 copies against 0": (">=", 0.95),
        "best method: target and keep distance, share of what there was to forget": (">=", 0.2),
    },
)
def hubble_memorization(*, seed: int) -> dict[str, float]:
    """Copies memorise, a larger corpus dilutes them, early ones are forgotten, and no unlearning reaches the twin.

    World: stories and one-off entries of a register, 78,000 tokens (N) or four times as many, read once in order at a
    steady rate, with entries inserted
    0, 1, 4, 16 or 64 times, ten of each. Recall: share of the words of an entry's rest in the greedy continuation of
    its name. Dilution: the same insertions in 4N. Ordering: eight entries with 32 copies each, all in the first or all
    in the last quarter of N; recall at the end of the training.

    Unlearning: half of the entries with 64 copies are to be forgotten, the other half kept. A method's target distance
    is the mean absolute difference of the log-likelihood (nats per byte) from the standard model on the former, its
    keep distance that from the perturbed model on the latter; both over the target distance of the perturbed model
    (1: nothing was forgotten, or as much harm was done as there was to forget). Options are the benchmark's presets.
    """
    entries = canaries.entries(seed, LEVELS)
    perturbed = canaries.model(entries, seed, seed, count=SMALL, recipe=STEADY)
    small = _recall(perturbed, entries)
    large = _recall(canaries.model(entries, seed, seed, count=LARGE, recipe=STEADY), entries)
    timed = canaries.entries(seed, TIMED)
    early, late = (
        _recall(canaries.model(timed, seed, seed, count=SMALL, recipe=STEADY, start=start, end=start + 0.25), timed)[32]
        for start in (0.0, 0.75)
    )
    diluted = hubble.dilution(list(small), list(small.values()), list(large.values()))
    found = {f"recall at {level} copies, N": value for level, value in small.items()}
    found |= {f"recall at {level} copies, 4N": value for level, value in large.items()}
    found |= {
        "largest fall of recall from a level to the next": hubble.largest_fall(list(small.values())),
        "recall at 64 copies less recall at 0": small[64] - small[0],
        "dilution: recall(N) / recall(4N) at the steepest level": diluted.ratio,
        "dilution: the steepest level": float(diluted.level),
        "recall of first quarter": early,
        "recall of last quarter": late,
        "ordering: recall of first quarter / last quarter": early / late if late else float("nan"),
    }
    seen = observe(perturbed, {"x": [_record(entry) for entry in entries]}, Spec(generate=(), distributions=()))
    scored = dict(zip((entry["id"] for entry in entries), loss(seen.per_token("x")), strict=True))
    by_level = {level: [scored[entry["id"]] for entry in _at(entries, level)] for level in LEVELS}
    found |= {f"AUC of {level} copies against 0": value for level, value in hubble.level_auc(by_level).items()}
    return found | _unlearning(perturbed, canaries.model((), seed, seed, count=SMALL, recipe=STEADY), entries, seed)


def _unlearning(perturbed: Model, standard: Model, entries: Sequence[Mapping[str, Any]], seed: int) -> dict[str, float]:
    most = [_record(entry) for entry in _at(entries, max(LEVELS))]
    forget, keep = most[: len(most) // 2], most[len(most) // 2 :]
    request = Request(forget, keep, seed=seed)
    ideal = {"target_standard": _likelihood(standard, forget), "keep_perturbed": _likelihood(perturbed, keep)}

    def distances(model: Model) -> hubble.Distances:
        return hubble.unlearning_distances(target=_likelihood(model, forget), keep=_likelihood(model, keep), **ideal)

    before, found = distances(perturbed).target, {}
    for name in METHODS:
        made = distances(find("method", name).function(perturbed, request, **PRESETS[name]))
        found[f"target distance of {name}, share"] = made.target / before
        found[f"keep distance of {name}, share"] = made.keep / before
    sums = [found[f"target distance of {name}, share"] + found[f"keep distance of {name}, share"] for name in METHODS]
    found["target distance before, nats per byte"] = before
    found["best method: target and keep distance, share of what there was to forget"] = min(sums)
    return found


def _at(entries: Sequence[Mapping[str, Any]], level: int) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if entry["meta"]["duplicates"] == level]


def _record(entry: Mapping[str, Any]) -> dict[str, Any]:
    cut = entry["meta"]["prefix"]
    about = {"id": entry["id"], "entity": entry["meta"]["entity"]}
    return {**about, "raw_prompt": entry["text"][:cut], "answer": entry["text"][cut:]}


def _recall(model: Model, entries: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Mean word recall by level, ascending."""
    levels = sorted({entry["meta"]["duplicates"] for entry in entries})
    probes = {str(level): [_record(entry) for entry in _at(entries, level)] for level in levels}
    seen = observe(model, probes, Spec(max_new_tokens=TOKENS, distributions=()))
    return {level: float(np.mean(scores(seen, str(level), "recall"))) for level in levels}


def _likelihood(model: Model, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return scores(observe(model, {"x": records}, Spec(generate=(), distributions=())), "x", "likelihood")
