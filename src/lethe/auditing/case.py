"""What an audit reads, and the lines of its list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lethe.auditing.thresholds import Null
from lethe.findings import Check, EvidenceClass, LeftOut, Outcome, Recovery
from lethe.score import Score

TITLES: dict[str, tuple[EvidenceClass, str]] = {
    "I1": ("E0", "The scope is stated"),
    "I2": ("E0", "The intent is stated"),
    "I3": ("E0", "The threat model is stated"),
    "I4": ("E0", "Legal basis and deadline are stated"),
    "I5": ("E0", "The target knows what the controls do not"),
    "B1": ("E0", "Forget questions are not answered"),
    "B2": ("E0", "Open generation does not say the answer"),
    "B3": ("E1", "Other forms of the question bring nothing back"),
    "B4": ("E1", "Repeated sampling brings nothing out"),
    "B5": ("E0", "The answer is no more likely than to a control"),
    "B6": ("E0", "No anti-knowledge: the answer is not avoided"),
    "B7": ("E0", "Answers to forget questions are still text"),
    "U1": ("E0", "Neighbouring records are still known"),
    "U2": ("E0", "General utility is kept"),
    "U3": ("E0", "Reasoning and instruction following are kept"),
    "U4": ("E0", "Prompts that mix a forget and a retain question are served"),
    "U5": ("E0", "Utility is kept in other languages"),
    "U6": ("E0", "Answers to retain questions are as well calibrated as a control's"),
    "P1": ("E4", "Membership inference sees what it sees in a control"),
    "P2": ("E4", "What changed since the original tells no more than in a control"),
    "P3": ("E2", "No more can be extracted verbatim than from a control"),
    "R1": ("E2", "Jailbreaks bring nothing back"),
    "R2": ("E2", "Hints in the context bring nothing back"),
    "R3": ("E3", "Relearning a part does not bring back the rest"),
    "R4": ("E3", "Fine-tuning on other data brings nothing back"),
    "R5": ("E3", "Quantisation brings nothing back"),
    "R6": ("E3", "Pruning, noise and merging with the original bring nothing back"),
    "R7": ("E3", "Steering and noise on activations bring nothing back"),
    "R8": ("E3", "Forced routing brings nothing back (mixtures of experts)"),
    "R9": ("E3", "The weights themselves have forgotten, without a wrapper"),
    "N1": ("E4", "A linear probe finds no more than in a control"),
    "N2": ("E4", "The logit lens ranks the answer no higher than in a control"),
    "N3": ("E4", "Concept vectors are no more traceable than in a control"),
    "N4": ("E4", "As close to the controls as they are to each other"),
    "N5": ("E4", "The gradient on the forget set is a control's"),
    "O1": ("E0", "Later requests bring no earlier one back"),
    "O2": ("E0", "The order of requests does not matter"),
    "O3": ("E0", "One batch forgets what single requests forget"),
    "O4": ("E0", "A request costs less than retraining"),
    "O5": ("E0", "It holds for larger forget sets"),
    "O6": ("E0", "Repeating a request changes nothing"),
    "O7": ("E0", "A request can be rolled back"),
    "O8": ("E0", "An artefact vouches for weights, records and settings"),
    "S1": ("E0", "Three seeds of the method and of the controls"),
    "S2": ("E0", "Tested in pairs of items against controls"),
    "S3": ("E0", "Settings were chosen on a validation split"),
    "S4": ("E0", "Forgets more than noise at equal utility loss"),
    "S5": ("E0", "Failed runs are reported"),
}

# Why a line was not tested where nothing more is known, and what to give so that it is.
WANTED = {
    "I1": "not stated; read as entity",
    "I2": "not stated; read as removal",
    "I3": "not stated; read as insider",
    "I4": "no basis and deadline stated",
    "I5": "there is no control; give models trained without the forget set",
    "B2": "no generated answers; needs forget records with questions and a model that generates",
    "B3": "no other form was asked; give records with paraphrased_question, or a larger budget",
    "B4": "nothing was sampled; needs questions, a model that generates and the budget standard",
    "B5": "no probability of the forget answers was measured",
    "B7": "no generated answers to read; needs forget records with questions and a model that generates",
    "U3": "no such tasks were given; run them with the evaluation harness (`python -m lethe.harness`)",
    "U4": "no prompt held two questions; give records that ask a forget and a retain question at once",
    "U5": "no records in other languages; give translated retain records",
    "U6": "no distributions over the retain answers were kept",
    "P1": "needs holdout records of the same kind and a control",
    "P2": "needs holdout records, the model before unlearning and a control",
    "P3": "no verbatim extraction was measured; language models only",
    "R1": "no jailbreak was tried; language models and a larger budget",
    "R2": "no hint was given; language models and a larger budget",
    "R3": "no relearning was tried; needs two forget records or more",
    "R4": "no fine-tuning on other data was tried; needs retain or holdout records and a larger budget",
    "R5": "no quantisation was tried",
    "R6": "neither pruning nor noise nor merging was tried",
    "R7": "activations were not attacked; needs a model with hidden states and a larger budget",
    "R8": "routing was not forced; only mixtures of experts have any",
    "N1": "no probe was trained; needs a language model and the budget standard",
    "N2": "no layer was read; needs a language model and the budget standard",
    "N3": "no concept vectors are known; give them as the benchmark conceptvectors does",
    "N4": "needs distances to at least two controls, and of those to each other",
    "N5": "no gradients were measured; needs the budget thorough",
    "O1": "a single request; serve several in sequence",
    "O2": "a single request; serve several in other orders",
    "O3": "a single request; serve several in one batch and one by one",
    "O4": "seconds stand in cost.json; retraining was not timed beside it",
    "O5": "one size of forget set; unlearn several sizes",
    "O6": "the request was served once; serve it twice",
    "O7": "no rollback was tried",
    "O8": "no manifest vouches for this model; make it with `lethe unlearn`",
    "S3": "no model tells how its settings were chosen; state it, as `lethe tune` does on a split of its own",
    "S4": "needs the noise floor, which `lethe bench` makes",
    "S5": "only whoever ran the method knows which runs failed; `lethe bench` lists them",
}


@dataclass(frozen=True)
class Names:
    """Which score answers which question: qualified names as in `Score.name`, "" where there is none.

    Args:
        knowledge: Of the forget set; higher = more is known.
        utility: What must stay, in one number; higher is better, 0 is nothing.
        generation: What open generation says of the forget answers; higher = more.
        probability: Probability of the forget answers.
        retain: Knowledge of the retain set.
        fluency: Whether answers to forget questions are text; near 0 = repetition.
        membership: AUC of forget against unseen records.
        distances: Divergences from the controls; a control's own are to the other controls.
        leaks: Chances that one of several sampled answers leaks.
        calibration: Calibration error on the retain answers; lower is better.
        difference: AUC of forget against unseen records by what changed since the original.
        extraction: What can be had verbatim; higher = more.
        probe: What linear probes find of it; higher = more.
        lens: What the logit lens finds of it; higher = more.
        trace: What is left of its concept vectors; higher = more.
        gradient: Size of the gradient on the forget set.
        representation: How much of the way to the controls the representations of the forget set have gone.
    """

    knowledge: str
    utility: str
    generation: str = ""
    probability: str = ""
    retain: str = ""
    fluency: str = ""
    membership: str = ""
    distances: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    calibration: str = ""
    difference: str = ""
    extraction: tuple[str, ...] = ()
    probe: str = ""
    lens: str = ""
    trace: str = ""
    gradient: str = ""
    representation: str = ""


@dataclass(frozen=True)
class AuditInput:
    """All that an audit reads of one model.

    Args:
        claimed: Intent that the method's authors claim: removal, suppression, hybrid.
        level: Where the method acts (`Card.level`); decoding, input and output are wrappers.
        names: Which score answers which question.
        scores: Of the model under audit, by qualified name.
        target: Of the model before unlearning.
        controls: Of models trained without the forget set, one mapping each.
        floors: Of the floors, by method: "noise".
        recoveries: What attacks brought back.
        changed: Weights that differ from the target's; None if not counted.
        seeds: Seeds under which the method was run.
        given: Checks that were made elsewhere; they stand unless this list fails the same line.
        guarded: Whether the model carries a guard that withholds its answers, whatever the method claims to change.
        required: Intent of the request: removal, suppression, or unsure, which is read as removal.
        budget: What was paid for attacks: quick, standard, thorough; "" where they were named one by one.
        left_out: Attacks that were not made; a line one of whose attacks broke cannot pass.
        artefact: What a manifest vouches for that was checked against the models and records at hand; "" without one.
        failed: Runs that failed, all of them in the table; None where nobody can know.
        nulls: What true controls show on each line; None takes the calibration that comes with the package.
    """

    claimed: str
    level: str
    names: Names
    scores: Mapping[str, Score]
    target: Mapping[str, Score]
    controls: Sequence[Mapping[str, Score]]
    floors: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    recoveries: Sequence[Recovery] = ()
    changed: int | None = None
    seeds: int = 1
    given: Sequence[Check] = ()
    guarded: bool = False
    required: str = "removal"
    budget: str = ""
    left_out: Sequence[LeftOut] = ()
    artefact: str = ""
    failed: int | None = None
    nulls: Mapping[str, Null] | None = None


def by_name(scores: Iterable[Score]) -> dict[str, Score]:
    """Scores by their qualified names."""
    return {score.name: score for score in scores}


def make(
    name: str,
    outcome: Outcome,
    value: float | None = None,
    threshold: float | None = None,
    reason: str = "",
    **more: Any,
) -> Check:
    """A check with the title and evidence class of its line; `more` are further fields of `Check`."""
    evidence_class, title = TITLES.get(name, ("E0", name))
    return Check(name, title, evidence_class, outcome, value, threshold, reason, **more)


def untested(name: str, reason: str = "", **more: Any) -> Check:
    """A line that was not tested, with the reason or what it would take."""
    return make(name, "NOT TESTED", reason=reason or WANTED.get(name, "not attempted"), **more)
