"""What `lethe tune` searches: ranges of a method's options, by name, from a table or as the user gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lethe.errors import InputError
from lethe.registry import Card, Option, convert, did_you_mean

# By an option's name, in the form of --space; "" is not searched. A positive decimal that is not named here is searched
# from a tenth of its default to ten times it; whole numbers, switches and choices only where they are named.
RANGES = {
    "lr": "1e-5:1e-2:log",
    "epochs": "1:20:log",
    "retain_weight": "0.1:10:log",
    "balance": "0.5:0.99",
    "density": "0.05:1",
    "forget_epochs": "1:8",
    "epsilon": "",
    "weight_decay": "",
    "momentum": "",
    "warmup": "",
    "clip": "",
}
DIGITS = 2  # significant ones: what is written is what was run, and a third would pretend


@dataclass(frozen=True)
class Range:
    """Values between two ends, or one of several; `log` when factors count, not differences."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def text(self) -> str:
        """In the form of --space."""
        return "|".join(map(str, self.choices)) or f"{self.low:g}:{self.high:g}{':log' * self.log}"

    def nearest(self, value: Any) -> Any:
        """The value itself, or the end that it lies beyond."""
        if self.choices:
            return value if value in self.choices else self.choices[0]
        held = min(max(float(value), self.low), self.high)
        return round(held) if self.whole else held

    def rounded(self, value: Any) -> Any:
        """A drawn value as it is run and written."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def space_of(
    card: Card, fixed: Mapping[str, Any], given: Mapping[str, str], in_force: Mapping[str, Any] | None = None
) -> dict[str, Range]:
    """The ranges that are searched: those given, and the table's for what is neither given nor fixed.

    Left out is what does nothing beside the options in force (those of a preset, too): epochs where steps are counted,
    the weight of a retain term that is none.

    Raises:
        InputError: If a range names no option, an option that is fixed, or cannot be read; or nothing is left.
    """
    options = card.options()
    force = {name: option.default for name, option in options.items()} | dict(fixed if in_force is None else in_force)
    idle = {"retain_weight"} if force.get("retain") == "none" else set()
    idle |= {"epochs"} if force.get("steps") is not None else set()
    for name in given:
        if name not in options:
            raise InputError(f"--space {name}: {card.name} has no such option{did_you_mean(name, options)}.")
        if name in fixed:
            raise InputError(f"--space {name}: the option is fixed by --set; give one of the two.")
    found: dict[str, Range] = {}
    for name, option in options.items():
        text = given.get(name, "" if name in fixed or name in idle else _usual(option))
        if text:
            found[name] = parse_range(text, option)
    if not found:
        raise InputError(
            f"{card.name} has no option that is searched by itself; name one, as in --space lr=1e-5:1e-2:log."
        )
    return found


def _usual(option: Option) -> str:
    if option.name in RANGES:
        return RANGES[option.name]
    value = option.default
    positive = isinstance(value, float) and math.isfinite(value) and value > 0
    return f"{value / 10:g}:{value * 10:g}:log" if positive else ""


def parse_range(text: str, option: Option) -> Range:
    """`LOW:HIGH`, `LOW:HIGH:log` or `ONE|OTHER` for an option.

    Raises:
        InputError: If the text has another form, an end is no value of the option, or the ends are the wrong way round.
    """
    where = f"--space {option.name}={text}"
    if "|" in text:
        return Range(choices=tuple(convert(part.strip(), option.type, where) for part in text.split("|")))
    low, colon, rest = text.partition(":")
    high, _, scale = rest.partition(":")
    if not colon or scale not in ("", "log"):
        raise InputError(f"{where}: write LOW:HIGH, LOW:HIGH:log or ONE|OTHER.")
    ends = [convert(end, option.type, where) for end in (low, high)]
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends) or ends[0] >= ends[1]:
        raise InputError(f"{where}: give two numbers, the smaller first.")
    if scale and ends[0] <= 0:
        raise InputError(f"{where}: on a log scale both ends must be above 0.")
    return Range(ends[0], ends[1], bool(scale), isinstance(ends[0], int))
