"""TOFU: questions about fictitious authors, read against a model that never met them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.registry import benchmark, did_you_mean
from lethe.request import Request
from lethe.task import Sides, Task, sides_on_disk, with_membership
from lethe.worlds.models import authors_model

HUB = "locuslab/TOFU"
SPLITS = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    "rouge:set=forget",
    "truth_ratio:set=forget",
    "truth_ratio:set=forget,variant=arithmetic",
    "forget_quality",
    "forget_quality:variant=ks_p",
    "exact_memorization",
    "extraction_strength",
    "membership:variant=loss",
    "membership:variant=zlib",
    "membership:variant=min_k",
    "membership:variant=min_k_pp",
    "fluency:set=forget",
    "probability:set=retain",
    "rouge:set=retain",
    "model_utility",
    "model_utility:variant=arithmetic",
)

# What open-unlearning prints under the same names: its divisors, and its tokens without the last.
SUCCESSOR = {
    "truth_ratio:set=forget": "truth_ratio:set=forget,variant=ou",
    "exact_memorization": "exact_memorization:variant=but_last",
    "extraction_strength": "extraction_strength:variant=ou.but_last",
    "model_utility": "model_utility:variant=ou",
}


class Rules(NamedTuple):
    """What one code base evaluates: rows of each set (None: all), how it generates, and its names of metrics."""

    rows: int | None
    spec: Spec
    metrics: tuple[str, ...]
    generates: str


Convention = Literal["tofu", "open-unlearning"]
PROTOCOLS: dict[str, Rules] = {
    "tofu": Rules(300, Spec(max_new_tokens=200, total=200), METRICS, "200 tokens with the prompt"),
    "open-unlearning": Rules(
        None, Spec(max_new_tokens=200), tuple(SUCCESSOR.get(call, call) for call in METRICS), "200 new tokens"
    ),
}

# Options under which each method forgets the tiny world, reported on forget10: found on forget05 and other people by
# the rule of `lethe tune`, in 12 to 32 trials. It admitted none of idk, ap, llmu and task_vector: theirs leave least
# of those trials that keep the rest as the rule asks. Where epochs of forget10, which have twice as many steps, broke
# the model on further people, the steps are given that the trial had, and offset has half the epochs and more weight on
# what is kept. Not searched: finetune, needle, newton, whp_decoding, and rocr's at.
PRESETS = {
    "ga": {"lr": 4.4e-4, "steps": 9, "batch_size": 5},
    "grad_diff": {"lr": 7.3e-4, "steps": 6, "batch_size": 5, "retain_weight": 0.12},
    "kl_min": {"lr": 1.5e-3, "steps": 3, "batch_size": 5, "retain_weight": 0.14},
    "npo": {"lr": 6.8e-4, "epochs": 17, "batch_size": 5, "beta": 0.37, "retain_weight": 0.55},
    "simnpo": {"lr": 5.6e-4, "epochs": 7, "batch_size": 5, "beta": 8.8, "retain_weight": 1.1, "weight": 8.7},
    "idk": {"lr": 6.1e-4, "epochs": 7, "batch_size": 5},
    "dpo": {"lr": 9.8e-5, "epochs": 20, "batch_size": 5, "beta": 0.037, "retain_weight": 3.3},
    "rmu": {"lr": 1.5e-3, "epochs": 20, "batch_size": 5, "coefficient": 2.5, "alpha": 0.85},
    "adaptive_rmu": {"lr": 1.8e-3, "epochs": 20, "batch_size": 5, "scale": 0.57, "alpha": 3.9},
    "kto": {"lr": 7.2e-4, "epochs": 17, "batch_size": 5, "beta": 0.37, "retain_weight": 0.55},
    "altpo": {"lr": 2.3e-4, "epochs": 9, "batch_size": 5, "beta": 0.33, "retain_weight": 1.2, "temperature": 0.64},
    "ap": {"lr": 2.5e-4, "epochs": 10, "batch_size": 5, "beta": 0.55, "weight": 1.1},
    "llmu": {
        "lr": 1.9e-4,
        "epochs": 13,
        "batch_size": 5,
        "ascent_weight": 0.083,
        "mismatch_weight": 3.3,
        "normal_weight": 0.18,
        "limit": 230.0,
    },
    "task_vector": {"lr": 1.4e-3, "epochs": 7, "batch_size": 5, "alpha": 0.58},
    "pdu": {
        "lr": 8.2e-4,
        "epochs": 19,
        "batch_size": 5,
        "bound": 0.12,
        "alpha": 3.5,
        "dual_rate": 0.28,
        "warmup_epochs": 3,
    },
    "finetune": {"lr": 1e-3, "epochs": 2},
    "uld": {"lr": 3.7e-3, "epochs": 6, "batch_size": 5, "weight": -6.5e-1, "top": 5.6e-3, "uniform": 0.67},
    "whp": {
        "lr": 8.7e-4,
        "epochs": 6,
        "batch_size": 5,
        "anchors": "none",
        "reinforce_epochs": 20,
        "alpha": 15.0,
        "repeat": 8.5,
        "reinforce_lr": 4.8e-3,
        "retain_weight": 5.7,
    },
    "whp_decoding": {"lr": 1e-3, "epochs": 20, "batch_size": 5, "alpha": 1.5},
    "rocr": {"at": "answer", "threshold": 0.052, "ridge": 0.86},
    "needle": {"count": 16, "ablation": "zero"},
    "newton": {"damping": 1e-2},
    "offset": {"lr": 9.9e-3, "epochs": 5, "batch_size": 5, "weight": 0.1, "retain_weight": 1.0},
    "merging": {"lr": 9.9e-4, "epochs": 3, "batch_size": 5, "density": 0.58, "alpha": 0.36},
    "wga": {"lr": 9.2e-4, "epochs": 8, "batch_size": 5, "beta": 1.0, "retain_weight": 5.4},
    "satimp": {"lr": 4.2e-4, "epochs": 3, "batch_size": 5, "beta1": 3.0, "beta2": 0.22, "retain_weight": 0.19},
    "tnpo": {"lr": 9.2e-4, "epochs": 8, "batch_size": 5, "beta": 4.1, "retain_weight": 5.4},
    "wtnpo": {"lr": 7.3e-4, "epochs": 3, "batch_size": 5, "beta": 1.0, "alpha": 5.6, "retain_weight": 0.4},
    "undial": {"lr": 3.6e-4, "epochs": 8, "batch_size": 5, "beta": 35.0, "retain_weight": 8.7},
    "ceu": {"lr": 9.2e-4, "steps": 3, "batch_size": 5, "retain_weight": 0.33},
    "me": {"lr": 9.2e-4, "epochs": 8, "batch_size": 5, "weight": 0.1, "retain_weight": 5.4},
    "jensun": {"lr": 1.6e-4, "epochs": 20, "batch_size": 5, "alpha": 0.72},
    "ihl": {"lr": 1e-3, "epochs": 20, "batch_size": 5, "retain_weight": 0.2},
    "flat": {"lr": 6.8e-4, "epochs": 13, "batch_size": 5, "retain": "nll", "retain_weight": 0.44},
}


@benchmark(families={"language"}, paper="2401.06121")
def tofu(
    *,
    source: str = "tiny",
    split: str = "forget10",
    seed: int = 0,
    convention: Convention = "tofu",
    rows: int | None = None,
    membership: tuple[str, ...] = (),
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """TOFU: forget some fictitious authors, keep the others, real authors and world facts.

    Args:
        source: tiny (embedded world), hub (the official data), or a folder with the official files.
        split: forget01, forget05 or forget10.
        seed: Seed of the embedded world and of the request.
        convention: tofu (its own code: the first 300 rows of each set, 200 tokens with the prompt), or open-unlearning
            (its successor: all rows, 200 new tokens, and its variants of the metrics). The tiny world generates 48.
        rows: Most rows of each evaluation set, in the place of the convention's.
        membership: Further membership attacks, or all: see `lethe.task.FURTHER`.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the forget set; needed unless the source is tiny.

    Raises:
        InputError: If the split does not exist, or a source other than tiny comes without a model.
    """
    if split not in SPLITS:
        raise InputError(f"TOFU has no split {split!r}{did_you_mean(split, SPLITS)}; one of {', '.join(SPLITS)}.")
    if convention not in PROTOCOLS:
        near = did_you_mean(convention, PROTOCOLS)
        raise InputError(f"TOFU has no convention {convention!r}{near}; one of {', '.join(PROTOCOLS)}.")
    if rows is not None and rows < 1:
        raise InputError(f"tofu: rows is {rows}; it must be at least 1.")
    protocol = PROTOCOLS[convention]
    rows = protocol.rows if rows is None else rows
    read = _reader(source, seed)
    retain_probes = f"{SPLITS[split]}_perturbed" if source == "tiny" else "retain_perturbed"
    probes = {
        "forget": read(f"{split}_perturbed")[:rows],
        "retain": read(retain_probes)[:rows],
        "holdout": read(split.replace("forget", "holdout"))[:rows],
        "real_authors": read("real_authors_perturbed")[:rows],
        "world_facts": read("world_facts_perturbed")[:rows],
    }
    request = Request(read(f"{split}_perturbed"), read(SPLITS[split]), probes["holdout"], seed=seed)
    target, controls = _models(source, SPLITS[split], seed, model, control)
    task = Task(
        name="tofu",
        family="language",
        request=request,
        probes=probes,
        metrics=protocol.metrics,
        knowledge="probability:set=forget",
        utility=next(call for call in protocol.metrics if call.startswith("model_utility")),
        target=target,
        control=controls,
        spec=Spec() if source == "tiny" else protocol.spec,
        presets=PRESETS if source == "tiny" else {},
        attacks=("relearn", "quantize:bits=8", "quantize:bits=4", "paraphrase", "merge"),
        floors=("noise", "refusal"),
        note=f"Convention {convention}: {'all' if rows is None else f'at most {rows}'} rows per evaluation set, "
        f"{'48 new tokens' if source == 'tiny' else protocol.generates}; probability and loss count the end of "
        "sequence. A p-value holds for its split and number of questions alone.",
    )
    return with_membership(task, membership, seed=seed)


def _reader(source: str, seed: int) -> Callable[[str], list[dict]]:
    if source == "tiny":
        return lambda name: load_records(f"tiny:authors:{name}", seed=seed)
    base = HUB if source == "hub" else source
    if source != "hub" and not Path(source).is_dir():
        raise InputError(f"tofu: {source} is not a folder; give tiny, hub, or the folder with TOFU's files.")
    return lambda name: load_records(base, config=name)


def _models(source: str, retain: str, seed: int, model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("tofu", model, control):
        return given
    if source != "tiny":
        raise InputError(f"tofu with source {source!r} needs the target's folder: give model (and control).")
    return partial(authors_model, "full", world_seed=seed), partial(authors_model, retain, world_seed=seed)
