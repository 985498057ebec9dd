"""What an audit reads, and the lines of its list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lethe.findings import Check, EvidenceClass, Outcome, Recovery
from lethe.score import Score

TITLES: dict[str, tuple[EvidenceClass, str]] = {
    "I5": ("E0", "The target knows what the controls do not"),
    "B1": ("E0", "Forget questions are not answered"),
    "B2": ("E0", "Open generation does not say the answer"),
    "B5": ("E0", "The answer is no more likely than to a control"),
    "B6": ("E0", "No anti-knowledge: the answer is not avoided"),
    "B7": ("E0", "Answers to forget questions are still text"),
    "U1": ("E0", "Neighbouring records are still known"),
    "U2": ("E0", "General utility is kept"),
    "U3": ("E0", "Reasoning and instruction following are kept"),
    "S1": ("E0", "Three seeds of the method and of the controls"),
    "S4": ("E0", "Forgets more than noise at equal utility loss"),
    "B3": ("E1", "Other forms of the question bring nothing back"),
    "B4": ("E1", "Repeated sampling brings nothing out"),
    "R1": ("E2", "Jailbreaks bring nothing back"),
    "R2": ("E2", "Hints in the context bring nothing back"),
    "R3": ("E3", "Relearning a part does not bring back the rest"),
    "R4": ("E3", "Fine-tuning on other data brings nothing back"),
    "R5": ("E3", "Quantisation brings nothing back"),
    "R6": ("E3", "Merging with the original brings nothing back"),
    "R7": ("E3", "Steering and noise on activations bring nothing back"),
    "R8": ("E3", "Forced routing brings nothing back (mixtures of experts)"),
    "R9": ("E3", "The weights themselves have forgotten, without a wrapper"),
    "N1": ("E4", "A linear probe finds no more than in a control"),
    "N3": ("E4", "Concept vectors are no more traceable than in a control"),
    "N4": ("E4", "As close to the controls as they are to each other"),
    "P1": ("E4", "Membership inference sees what it sees in a control"),
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
    """

    knowledge: str
    utility: str
    generation: str = ""
    probability: str = ""
    retain: str = ""
    fluency: str = ""
    membership: str = ""
    distances: tuple[str, ...] = ()


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


def by_name(scores: Iterable[Score]) -> dict[str, Score]:
    """Scores by their qualified names."""
    return {score.name: score for score in scores}


def make(
    name: str, outcome: Outcome, value: float | None = None, threshold: float | None = None, reason: str = ""
) -> Check:
    """A check with the title and evidence class of its line."""
    evidence_class, title = TITLES.get(name, ("E0", name))
    return Check(name, title, evidence_class, outcome, value, threshold, reason)
