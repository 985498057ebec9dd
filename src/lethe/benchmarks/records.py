"""Your own model and your own records, under the same protocol as the published benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models import family_of
from lethe.registry import benchmark
from lethe.request import Record, Request
from lethe.task import Task, sides_on_disk, with_membership

ROWS = 300  # most records per probe set
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
    allow_overlap: bool = False,
    trust_remote_code: bool = False,
) -> Task:
    """Your own records: observe, measure and attack whatever they allow; used by `lethe audit`.

    Args:
        model: The model before unlearning, folder or hub id.
        forget: Records to forget.
        retain: Records to keep; without them no utility is measured and nothing is concluded.
        holdout: Records of the same kind, never trained on; without them membership is not tested.
        control: Models trained without the forget set.
        family: language, classifier or recommender; read from the model where empty.
        intent: removal, suppression or unsure.
        scope: sample, entity, topic, capability or copyright.
        seed: Seed of the request.
        membership: Further membership attacks on texts, or all: see `lethe.task.FURTHER`.
        neighbours: Reworded texts of each record for the neighbourhood attack.
        masked: Masked language model that rewords them; without one, words of the records are exchanged.
        allow_overlap: Accept records that stand in forget and another set.
        trust_remote_code: Run code that comes with a model.

    Raises:
        InputError: If records or models cannot be loaded or do not fit each other.
    """
    kind = family or family_of(model)
    sets = {name: load_records(source, family=kind) if source else [] for name, source in
            {"forget": forget, "retain": retain, "holdout": holdout}.items()}  # fmt: skip
    if not sets["retain"]:
        raise InputError("No retain records: without them a destroyed model looks forgetful; give --retain.")
    told: dict[str, Any] = {"intent": intent, "scope": scope}
    request = Request(**sets, **told, seed=seed, allow_overlap=allow_overlap)
    probes = {name: list(getattr(request, name))[:ROWS] for name in sets if sets[name]}
    if kind == "recommender":
        probes["retain"] = list(request.retain)  # all of them: rankings leave them out

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
        attacks=attacks_for(kind, request.forget),
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
        calls += ["recall:set=forget", "ndcg:set=forget", "forget_rank", "recall:set=retain", "ndcg:set=retain"]
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


def attacks_for(family: str, forget: Sequence[Record]) -> tuple[str, ...]:
    """Every attack that the family and the records allow."""
    calls = ["relearn"] if len(forget) > 1 else []
    calls += ["quantize:bits=8", "quantize:bits=4", "merge"]
    if family == "language" and all("paraphrased_question" in record for record in forget):
        calls += ["paraphrase"]
    return tuple(calls)
