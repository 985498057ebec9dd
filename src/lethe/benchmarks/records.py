"""Your own model and your own records, under the same protocol as the published benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lethe.budget import affordable, checked
from lethe.data.interactions import requested
from lethe.data.labels import aligned
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.models import classes_of_model, edges_of, family_of, load, wrapper
from lethe.registry import benchmark
from lethe.request import Record, Request
from lethe.task import Task, sides_on_disk, with_membership
from lethe.worlds.shop import unseen

ROWS = 300  # most records per probe set
SAMPLES = {"standard": 16, "thorough": 128}  # answers drawn for each question
MEASURE = {"language": "probability", "classifier": "accuracy", "recommender": "recall"}


@benchmark()
def records(
    *,
    model: str,
    forget: str,
    retain: str = "",
    holdout: str = "",
    control: tuple[str, ...] = (),
    family: str = "",
    intent: str = "removal",
    scope: str = "entity",
    seed: int = 0,
    membership: tuple[str, ...] = (),
    neighbours: int = 10,
    masked: str = "",
    budget: str = "quick",
    allow_overlap: bool = False,
    trust_remote_code: bool = False,
) -> Task:
    """Your own records: observe, measure and attack whatever they allow; used by `lethe audit`.

    Args:
        model: The model before unlearning, folder or hub id.
        forget: Records to forget.
        retain: Records to keep; without them no utility is measured and nothing is concluded.
        holdout: Records of the same kind, never trained on; without them membership is not tested, but of a recommender
            pairs are drawn that never were, of the same users and items.
        control: Models trained without the forget set.
        family: language, classifier or recommender; read from the model where empty.
        intent: removal, suppression or unsure.
        scope: sample, entity, topic, capability or copyright.
        seed: Seed of the request.
        membership: Further membership attacks on texts, or all: see `lethe.task.FURTHER`.
        neighbours: Reworded texts of each record for the neighbourhood attack.
        masked: Masked language model that rewords them; without one, words of the records are exchanged.
        budget: What is looked at and attacked: quick, standard (16 sampled answers per question, hidden states) or
            thorough (128, and gradients).
        allow_overlap: Accept records that stand in forget and another set.
        trust_remote_code: Run code that comes with a model.

    Raises:
        InputError: If records or models cannot be loaded or do not fit each other.
    """
    kind = family or family_of(model)
    checked(budget)
    edges = edges_of(load(model, family=kind)) if kind == "recommender" else None
    sets: dict[str, Sequence[Record]] = {"holdout": load_records(holdout, family=kind) if holdout else []}
    if edges is not None:  # a request may name users and items whose interactions the model carries
        sets["forget"], sets["retain"] = requested(forget, retain, edges)
        with suppress(InputError):  # where all that these users could have with these items is known
            sets["holdout"] = sets["holdout"] or unseen(sets["forget"], [*sets["forget"], *sets["retain"]], seed)
    else:
        sets |= {name: load_records(source, family=kind) if source else [] for name, source in
                 {"forget": forget, "retain": retain}.items()}  # fmt: skip
    if kind == "classifier":
        sets = {name: [*rows] for name, rows in aligned(sets, *classes_of_model(model)).items()}
    if not sets["retain"]:
        raise InputError("No retain records: without them a destroyed model looks forgetful; give --retain.")
    told: dict[str, Any] = {"intent": intent, "scope": scope}
    request = Request(**sets, **told, seed=seed, allow_overlap=allow_overlap)
    probes = {name: list(getattr(request, name))[:ROWS] for name in ("forget", "retain", "holdout") if sets[name]}
    if kind == "recommender":
        probes["retain"] = list(request.retain)  # all of them: rankings leave them out
        # What is looked at are interactions, also where their items' content is forgotten.
        probes["forget"] = [{k: v for k, v in record.items() if k != "modality"} for record in probes["forget"]]

    sides = sides_on_disk("records", model, control, family=kind, trust_remote_code=trust_remote_code)
    assert sides is not None  # model is required
    task = Task(
        name="records",
        family=kind,
        request=request,
        probes=probes,
        metrics=metrics_for(kind, probes),
        knowledge=f"{MEASURE[kind]}:set=forget",
        utility=f"{MEASURE[kind]}:set=retain",
        target=sides[0],
        control=sides[1],
        attacks=affordable(budget, kind, wrapper(kind).abilities, request)[0],
        beside=beside_at(budget, kind, probes),
        spec=spec_at(budget, kind, probes, seed),
        note=f"At most {ROWS} records per set; records and models are yours.",
    )
    return with_membership(task, membership, neighbours=neighbours, masked=masked, seed=seed)


def metrics_for(family: str, probes: dict[str, list[Record]]) -> tuple[str, ...]:
    """Every metric that the family and the fields of the records allow."""
    calls = ["distance:set=forget", "distance:set=retain"]
    if family == "classifier":
        calls += ["accuracy:set=forget", "accuracy:set=retain"]
        calls += ["mia_loss:set=forget"] if "holdout" in probes else []
    elif family == "recommender":
        calls += ["score_distance", "recall:set=forget", "ndcg:set=forget", "forget_rank", "mi_ratio"]
        calls += ["recall:set=retain", "ndcg:set=retain"]
        calls += ["edge_membership", "mi_ratio:variant=ng"] if "holdout" in probes else []
    else:
        asked = all("question" in record for record in probes["forget"])
        wrong = all("perturbed_answer" in record for record in probes["forget"])
        calls += ["probability:set=forget", *(["rouge:set=forget"] if asked else [])]
        calls += ["truth_ratio:set=forget", "forget_quality", "forget_quality:variant=ks_p"] if wrong else []
        calls += ["exact_memorization", "extraction_strength", *(["fluency:set=forget"] if asked else [])]
        calls += ["probability:set=retain"]
        calls += ["rouge:set=retain"] if all("question" in record for record in probes["retain"]) else []
    if "holdout" in probes:
        variants = ("loss", "min_k", "min_k_pp", "zlib") if family == "language" else ("loss",)
        calls += [f"membership:variant={variant}" for variant in variants]
    return tuple(calls)


def spec_at(budget: str, family: str, probes: dict[str, list[Record]], seed: int) -> Spec:
    """What is observed for a budget."""
    if budget == "quick" or family == "recommender":
        return Spec()
    asked = family == "language" and all("question" in record for record in probes["forget"])
    number = SAMPLES[budget]
    return Spec(
        interior=tuple(name for name in ("forget", "retain") if name in probes),
        samples=(("forget", number),) if asked else (),
        gradients=tuple(name for name in ("forget", "holdout") if name in probes) if budget == "thorough" else (),
        seed=seed,
    )


def beside_at(budget: str, family: str, probes: dict[str, list[Record]]) -> tuple[str, ...]:
    """Metrics that the checklist reads and that not all records allow."""
    calls = ["calibration_error"]
    calls += ["membership_difference"] if "holdout" in probes else []
    if family == "recommender":
        calls += ["item_leakage", "group_gap:set=retain"]
        calls += ["user_membership:variant=lists"] if "holdout" in probes else []
    if budget == "quick" or family == "recommender":
        return tuple(calls)
    calls += ["linear_probe", "cka"]
    calls += ["cka:variant=original", "representation_gap"] if family == "classifier" else []
    if family == "language":
        calls += ["lens", *(f"leak:variant=k{k}" for k in (1, 16, 128) if k <= SAMPLES[budget])]
    return (*calls, "gradient_mass") if budget == "thorough" else tuple(calls)
