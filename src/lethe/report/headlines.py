"""The page of the claims: what each expects, what was measured over seeds, and whether it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from lethe.report.numbers import count, interval, number
from lethe.report.pages import write_pages
from lethe.runs.headlines import Figure, Headlines, Outcome

SIGNS = {">=": "≥", "<=": "≤"}
READING = (
    "Each claim of a paper is measured on a small world made on the spot, under several seeds. A figure is given as "
    "its mean over the seeds with the 95 % t-interval of that mean. A claim *holds* where the whole interval of every "
    "figure that it expects something of is on the expected side; it *does not hold* where one such interval lies "
    "wholly on the other side; everything between is *not shown* by so many seeds. A claim that *failed* could not be "
    "measured under some seed, and says why. What is *measured* is a figure of which nothing is expected. "
    "A miniature can show that a mechanism works as it is told; it says nothing of its size on large models."
)


def write_headlines(found: Headlines, folder: str | Path) -> Path:
    """Write `headlines.html` and `headlines.md`; the same findings give the same bytes.

    Returns:
        The path of `headlines.html`.

    Raises:
        InputError: If the folder cannot be written to.
    """
    told = {
        "found": found, "headline": headline(found), "reading": READING, "signs": SIGNS, "shown": shown,
        "reach": reach, "bound": bound,
    }  # fmt: skip
    return write_pages("headlines", told, folder)


def headline(found: Headlines) -> str:
    """All claims in one sentence: `8 claims over 3 seeds: 6 hold, 1 does not, 1 is not shown`."""
    tally = Counter(one.outcome for one in found.findings)
    parts = [f"{tally[word]} {_said(word, tally)}" for word in get_args(Outcome) if tally[word]]
    return f"{count(len(found.findings), 'claim')} over {count(found.seeds, 'seed')}: {', '.join(parts) or 'none'}."


def _said(word: Outcome, tally: Mapping[str, int]) -> str:
    """An outcome as the verb of as many claims; after those that hold, the others do not."""
    one = tally[word] == 1
    if word == "does not hold":
        return f"{'does' if one else 'do'} not{'' if tally['holds'] else ' hold'}"
    said = {"holds": ("holds", "hold"), "failed": ("failed", "failed")}
    return said.get(word, (f"is {word}", f"are {word}"))[0 if one else 1]


def shown(value: float | None) -> str:
    """A figure with three significant digits, whatever its unit."""
    if value is None or value == 0 or 1e-3 <= abs(value) < 1e6:
        return number(value, 3 if value is None or abs(value) < 10 else 1)
    return f"{value:.2e}".replace("-", "−")


def reach(figure: Figure) -> str:
    """The interval, or why there is none."""
    if figure.low is None or figure.high is None:
        return "one seed" if figure.n == 1 else "–"
    if 1e-3 <= max(abs(figure.low), abs(figure.high)) < 1e6:
        return interval(figure.low, figure.high, 3 if abs(figure.mean or 0) < 10 else 1)
    return f"[{shown(figure.low)}, {shown(figure.high)}]"


def bound(figure: Figure) -> str:
    """What is expected: `≥ 10`."""
    return f"{SIGNS[figure.expected[0]]} {figure.expected[1]:g}" if figure.expected else ""
