"""Numbers and text as a reader meets them: one precision per column, nothing invented where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

DASH = "–"
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"  # they reorder the text around them
_VISIBLE = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)}
_VISIBLE |= {0x7F: "\u2421"} | {ord(mark): "\ufffd" for mark in _BIDI} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_VISIBLE |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # lone surrogates, which no UTF-8 file can hold


def finite(value: float | None) -> float | None:
    """The value, or None where there is no number to print: None, NaN and the infinities (null in `results.json`)."""
    return None if value is None or not math.isfinite(value) else float(value)


def places(values: Iterable[float | None], anchor: float | None = None, *, most: int = 3) -> int:
    """Decimals for a column, at most `most`: three significant digits of its largest value, two of the `anchor`."""
    largest = max((abs(value) for value in map(finite, values) if value is not None), default=0.0)
    coarse = most if largest < 2 else 2 - math.floor(math.log10(largest / 2))
    known = abs(finite(anchor) or 0.0)
    fine = 1 - math.floor(math.log10(known)) if known else 0
    return max(0, min(most, max(coarse, fine)))


def number(value: float | None, decimals: int = 3) -> str:
    """A number with that many decimals, in powers of ten where those would make it 0; a dash for no number."""
    known = finite(value)
    if known is None:
        return DASH
    text = f"{known:,.{decimals}f}"
    if known != 0 and not text.strip("-0.,"):
        text = f"{known:.1e}".replace("e-0", "e-")
    elif not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def interval(low: float | None, high: float | None, decimals: int = 3) -> str:
    """`[low, high]`, or nothing where either end is missing."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def share(value: float | None) -> str:
    """A share with two decimals, never in powers of ten: what is below a hundredth is 0.00."""
    known = finite(value)
    return DASH if known is None else number(round(known, 2), 2)


def count(value: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def joined(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *rest, last = list(words) or [""]
    return f"{', '.join(rest)} and {last}" if rest else last


def printable(text: str) -> str:
    """Text that cannot disturb what stands around it: control and direction marks are shown, not obeyed."""
    return text.translate(_VISIBLE)
