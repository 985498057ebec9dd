"""One benchmark as a table for the terminal: the verdict first, and as much as 80 columns hold."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.auditing.robustness import MERGING
from lethe.report import blind, trust
from lethe.report.attacks import Curve, curves, worst
from lethe.report.headlines import bound, headline, reach, shown
from lethe.report.intake import Asked
from lethe.report.numbers import DASH, number, printable, share
from lethe.report.reach import reached
from lethe.report.tables import Column, Group, column, groups, names
from lethe.report.verdicts import finding, findings, untested
from lethe.report.view import looked
from lethe.runs.headlines import Headlines
from lethe.runs.results import BenchmarkResult
from lethe.runs.tune import Tuned, trial_rows

STYLE = {
    "removal": "bold blue",
    "consistent with removal": "blue",
    "suppression": "yellow",
    "collapse": "red",
    "not forgotten": "red",
    "failed": "red",
}
MANY = 12  # checks that are named by their number alone, and not by their title
OUTCOME = {"holds": "blue", "does not hold": "red", "not shown": "yellow", "measured": "dim", "failed": "red"}
ROLE = {"target": "bold", "control": "bold green", "floor": "dim", "method": "bold"}


def terminal_table(benchmark: BenchmarkResult) -> Table:
    """Verdict, distance to the control on forget and retain, knowledge, utility and worst recovery of every model.

    Two lines a model, within 80 columns. The caption names every check that was not made.
    """
    lines = groups(benchmark)
    attacks = curves(lines)
    wanted = [*names(benchmark)[:2], benchmark.knowledge, benchmark.utility]
    shown = [column(benchmark, lines, name) for name in dict.fromkeys(filter(None, wanted))]
    title = ", ".join(filter(None, (benchmark.name, benchmark.split)))
    table = Table(
        title=Text(f"{title} ({benchmark.family})", "bold"), title_justify="left", box=SIMPLE_HEAD,
        caption=_caption(benchmark, lines, shown), caption_justify="left", padding=0,
    )  # fmt: skip
    table.add_column(Text("model\nverdict"), overflow="fold")
    for one in shown:
        table.add_column(_head(one), justify="right", overflow="fold")
    if attacks:
        table.add_column(Text("recovered\nat worst"), justify="right", overflow="fold")
    for place, line in enumerate(lines):
        ends = place + 1 == len(lines) or lines[place + 1].role != line.role
        cells = [_cell(one, place) for one in shown]
        recovered = [_worst([curve for curve in attacks if curve.label == line.label], line)] if attacks else []
        table.add_row(_verdict(line), *cells, *recovered, end_section=ends)
    return table


def attackers_table(benchmark: BenchmarkResult, asked: Asked | None = None) -> Table:
    """What each attacker gets back from each audited method at worst, with the lines that failed or nobody tested.

    Args:
        benchmark: The audited models.
        asked: The intake, which names the attacker to withstand.
    """
    lines = [line for line in groups(benchmark) if line.role == "method"]
    told = f"Attacker to withstand: {asked.told}{'' if asked.is_stated else ' (not stated)'}." if asked else ""
    title = "What an attacker gets back"
    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, padding=0,
                  caption=Text(told, "dim"), caption_justify="left")  # fmt: skip
    for name in ("attacker", "gets back", "tried", "failed", "not tested"):
        table.add_column(name, overflow="fold")
    for one in reached(findings(lines), curves(lines)):
        for place, access in enumerate(one.accesses):
            name = Text(access.threat, "bold" if asked and asked.threat == access.threat else "")
            if len(lines) > 1 and place == 0:
                name = Text.assemble((f"{printable(one.finding.group.label)}\n", ROLE["method"]), name)
            by = (f"\n{printable(access.by)}", "dim") if access.by else ""
            failed = Text(", ".join(check.id for check in access.failed) or DASH, "red" if access.failed else "dim")
            table.add_row(name, Text.assemble(access.back, by), access.tried, failed, ", ".join(access.not_tested))
        table.add_section()
    return table


def headlines_table(found: Headlines) -> Table:
    """Every claim with its outcome and the figures that it expects something of."""
    table = Table(title=Text(headline(found), "bold"), title_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in ("claim", "figure", "mean, 95 % interval", "expected", "outcome"):
        table.add_column(name, overflow="fold")
    for one in found.findings:
        told = Text(printable(one.name), "bold")
        outcome = Text(one.outcome, OUTCOME[one.outcome])
        failures = [Text(f"seed {seed}: {printable(why)}", "red") for seed, why in one.failures.items()]
        figures = [figure for figure in one.figures if figure.expected] or list(one.figures)
        for place, figure in enumerate(figures):
            cells = (figure.name, f"{shown(figure.mean)} {reach(figure)}", bound(figure))
            table.add_row(told if place == 0 else "", *map(printable, cells), outcome if place == 0 else figure.outcome)
        for place, why in enumerate(failures):
            table.add_row(told if not figures and place == 0 else "", why, "", "", "" if figures else outcome)
        table.add_section()
    return table


def trials_table(found: Tuned) -> Table:
    """The best trials of a search, those that the rule admits first, below the untouched target."""
    where = f"{found.method} on {found.benchmark}, {found.split}: {len(found.trials)} trials"
    table = Table(
        title=Text(where, "bold"), title_justify="left", box=SIMPLE_HEAD, caption=Text(found.rule, "dim"),
        caption_justify="left", padding=0,
    )  # fmt: skip
    for name in ("trial", "KL forget", "KL retain", "utility", "left", "options"):
        table.add_column(name, overflow="fold", justify="left" if name in ("trial", "options") else "right")
    table.add_row(
        "target",
        *(number(found.target[name]) for name in ("forget", "retain", "utility", "left")),
        "",
        end_section=True,
    )
    for one in trial_rows(found):
        told = one.failure or ", ".join(f"{name}={value}" for name, value in one.options.items())
        style = "bold" if one.number == found.best else "" if one.admitted else "dim"
        values = (number(value) for value in (one.forget, one.retain, one.utility, one.left))
        table.add_row(f"{one.number}{'' if one.admitted else ' (no)'}", *values, printable(told), style=style)
    return table


def _head(one: Column) -> Text:
    return Text.assemble(f"{one.metric.replace('_', ' ').strip()}\n", (f"{one.set} {one.arrow}".strip(), "dim"))


def _verdict(line: Group) -> Text:
    seeds = f" ×{len(line.rows)}" if len(line.rows) > 1 else ""
    name = Text.assemble((printable(line.label), ROLE[line.role]), (seeds, "dim"))
    if line.role != "method" and not any(row.verdict for row in line.rows):
        told = {"target": "untouched", "control": "never saw it"}.get(line.role, line.role)
        return name.append(f"\n{told}", "dim")
    one = finding(line)
    name.append(f"\n{one.reached}", STYLE.get(one.reached, "dim"))
    return name.append(f" {one.highest}" if one.highest else "", "dim")


def _cell(one: Column, place: int) -> Text:
    cell = one.cells[place]
    if cell.value is None:
        return Text(DASH, "dim")
    decimals = sum(abs(cell.value) < bound for bound in (10, 100))
    near = "≈" if cell.band == "near" else ""
    return Text.assemble(f"{near}{cell.text(decimals)}\n", (cell.spread(decimals).replace(" ", ""), "dim"))


def _worst(attacks: list[Curve], line: Group) -> Text:
    """The most that an attack brought back of those that can decide: merging puts the original's own weights back."""
    deciding = [curve for curve in attacks if curve.attack not in MERGING]
    if (found := worst(deciding)) is None:
        return Text(("undefined" if deciding else "not tested") if line.role == "method" else "", "dim")
    return Text.assemble(share(found.adjusted), (f"\n{found.attack}", "dim"))


def _caption(benchmark: BenchmarkResult, lines: list[Group], shown: list[Column]) -> Text:
    found = [finding(line) for line in lines if line.role == "method" and any(row.verdict for row in line.rows)]
    left_out = untested(found)
    named = [f"{check.id} {check.title} ({who})" for check, who in left_out]
    if len(named) > MANY:
        named = [check.id if who == "all" else f"{check.id} ({who})" for check, who in left_out]
    told = f"Not tested: {('; ' if len(named) <= MANY else ', ').join(named)}." if named else ""
    legend = "≈ as near to the control as one more control could stand; [95 % interval over items]; ± sd over seeds."
    trusted = "; ".join(f"{one.metric.replace('_', ' ')} on {one.set} {one.trust}" for one in shown)
    parts = [
        Text(part, "dim") for part in (told, legend, trust.legend(), f"{trusted}.", looked(benchmark.passes)) if part
    ]
    if (split := benchmark.blind) is not None:
        parts.insert(0, Text(blind.told(split), "yellow" if split.verdict == "confounded" else "dim"))
    return Text("\n").join(parts)
