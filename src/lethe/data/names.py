"""Names in a text, by their capital letters, and the nearest of them to one that does not occur."""

from __future__ import annotations

import difflib
import re

NAME = re.compile(r"(?<![\w-])[A-Z][\w-]*(?: +[A-Z][\w-]*)*")
SHOWN = 5  # names that a message lists where none is near


def names_in(text: str) -> list[str]:
    """Runs of capitalised words, and the runs without their first word (which may only begin a sentence)."""
    found = NAME.findall(text)
    return list(dict.fromkeys([*found, *(name.partition(" ")[2] for name in found if " " in name)]))


def nearest_name(wanted: str, text: str) -> str:
    """How a message goes on that a name does not occur: `, did you mean 'x'?`, or the names that do, nearest first.

    Case does not count, and a word without a capital may be meant as well.
    """
    names = {name.casefold(): name for name in names_in(text)}
    words = {word.casefold(): word for word in re.findall(r"\w+", text) if len(word) > 2}
    wanted = wanted.casefold()
    if near := difflib.get_close_matches(wanted, known := words | names, n=1, cutoff=0.5):
        return f", did you mean {known[near[0]]!r}?"
    if not names:
        return ", in which no word has a capital letter; write it as the text does."
    listed = ", ".join(repr(names[name]) for name in difflib.get_close_matches(wanted, names, n=SHOWN, cutoff=0.0))
    more = " and others" if len(names) > SHOWN else ""
    return f"; write it as the text does, where the nearest names are {listed}{more}."
