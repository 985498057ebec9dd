"""What the audit concluded, group by group; "not tested" is carried along wherever a conclusion is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from lethe.findings import Check, EvidenceClass, LeftOut, Verdict
from lethe.report.numbers import DASH, count, finite, joined, number, share
from lethe.report.tables import Group
from lethe.runs.results import Row

CLASSES: tuple[EvidenceClass, ...] = get_args(EvidenceClass)
MEANING = {
    "E0": "the training form",
    "E1": "rephrasing and other forms",
    "E2": "attacks on the input",
    "E3": "tampering with the weights",
    "E4": "representations, and a control that it cannot be told from",
}
# Strongest first. Where seeds disagree the weakest counts.
REACHED = (
    "removal",
    "consistent with removal",
    "suppression",
    "no verdict",
    "collapse",
    "not forgotten",
    "not audited",
    "failed",
)
NOT_AUDITED = Verdict("", "no verdict", "", "No audit was made of this model.")


@dataclass(frozen=True)
class Rung:
    """One evidence class of one group: what was passed, failed and left out."""

    name: EvidenceClass
    state: str  # "passed", "passed in part", "failed", "not tested"
    passed: int
    failed: int
    untested: int

    @property
    def checks(self) -> int:
        """How many checks of this class are on the list."""
        return self.passed + self.failed + self.untested

    @property
    def told(self) -> str:
        """The counts in words."""
        return (
            f"{self.name}, {MEANING[self.name]}: {self.passed} passed, {self.failed} failed, {self.untested} not tested"
        )


@dataclass(frozen=True)
class Budget:
    """How much was tried on one group, and what was not."""

    name: str = ""  # quick, standard or thorough; "" where attacks were named one by one
    tried: int = 0  # attack settings
    left_out: tuple[LeftOut, ...] = ()

    @property
    def told(self) -> str:
        """`quick: 7 attack settings tried, 4 left out`."""
        name = self.name or "no budget stated"
        left = f", {len(self.left_out):,} left out" if self.left_out else ""
        return f"{name}: {count(self.tried, 'attack setting')} tried{left}"


@dataclass(frozen=True)
class Finding:
    """The verdict on one group: the weakest of its seeds, with how many of them share it."""

    group: Group
    claimed: str
    reached: str
    seeds: str  # "" if there is one seed or all agree
    highest: str
    sentence: str
    ladder: tuple[Rung, ...]
    failed: tuple[Check, ...]
    untested: tuple[Check, ...]
    checks: tuple[Check, ...] = ()  # all of them, the worst of the seeds
    budget: Budget = Budget()

    @property
    def tiers(self) -> list[tuple[EvidenceClass, list[Check]]]:
        """The checks by evidence class."""
        grouped = {name: [check for check in self.checks if check.evidence_class == name] for name in CLASSES}
        return [(name, grouped[name]) for name in CLASSES if grouped[name]]

    @property
    def left(self) -> list[tuple[EvidenceClass, list[str]]]:
        """What was not tested, by evidence class; of a class without any check, all."""
        known = (
            (rung, [check.id for check in self.untested if check.evidence_class == rung.name]) for rung in self.ladder
        )
        return [(rung.name, lines or ["no check"]) for rung, lines in known if lines or not rung.checks]

    @property
    def key(self) -> str:
        """The verdict as a class name."""
        return self.reached.replace(" ", "-")


@dataclass(frozen=True)
class Line:
    """One check of the list, over all audited groups."""

    check: Check
    outcomes: tuple[tuple[str, str], ...]  # (outcome, value beside limit) of each group, "" where it has no such check


def findings(lines: Sequence[Group]) -> list[Finding]:
    """Verdicts of all methods, then of the other rows that were audited."""
    methods = [line for line in lines if line.role == "method"]
    others = [line for line in lines if line.role != "method" and any(row.verdict for row in line.rows)]
    return [finding(line) for line in methods + others]


def finding(line: Group) -> Finding:
    """The verdict on one group."""
    verdicts = [row.verdict or NOT_AUDITED for row in line.rows]
    words = [_reached(row) for row in line.rows]
    weakest = max(words, key=REACHED.index)
    said = verdicts[words.index(weakest)]
    tally = Counter(words)
    split = joined(f"{word} in {tally[word]} of {len(words)} seeds" for word in REACHED if tally[word])
    checks = _united(verdicts)
    return Finding(
        group=line,
        claimed=said.claimed or line.first.card.get("intent", ""),
        reached=weakest,
        seeds=split if len(tally) > 1 else "",
        highest=min(verdict.highest_class for verdict in verdicts),
        sentence=line.rows[words.index(weakest)].failure or said.sentence,
        ladder=tuple(_rung(name, checks) for name in CLASSES),
        failed=tuple(check for check in checks if check.outcome == "FAIL"),
        untested=tuple(check for check in checks if check.outcome == "NOT TESTED"),
        checks=tuple(checks),
        budget=_budget(line),
    )


def _budget(line: Group) -> Budget:
    said = [row.verdict for row in line.rows if row.verdict]
    settings = max((len(row.recoveries) for row in line.rows), default=0)
    return Budget(
        name=next((verdict.budget for verdict in said if verdict.budget), ""),
        tried=max([settings, *(verdict.tried for verdict in said)]),
        left_out=left_out([line]),
    )


def left_out(lines: Sequence[Group]) -> tuple[LeftOut, ...]:
    """The attacks that were meant for these groups and not made, each once per reason."""
    rows = [row for line in lines for row in line.rows]
    found = (one for row in rows for one in (*row.left_out, *(row.verdict.left_out if row.verdict else ())))
    return tuple(dict.fromkeys(found))


def _reached(row: Row) -> str:
    return "failed" if row.failure else row.verdict.reached if row.verdict else "not audited"


def _united(verdicts: Sequence[Verdict]) -> list[Check]:
    """Each check once: failed if any seed fails it, untested if any seed leaves it out."""
    severity = {"PASS": 0, "NOT TESTED": 1, "FAIL": 2}
    worst: dict[str, Check] = {}
    for check in (check for verdict in verdicts for check in verdict.checks):
        known = worst.get(check.id)
        if known is None or severity[check.outcome] > severity[known.outcome]:
            worst[check.id] = check
    return list(worst.values())


def _rung(name: EvidenceClass, checks: Sequence[Check]) -> Rung:
    tally = Counter(check.outcome for check in checks if check.evidence_class == name)
    passed, failed, untested = tally["PASS"], tally["FAIL"], tally["NOT TESTED"]
    state = "failed" if failed else "not tested" if not passed else "passed in part" if untested else "passed"
    return Rung(name, state, passed, failed, untested)


def headline(found: Sequence[Finding], intents: Sequence[str]) -> str:
    """The whole report in one sentence.

    Args:
        found: The verdicts on all methods.
        intents: What each benchmark's request requires; removal is asked after unless all ask for suppression.
    """
    tally = Counter(one.reached for one in found)
    total = sum(tally.values())
    if not total:
        return "No method was audited."
    if total == 1:
        left_out = len(found[0].untested)
        untested = f"; {count(left_out, 'check')} not tested" if left_out else ""
        return f"{found[0].group.label}: {found[0].reached}{untested}."
    enough = REACHED[: 3 if set(intents) == {"suppression"} else 1]
    reached = sum(tally[word] for word in enough)
    goal = "suppression or more" if len(enough) > 1 else "removal"
    where = f" over {len(intents)} benchmarks" if len(intents) > 1 else ""
    rest = [f"{tally[word]} {word}" for word in REACHED if tally[word] and (len(enough) > 1 or word not in enough)]
    others = f"; {', '.join(rest)}" if rest else ""
    return f"{reached or 'None'} of {count(total, 'method')}{where} reached {goal}{others}."


def asked(request: dict[str, Any]) -> str:
    """What was to be forgotten, in one sentence."""
    sizes = {name: request.get(name) for name in ("forget", "retain", "holdout")}
    known = {name: value for name, value in sizes.items() if isinstance(value, int)}
    forget = count(known["forget"], "record") if "forget" in known else "records"
    scope = f" (scope: {request['scope']})" if request.get("scope") else ""
    intent = request.get("intent", "")
    wanted = "intent not stated, audited as removal" if intent in ("", "unsure") else intent
    beside = [f"{known['retain']:,} to keep"] if known.get("retain") else []
    beside += [f"{known['holdout']:,} held out, never trained on"] if known.get("holdout") else []
    return f"Forget {forget}{scope}; required: {wanted}." + (f" Beside them {joined(beside)}." if beside else "")


def checklist(found: Sequence[Finding]) -> list[Line]:
    """Every check against every audited group, in order of evidence class."""
    outcomes: dict[str, dict[int, tuple[str, str]]] = {}
    shown: dict[str, Check] = {}
    for place, one in enumerate(found):
        for check in _united([row.verdict for row in one.group.rows if row.verdict]):
            shown.setdefault(check.id, check)
            outcomes.setdefault(check.id, {})[place] = (check.outcome, _measured(check))
    ordered = sorted(shown.values(), key=lambda check: check.evidence_class)  # stable: the audit's order within a class
    blank = ("", "")
    return [Line(check, tuple(outcomes[check.id].get(i, blank) for i in range(len(found)))) for check in ordered]


def _measured(check: Check) -> str:
    if finite(check.value) is None:
        return ""
    value, threshold = amounts(check)
    limit = "" if finite(check.threshold) is None else f" (limit {threshold})"
    p = chance(check)
    return f"{value}{limit}{f', p {p}' if p else ''}"


def amounts(check: Check) -> tuple[str, str]:
    """A check's value and its threshold: two decimals, a third where they would look alike; of counts none."""
    value, threshold = finite(check.value), finite(check.threshold)
    alike = None not in (value, threshold) and value != threshold and share(value) == share(threshold)
    return _amount(value, 3 if alike else 2), _amount(threshold, 3 if alike else 2)


