"""ORT: is what was forgotten in one form of question forgotten in the others?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lethe.benchmarks.rwku import observable, opened
from lethe.data import probes
from lethe.data.targets import Targets
from lethe.evidence import Spec
from lethe.registry import benchmark
from lethe.request import Record, Request
from lethe.task import Task

FORMS = ("cloze", "question", "multiple choice", "spelt cloze", "spelt question", "true or false")
OFFICIAL = FORMS[:5]  # columns fb, qa, mcp and sub_* of the paper; true/false stands apart, see `probes.judged`
SUITES = ("general", "truthfulness", "factuality", "fluency")
DIRECT = "Please provide direct answers without any explanations or additional content.\n"  # Mistral gets this first
METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    *(f"form_probability:set={side}_forms,form={form}" for side in ("forget", "neighbor") for form in OFFICIAL),
    "form_probability:set=forget_judged",
    "form_probability:set=neighbor_forms",
    "form_gap:set=forget_forms",
    "form_gap:set=forget_forms,variant=worst_drop",
    "form_gap:set=neighbor_forms",
    "multiple_choice:set=utility_general",
    "multiple_choice:set=utility_truthfulness",
    "short_answer:set=utility_factuality",
    "fluency:set=utility_fluency",
)
# Found on other people (world seed 10) than those that are reported.
PRESETS: dict[str, dict[str, Any]] = {
    "ga": {"lr": 5e-4, "steps": 14, "batch_size": 8},
    "npo": {"lr": 1e-3, "steps": 20, "batch_size": 8, "beta": 0.1, "retain": "none"},
    "rocr": {},
}


@benchmark(families={"language"}, paper="2506.07795")
def ort(
    *,
    source: str = "tiny",
    split: str = "batch10",
    target: str = "",
    corpus: Literal["passage", "cloze", "question"] = "passage",
    direct: bool = False,
    instruction: bool = False,
    seed: int = 0,
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """ORT: forget people from one form of text, asked about in cloze, question, choice and spelling; neighbours stay.

    Args:
        source: tiny (embedded world), hub (RWKU's data, which lack the choices), or a folder with the official files,
            one folder per target.
        split: single (one target), or batch10 to batch50 (so many at once).
        target: Name of the first target; empty takes the first of the source. Those behind it follow.
        corpus: The one form that is forgotten: passage (texts), or the cloze probes or questions themselves.
        direct: Put the request for direct answers before every prompt, as the paper does for Mistral.
        instruction: Put the in-context unlearning instruction before every prompt, utility included.
        seed: Seed of the embedded world, of the request and of the false statements.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the targets; a pretrained model has none.

    Raises:
        InputError: If split or target do not exist, the source is not there, or none but tiny comes without a model.
    """
    records, chosen, (make, controls) = opened("ort", source, split, target, seed, model, control)
    told = (probes.INSTRUCTION if instruction else "") + (DIRECT if direct else "")
    forget, retain = _one_form(records, chosen, corpus)
    sets: dict[str, Sequence[Record]] = {"forget": forget, "retain": retain}
    for side in ("forget", "neighbor"):
        sets[f"{side}_forms"] = forms(records, side, chosen, told)
    if records.has("forget_mcp"):
        choices = records.read("forget_mcp", chosen)
        sets["forget_judged"] = [one for row in choices for one in probes.judged(row, seed, told)]
    sets |= records.suites(SUITES, chosen, told)
    tiny = source == "tiny"
    return Task(
        name="ort",
        family="language",
        request=Request(forget, retain, seed=seed),
        probes=sets,
        metrics=observable(METRICS, sets),
        knowledge="probability:set=forget",
        utility="form_probability:set=neighbor_forms",
        target=make,
        control=controls,
        spec=Spec(
            max_new_tokens=30,
            budgets=(("utility_fluency", 40 if tiny else 256),),
            generate=tuple(name for name in sets if name in ("utility_factuality", "utility_fluency")),
        ),
        presets=PRESETS if tiny else {},
        attacks=("relearn", "quantize:bits=4"),
        floors=("noise",),
        note=(
            "A drop is relative to the target, and a guessed letter of four is right once in four: the ideal of the "
            "form gap is the control's. ORT has no retain set; here it is the same form about people who stay."
        ),
    )


def forms(records: Targets, side: str, about: Sequence[str], instruction: str = "") -> list[dict[str, Any]]:
    """The probes of a side, forget or neighbor, in every form that the source has; `kind` names the form."""
    cloze, question = (
        [{**probes.probe(row, instruction), "kind": name} for row in records.read(f"{side}_level{level}", about)]
        for level, name in (("1", "cloze"), ("2", "question"))
    )
    spelt = [{**probes.spelt(record), "kind": f"spelt {record['kind']}"} for record in (*cloze, *question)]
    choices = records.read(f"{side}_mcp", about) if records.has(f"{side}_mcp") else []
    return [*cloze, *question, *(probes.choice(row, instruction) for row in choices), *spelt]


def _one_form(
    records: Targets, chosen: Sequence[str], corpus: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The one form that is forgotten about these people, and kept about the others."""
    if corpus == "passage":
        return records.passages(chosen)
    rows = records.read({"cloze": "forget_level1", "question": "forget_level2"}[corpus])
    own = [probes.probe(row) for row in rows if row["subject"] in chosen]
    return own, [probes.probe(row) for row in rows if row["subject"] not in chosen]
