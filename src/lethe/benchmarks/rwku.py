"""RWKU: forgetting famous people when neither a forget nor a retain corpus is given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, cast

from lethe.data import probes
from lethe.data.targets import Targets
from lethe.descent import self_corpus
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.models.language import LanguageModel
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds import fame_model
from lethe.worlds.cache import cache_folder

SPLITS = {"single": 1, "batch10": 10, "batch20": 20, "batch30": 30, "batch40": 40, "batch50": 50}
PUBLISHED = {"llama3": "train_positive_llama3", "phi3": "train_positive_phi3"}  # texts that those models wrote
LEVELS = ("1", "2", "3")
KINDS = (
    "prefix injection", "affirmative suffix", "role playing", "multiple choice", "reverse query",
    "synonym manipulation", "context hint", "in-context learning", "cross lingual",
)  # fmt: skip
SCORES = ("loss", "zlib", "min_k", "min_k_pp")
METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    "probe_recall:set=forget_probes",
    "probe_recall:set=forget_probes,variant=mean",
    *(f"probe_recall:set=forget_probes,level={level}" for level in LEVELS),
    *(f"probe_recall:set=forget_probes,level=3,kind={kind}" for kind in KINDS),
    "probe_recall:set=neighbor_probes",
    *(f"probe_recall:set=neighbor_probes,level={level}" for level in LEVELS[:2]),
    *(f"mia_mean:set={name},variant={one}" for name in ("mia_forget", "mia_retain") for one in SCORES),
    *(f"mia_shift:set=mia_forget,against=mia_retain,variant={one}" for one in SCORES),
    "multiple_choice:set=utility_general",
    "short_answer:set=utility_reason,variant=em.reasoned",
    "short_answer:set=utility_reason,variant=em.released",
    "multiple_choice:set=utility_truthfulness",
    "short_answer:set=utility_factuality",
    "fluency:set=utility_fluency",
)
GENERATED = ("utility_reason", "utility_factuality", "utility_fluency")
# New tokens of what is not answered within 30: the paper's, and what the tiny model's answers need.
BUDGETS = {"utility_reason": 256, "utility_fluency": 256}
TINY_BUDGET = 40
# Found on other people (world seed 10) than those that are reported.
PRESETS: dict[str, dict[str, Any]] = {
    "ga": {"lr": 5e-4, "steps": 14, "batch_size": 8},
    "npo": {"lr": 1e-3, "steps": 20, "batch_size": 8, "beta": 0.2, "retain": "none"},
}


@benchmark(families={"language"}, paper="2406.10890")
def rwku(
    *,
    source: str = "tiny",
    split: str = "batch10",
    target: str = "",
    corpus: Literal["passage", "synthetic", "llama3", "phi3"] = "passage",
    texts: int = 20,
    instruction: bool = False,
    seed: int = 0,
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """RWKU: forget famous people by name, asked for in three levels; their neighbours and the world stay.

    Args:
        source: tiny (embedded world), hub (the official data), or a folder with the official configs or with the
            released code's folders of one target each.
        split: single (one target, the paper's main setting), or batch10 to batch50 (so many at once).
        target: Name of the first target; empty takes the first of the source. Those behind it follow.
        corpus: What is forgotten: passage (the encyclopaedia's), synthetic (what the target model writes about the
            people when it is asked to), or what llama3 or phi3 wrote, as published.
        texts: Texts per person of the synthetic corpus; the paper has 582.
        instruction: Put the in-context unlearning instruction before every prompt, utility included.
        seed: Seed of the embedded world, of the request and of what is drawn.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the targets; a pretrained model has none.

    Raises:
        InputError: If split or target do not exist, the source is not there, or none but tiny comes without a model.
    """
    records, chosen, (make, controls) = opened("rwku", source, split, target, seed, model, control)
    told = probes.INSTRUCTION if instruction else ""
    forget, retain = records.passages(chosen)
    if corpus != "passage":
        forget = _written(records, chosen, corpus, make, texts, seed)
    sets: dict[str, Sequence[Record]] = {"forget": forget, "retain": retain}
    for side, levels in (("forget", LEVELS), ("neighbor", LEVELS[:2])):
        rows = [row for level in levels for row in records.read(f"{side}_level{level}", chosen)]
        sets[f"{side}_probes"] = [probes.probe(row, told) for row in rows]
    sets |= {name: records.texts(name, chosen) for name in ("mia_forget", "mia_retain") if records.has(name)}
    sets |= records.suites(probes.SUITES, chosen, told)
    tiny = source == "tiny"
    return Task(
        name="rwku",
        family="language",
        request=Request(forget, retain, seed=seed),
        probes=sets,
        metrics=observable(METRICS, sets),
        knowledge="probability:set=forget",
        utility="probe_recall:set=neighbor_probes",
        target=make,
        control=controls,
        spec=Spec(
            max_new_tokens=30,
            budgets=tuple((name, TINY_BUDGET if tiny else tokens) for name, tokens in BUDGETS.items()),
            generate=tuple(name for name in sets if name.endswith("_probes") or name in GENERATED),
        ),
        presets=PRESETS if tiny else {},
        attacks=("relearn", "quantize:bits=4"),
        floors=("noise",),
        note=(
            "RWKU has no retain set; here it is the passages about people who stay, for methods that need one. The "
            "membership texts are not known training data: read mia_shift, not mia_mean."
        ),
    )


def observable(metrics: Sequence[str], sets: dict[str, Sequence[Record]]) -> tuple[str, ...]:
    """The metrics whose sets there are, and whose kind of probe some record has."""
    kinds = {str(record.get("kind", "")) for records in sets.values() for record in records}
    found = []
    for call in metrics:
        given = dict(part.split("=") for part in call.partition(":")[2].split(",") if part)
        named = [given.get("set", "forget"), *([given["against"]] if "against" in given else [])]
        if all(name in sets for name in named) and given.get("kind", next(iter(kinds))) in kinds:
            found.append(call)
    return tuple(found)


def opened(
    who: str, source: str, split: str, target: str, seed: int, model: str, control: tuple[str, ...]
) -> tuple[Targets, list[str], Sides]:
    """The records, the names of those who are forgotten, and target and controls.

    Models come from their folders; of the tiny world, one that knows everybody, and others without the forgotten.
    """
    if split not in SPLITS:
        raise InputError(
            f"{who.upper()} has no split {split!r}{did_you_mean(split, SPLITS)}; one of {', '.join(SPLITS)}."
        )
    records = Targets(who, source, seed)
    chosen = records.choose(SPLITS[split], target)
    if given := sides_on_disk(who, model, control):
        return records, chosen, given
    if source != "tiny":
        raise InputError(f"{who} with source {source!r} needs the target's folder: give model (and control).")
    train = partial(fame_model.model, world_seed=seed)
    return records, chosen, (partial(train, ()), partial(train, tuple(chosen)))


def _written(
    records: Targets, chosen: Sequence[str], corpus: str, make: Any, texts: int, seed: int
) -> list[dict[str, Any]]:
    """What a model has written about the targets: a published one, or the target model itself."""
    if corpus in PUBLISHED:
        if records.source == "tiny":
            raise InputError(f"rwku: nothing of corpus={corpus} is about the tiny world; take passage or synthetic.")
        return records.texts(PUBLISHED[corpus], chosen)
    writer = cast(LanguageModel, make(0))
    intros = {name: records.people[name] for name in chosen}
    longest = min(512, writer.max_length // 2)
    own = self_corpus.kept(
        cache_folder() / "self_corpus", writer, intros, texts=texts, questions=1, max_new_tokens=longest, seed=seed
    )
    return list(own.texts)
