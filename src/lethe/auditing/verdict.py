"""From checks to a verdict: a pure function, in which no missing check can lead to a removal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from lethe.auditing.case import AuditInput, make
from lethe.auditing.checklist import COLLAPSED, checklist
from lethe.findings import Check, Verdict

Reached = Literal["removal", "consistent with removal", "suppression", "collapse", "not forgotten", "no verdict"]

# SoK, arXiv 2506.09227, section 4: what a removal needs. Of each tuple in ONE_OF one line must pass.
REMOVAL = ("I5", "B1", "B2", "B3", "B4", "B6", "U1", "U2", "U3", "R1", "R2", "P1", "R3", "R5", "R9", "N4")
ONE_OF = (("R4", "R6", "R7"), ("N1", "N3"))
BASIC = ("U2", "R3", "R5")  # without these nothing tells removal from damage and from suppression

# What a model that had really forgotten could not show. R6 is not among them: merging puts the original's weights back,
# so a failure shows that the model lies near the original; a table whose rows were deleted fails it as well.
EXPOSING = ("R3", "R5", "R4", "R7", "R8", "N1", "N3", "R1", "R2", "B3", "B4", "B5", "B6", "P1", "N4")
DAMAGE = ("U1", "U2", "U3")

CORE = {"E0": ("B1",), "E1": ("B3", "B4"), "E2": ("R1", "R2"), "E3": ("R3",), "E4": ("N1", "N3")}


def audit(case: AuditInput) -> Verdict:
    """Check one model and conclude: claimed intent beside what was observed (SoK, arXiv 2506.09227)."""
    return conclude(case.claimed, checklist(case), case.required)


def conclude(claimed: str, checks: Sequence[Check], required: str = "removal") -> Verdict:
    """The verdict that a list of checks supports.

    `removal` needs every line of its list to have passed; what was not tested counts for nothing. What is needed
    follows from the request and not from the claim: by claiming less, a method would otherwise be tested for less.

    Args:
        claimed: Intent that the method's authors claim; told beside the verdict.
        checks: Lines of the list; absent ones count as not tested.
        required: Intent of the request; anything but suppression is read as removal.
    """
    lines = {check.id: check for check in checks}
    reached, decisive = _decide(required, lines)
    highest = _highest(lines)
    return Verdict(claimed, reached, highest, _sentence(reached, decisive, lines, highest), tuple(checks))


def _decide(required: str, lines: Mapping[str, Check]) -> tuple[Reached, list[Check]]:
    """The conclusion and the checks that decided it."""
    if failed := _with(lines, ("I5",), "FAIL"):
        return "no verdict", failed
    if broken := [check for check in _with(lines, DAMAGE, "FAIL") if (check.value or 0.0) < COLLAPSED]:
        return "collapse", broken
    answered, silent = _with(lines, ("B1", "B2"), "FAIL"), _with(lines, ("B1", "B2"), "PASS")
    if silent and (wrapped := _with(lines, ("R9",), "FAIL")):
        return "suppression", wrapped
    if answered:
        return "not forgotten", answered
    if not _passed(lines, "B1"):
        return "no verdict", _untested(lines, ("B1",))
    if exposed := _with(lines, EXPOSING, "FAIL"):
        return "suppression", exposed
    if damaged := _with(lines, DAMAGE, "FAIL"):
        return "no verdict", damaged
    if required == "suppression" and not (_passed(lines, "R3") and _passed(lines, "R5")):
        return "suppression", _with(lines, ("B1",), "PASS")
    if missing := _untested(lines, BASIC):
        return "no verdict", missing
    return ("consistent with removal" if _lacking(lines) else "removal"), _with(lines, ("B1", "R3", "R5"), "PASS")


def _lacking(lines: Mapping[str, Check]) -> list[str]:
    """What a removal needs and has not."""
    lacking = [line for line in REMOVAL if not _passed(lines, line)]
    return lacking + ["/".join(group) for group in ONE_OF if not any(_passed(lines, line) for line in group)]


def _highest(lines: Mapping[str, Check]) -> str:
    """The highest class whose core passed, with no line about forgetting failed in it or below it."""
    highest = ""
    for name, core in CORE.items():
        failed = _with(lines, ("B1", "B2", "R9", *EXPOSING), "FAIL")
        if any(check.evidence_class == name for check in failed):
            break
        if any(_passed(lines, line) for line in core):
            highest = name
    return highest


def _sentence(reached: Reached, decisive: Sequence[Check], lines: Mapping[str, Check], highest: str) -> str:
    why = "; ".join(f"{check.id}: {check.reason}" for check in decisive[:3])
    if reached == "removal":
        return f"Removal: every line of the checklist passed. {why}."
    if reached == "consistent with removal":
        return f"Consistent with removal up to class {highest}. {why}. Not shown: {', '.join(_lacking(lines))}."
    opening = {
        "suppression": "Suppression: the answers are gone, the knowledge is not shown to be",
        "collapse": "Collapse: what should have stayed is destroyed as well, so forgetting means nothing",
        "not forgotten": "Not forgotten",
        "no verdict": "No verdict",
    }[reached]
    return f"{opening}. {why}." if why else f"{opening}."


def _with(lines: Mapping[str, Check], names: Iterable[str], outcome: str) -> list[Check]:
    return [lines[name] for name in names if name in lines and lines[name].outcome == outcome]


def _passed(lines: Mapping[str, Check], name: str) -> bool:
    return name in lines and lines[name].outcome == "PASS"


def _untested(lines: Mapping[str, Check], names: Iterable[str]) -> list[Check]:
    absent = [name for name in names if not _passed(lines, name)]
    return [lines.get(name) or make(name, "NOT TESTED", reason="not attempted") for name in absent]