def _amount(value: float | None, decimals: int) -> str:
    return DASH if value is None else number(round(value, decimals), 0 if abs(value) >= 100 else decimals)


def chance(check: Check) -> str:
    """`0.021`: the check's p, corrected for all tested lines where that was done; "" where there is none."""
    return small(check.p if finite(check.p_adjusted) is None else check.p_adjusted)


def small(p: float | None) -> str:
    """A p-value with three decimals or `< 0.001`; "" where there is none."""
    known = finite(p)
    return "" if known is None else number(known, 3) if known >= 0.001 else "< 0.001"


def untested(found: Sequence[Finding]) -> list[tuple[Check, str]]:
    """Every check that was left out with whom it concerns, each once per reason."""
    who: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Check] = {}
    for one in found:
        for check in one.untested:
            key = (check.id, check.reason)
            first.setdefault(key, check)
            who.setdefault(key, []).append(one.group.label)
    everyone = len(found)
    return [(first[key], "all" if len(who[key]) == everyone else ", ".join(who[key])) for key in first]


def unmade(found: Sequence[Finding], of_all: Sequence[LeftOut]) -> list[tuple[LeftOut, str]]:
    """Every attack that was not made, each once per reason, with whom it should have been made on."""
    who: dict[LeftOut, list[str]] = {one: [] for one in of_all}
    for one in found:
        for left in one.budget.left_out:
            who.setdefault(left, []).append(one.group.label)
    everyone = len(found)
    return [(one, ", ".join(names) if 0 < len(names) < everyone else "all") for one, names in who.items()]


def unattempted(found: Sequence[Finding]) -> list[EvidenceClass]:
    """Evidence classes for which no method has a single check."""
    judged = [one for one in found if one.group.role == "method"] or found
    return [name for i, name in enumerate(CLASSES) if not any(one.ladder[i].checks for one in judged)]
