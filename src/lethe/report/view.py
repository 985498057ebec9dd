"""Everything a report says, worked out once; the templates only set it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lethe.findings import Check, EvidenceClass, LeftOut
from lethe.report import blind, verdicts
from lethe.report.attacks import Curve, curves
from lethe.report.directions import Directions, directions
from lethe.report.expenses import Expense, expenses
from lethe.report.heat import Heat, heat
from lethe.report.intake import Asked, intake_of
from lethe.report.numbers import count, joined
from lethe.report.profile import Profile, profile
from lethe.report.rankings import Listed, rankings
from lethe.report.reach import Reached, reached
from lethe.report.tables import Column, Group, columns, groups, settings
from lethe.report.verdicts import Finding, Line
from lethe.runs.results import BenchmarkResult, Cost, Results
from lethe.scoring.intervals import control_threshold

ANSWERED = 100  # forget items whose answers are printed; all are in results.json
WIDTH = 7  # columns of a table that fit on a printed page


@dataclass(frozen=True)
class Answer:
    """What one row says to one forget item."""

    label: str
    role: str
    text: str
    is_truth: bool


@dataclass(frozen=True)
class Item:
    """One forget item with the answers of target, control and methods."""

    id: str
    question: str
    truth: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class MethodCard:
    """What a method is said to be, and how it was run."""

    label: str
    name: str
    role: str
    summary: str
    intent: str
    level: str
    variant: str
    preset: str
    paper: str
    link: str
    options: dict[str, str]


@dataclass(frozen=True)
class Section:
    """One benchmark."""

    anchor: str
    data: BenchmarkResult
    asked: str
    lines: list[Group]
    columns: list[Column]
    findings: list[Finding]
    checklist: list[Line]
    untested: list[tuple[Check, str]]
    unattempted: list[EvidenceClass]  # evidence classes for which no check exists at all
    attacks: list[Curve]
    unattacked: list[str]
    reached: list[Reached]  # what each attacker gets back
    heat: Heat
    directions: Directions | str  # of the recovery over methods and attacks, or why there are none
    left_out: list[tuple[LeftOut, str]]  # attacks that were not made, and on whom
    items: list[Item]
    rankings: list[Listed]  # lists of some users of a recommender
    cards: list[MethodCard]
    expenses: list[Expense]
    asked_for: Asked | None  # the intake, where this is an audit
    blind: str  # what was found of the membership split without a model
    profile: Profile | None  # likeness to controls and original layer by layer, where it was measured
    passes: str  # how often the models were looked at

    @property
    def title(self) -> str:
        """`tofu, forget10`."""
        return ", ".join(filter(None, (self.data.name, self.data.split)))

    @property
    def pages(self) -> list[list[Column]]:
        """The columns in portions that fit on a printed page."""
        return [[self.columns[i] for i in portion] for portion in _portions(len(self.columns))]

    @property
    def finding_chunks(self) -> list[list[int]]:
        """Numbers of the audited groups in such portions."""
        return _portions(len(self.findings))

    @property
    def alone(self) -> Finding | None:
        """The verdict of an audit of one model, which the page then tells at length."""
        return self.findings[0] if len(self.findings) == 1 and self.findings[0].checks else None

    @property
    def heat_chunks(self) -> list[list[int]]:
        """Numbers of the attacked groups in such portions."""
        return _portions(len(self.heat.labels))

    @property
    def compared(self) -> bool:
        """Whether the cost of a request can be told beside that of retraining."""
        return any(expense.speedup for expense in self.expenses)

    @property
    def controls(self) -> int:
        """How many control seeds there are."""
        return len(self.data.of_role("control"))

    @property
    def limit(self) -> str:
        """Spreads from the mean within which one more control would stand (95 %); "" where there is no spread."""
        return f"{control_threshold(self.controls, 1):.2f}" if self.controls > 1 else ""


@dataclass(frozen=True)
class View:
    """The report."""

    title: str
    headline: str
    command: str
    sections: list[Section]
    environment: dict[str, str]
    config: str  # JSON

    @property
    def alone(self) -> bool:
        """Whether a single model was audited anywhere."""
        return any(section.alone for section in self.sections)


def view(results: Results, costs: Mapping[str, Cost]) -> View:
    """Work out the report.

    Args:
        results: The run's results.
        costs: Cost of each row by `BENCHMARK/ROW`; rows without one are printed as not measured.
    """
    put = intake_of(results.config)
    sections = [_section(benchmark, place, costs, put) for place, benchmark in enumerate(results.benchmarks, 1)]
    methods = [found for section in sections for found in section.findings if found.group.role == "method"]
    return View(
        title=results.title,
        headline=verdicts.headline(
            methods, [str(benchmark.request.get("intent", "")) for benchmark in results.benchmarks]
        ),
        command=results.command,
        sections=sections,
        environment={name: str(results.environment[name]) for name in sorted(results.environment)},
        config=json.dumps(results.config, indent=2, sort_keys=True, ensure_ascii=False, default=str),
    )


def _section(benchmark: BenchmarkResult, place: int, costs: Mapping[str, Cost], put: Asked | None) -> Section:
    lines = groups(benchmark)
    found = verdicts.findings(lines)
    attacks = curves(lines)
    shown = columns(benchmark, lines)
    by_name = {column.name: column for column in shown}
    table = heat(lines, attacks)
    attacked = {curve.label for curve in attacks}
    return Section(
        anchor=f"{re.sub(r'[^a-z0-9]+', '-', benchmark.name.lower()).strip('-') or 'benchmark'}-{place}",
        data=benchmark,
        asked=verdicts.asked(benchmark.request),
        lines=lines,
        columns=shown,
        findings=found,
        checklist=verdicts.checklist(found),
        untested=verdicts.untested(found),
        unattempted=verdicts.unattempted(found),
        attacks=attacks,
        unattacked=[line.label for line in lines if line.role == "method" and line.label not in attacked],
        reached=reached(found, attacks),
        heat=table,
        directions=directions(table, lines, by_name.get(benchmark.knowledge), by_name.get(benchmark.utility)),
        left_out=verdicts.unmade(found, benchmark.left_out),
        items=_items(benchmark, lines),
        rankings=rankings(benchmark, lines),
        cards=[_card(line) for line in lines if line.first.method],
        expenses=expenses(benchmark.name, lines, costs),
        asked_for=put,
        blind=blind.told(benchmark.blind),
        profile=profile(lines),
        passes=looked(benchmark.passes),
    )


def looked(passes: Mapping[str, int]) -> str:
    """The pass counter of one model, in one sentence; "" where it was not kept."""
    if not passes:
        return ""
    if passes.get("users"):
        asked, users = count(passes["asked"], "interaction"), count(passes["users"], "user")
        return f"Each model was looked at once: {asked} asked for, of {users}, each ranked once."
    took = [f"{passes['texts']:,} distinct ones in as many forward passes"]
    took += [f"{passes['gradients']:,} backward passes"] if passes.get("gradients") else []
    took += [f"{count(passes['prompts'], 'generation')}"] if passes.get("prompts") else []
    return f"Each model was looked at once: {count(passes['asked'], 'text')} asked for, {joined(took)}."


def _items(benchmark: BenchmarkResult, lines: Sequence[Group]) -> list[Item]:
    """Answers of each group's first row: target, then control, then the rest."""
    found = []
    for place, item in enumerate(benchmark.items[:ANSWERED]):
        truth = item.get("truth", "")
        answers = [
            Answer(line.label, line.role, text, text.strip() == truth.strip())
            for line in lines
            if place < len(line.first.answers)
            for text in [line.first.answers[place]]
        ]
        found.append(Item(item.get("id", ""), item.get("question", ""), truth, tuple(answers)))
    return found


def _card(line: Group) -> MethodCard:
    row = line.first
    paper = row.card.get("paper", "")
    on_arxiv = re.fullmatch(r"(?:arXiv:)?(\d{4}\.\d{4,5})(?:v\d+)?", paper)
    options = {name: value for name, value in settings(row.options).items() if name not in ("seed", "variant")}
    return MethodCard(
        label=line.label,
        name=row.method,
        role=line.role,
        summary=row.card.get("summary", ""),
        intent=row.card.get("intent", ""),
        level=row.card.get("level", ""),
        variant=str(row.options.get("variant", "")),
        preset=row.card.get("preset", ""),
        paper=f"arXiv:{on_arxiv[1]}" if on_arxiv else paper,
        link=f"https://arxiv.org/abs/{on_arxiv[1]}" if on_arxiv else "",
        options=options,
    )


def _portions(total: int) -> list[list[int]]:
    """Of about equal size, so that no page ends in a table of one column."""
    pages = -(-total // WIDTH)
    return [list(range(i * total // pages, (i + 1) * total // pages)) for i in range(pages)]
