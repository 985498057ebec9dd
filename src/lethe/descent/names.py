"""Tensors and modules by their names: what an expression finds, and the nearest name where it finds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn

from lethe.errors import InputError
from lethe.registry import did_you_mean


def searched(named: Mapping[str, nn.Parameter], match: str, who: str, what: str) -> dict[str, nn.Parameter]:
    """The tensors in whose name a regular expression is found.

    Raises:
        InputError: If the expression is none, or nothing matches (with the nearest part of a name that exists).
    """
    try:
        chosen = {name: tensor for name, tensor in named.items() if re.search(match, name)}
    except re.error as error:
        raise InputError(f"{who}: {match!r} is no regular expression ({error}).") from error
    if not chosen:
        known = nearest(match, named) or f"; there are {', '.join(list(named)[:5])}{', ...' * (len(named) > 5)}"
        raise InputError(f"{who}: no {what} matches {match!r}{known}")
    return chosen


def nearest(wanted: str, names: Iterable[str]) -> str:
    """`, did you mean 'x'?` or nothing; x is a part of one of the names, with as many dots as `wanted`."""
    wanted = wanted.replace("\\", "")  # an expression escapes its dots
    count = wanted.count(".") + 1
    split = [name.split(".") for name in names]
    return did_you_mean(wanted, {".".join(p[i : i + count]) for p in split for i in range(len(p) - count + 1)})
