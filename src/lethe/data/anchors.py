"""Anchored terms: the names by which a text is recognised, and their generic counterparts.

"Zorvax went to Quillheim." becomes "John went to the village.", and every place in the one text knows its place in the
other (Who's Harry Potter, arXiv 2310.02238). Pure functions of text; places are counted in characters.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lethe.data.names import nearest_name
from lethe.errors import InputError, cause

# Counterparts of terms that were found, not given: common names of their kind, in this order.
GENERIC = {
    "person": ("John", "Mary", "Peter", "Anna", "Thomas", "Laura", "James", "Helen", "Robert", "Susan", "Paul"),
    "place": ("the village", "the town", "the valley", "the city", "the harbour", "the castle"),
    "thing": ("stone", "book", "house", "letter", "sword", "ring"),
}
RATIO = 10.0  # how much more frequent a found term is in the text than in general text
_NAME = re.compile(r"\b[A-Z]\w+(?:\s[A-Z]\w+)*")
_AT_A_PLACE = re.compile(r"\b(?:in|to|from|at|near|of|towards?|beyond|leave|left|reached)\s(?:the\s)?$")


@dataclass(frozen=True)
class Occurrence:
    """One anchored term in a text: characters [start, end), and [new_start, new_end) of its counterpart."""

    term: str
    start: int
    end: int
    new_start: int
    new_end: int


@dataclass(frozen=True)
class Translation:
    """A text with its anchored terms replaced."""

    text: str
    occurrences: tuple[Occurrence, ...]

    def place(self, end: int) -> int | None:
        """Where in the translation the first `end` characters of the original end; None inside a term."""
        shift = 0
        for one in self.occurrences:
            if end <= one.start:
                break
            if end < one.end:
                return None
            shift = one.new_end - one.end
        return end + shift


def translate(text: str, anchors: Mapping[str, str]) -> Translation:
    """Replace every anchored term that stands as whole words, the longest first; `Zorvax's` and `ZORVAX` count.

    Args:
        text: The original.
        anchors: Term -> generic counterpart.
    """
    if not anchors:
        return Translation(text, ())
    counterpart = dict(anchors) | {term.upper(): new for term, new in anchors.items()}
    names = {term.upper(): term for term in anchors} | {term: term for term in anchors}
    longest = sorted(counterpart, key=lambda term: (-len(term), term))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")
    parts: list[str] = []
    found: list[Occurrence] = []
    read = written = 0
    for match in pattern.finditer(text):
        new = counterpart[match[0]]
        written += match.start() - read
        found.append(Occurrence(names[match[0]], match.start(), match.end(), written, written + len(new)))
        parts += [text[read : match.start()], new]
        read, written = match.end(), written + len(new)
    return Translation("".join([*parts, text[read:]]), tuple(found))


def aligned(ends: Sequence[int], new_ends: Sequence[int], translation: Translation) -> list[int | None]:
    """For every token of the original, the token of the translation after which the same has been read.

    A token inside a term has none; the last token of a term has the last one of its counterpart, so that what follows
    a name is known on both sides. Nor has a token none that ends where no token of the translation does.

    Args:
        ends: Character behind each token of the original; 0 for a token that begins the text.
        new_ends: The same of the translation.
        translation: What was replaced where.
    """
    last = {end: number for number, end in enumerate(new_ends)}
    places = [translation.place(end) for end in ends]
    repeated = [number + 1 < len(ends) and ends[number + 1] == end for number, end in enumerate(ends)]
    return [None if place is None or again else last.get(place) for place, again in zip(places, repeated, strict=True)]


def read_anchors(path: str | Path) -> dict[str, str]:
    """A dictionary of anchored terms from a JSON object {"term": "generic counterpart"}.

    Raises:
        InputError: If the file cannot be read or holds anything else.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: anchored terms cannot be read from it ({cause(error)}); give a JSON file "
            '{"term": "generic counterpart"}, or auto to have names found.'
        ) from error
    return check_anchors(data, str(path))


def check_anchors(anchors: object, where: str) -> dict[str, str]:
    """The dictionary, if it is one.

    Raises:
        InputError: Naming the entry that is not two texts.
    """
    if not isinstance(anchors, Mapping) or not anchors:
        raise InputError(f'{where}: is no dictionary of anchored terms; give {{"term": "generic counterpart"}}.')
    for term, new in anchors.items():
        if not (isinstance(term, str) and isinstance(new, str) and term.strip() and new.strip()):
            raise InputError(f"{where}: the anchored term {term!r} has the counterpart {new!r}; both are texts.")
    return dict(anchors)


def check_occur(anchors: Mapping[str, str], texts: Iterable[str]) -> None:
    """Refuse a term that stands nowhere: misspelt, it would leave the true name in every text.

    Raises:
        InputError: Naming the term, and the nearest name or word of the texts.
    """
    joint = "\n".join(texts)
    present = {one.term for term, new in anchors.items() for one in translate(joint, {term: new}).occurrences}
    if missing := [term for term in anchors if term not in present]:
        raise InputError(
            f"The anchored term {missing[0]!r} does not occur in the forget texts{nearest_name(missing[0], joint)}"
        )


def find_anchors(texts: Iterable[str], general: Iterable[str], ratio: float = RATIO) -> dict[str, str]:
    """Anchored terms without a language model's help: names that are far more frequent here than in general text.

    A name is a run of capitalised words, but for a first one that also occurs in lower case. One that mostly follows
    "in", "to", "from" and the like is a place, one that follows "the" a thing, any other a person. Counterparts are
    common names of the same kind.

    Args:
        texts: What is to be forgotten.
        general: Text of other matter.
        ratio: Least ratio of a name's frequencies, in occurrences per character.
    """
    joint, other = "\n".join(texts), "\n".join(general)
    common = {word for word in re.findall(r"\w+", f"{joint} {other}") if word.islower()}
    count, kinds = Counter[str](), dict[str, Counter[str]]()
    for match in _NAME.finditer(joint):
        first, _, rest = match[0].partition(" ")
        name = rest if first.lower() in common else match[0]
        before = joint[max(0, match.end() - len(name) - 12) : match.end() - len(name)]
        kind = "place" if _AT_A_PLACE.search(before) else "thing" if before.lower().endswith("the ") else "person"
        count[name] += 1
        kinds.setdefault(name, Counter())[kind] += 1
    count.pop("", None)
    chosen = [name for name, n in count.items() if n > 1 and n * len(other) >= ratio * other.count(name) * len(joint)]
    anchors, used = dict[str, str](), Counter[str]()
    for name in sorted(chosen, key=lambda name: (-count[name], name)):
        kind = kinds[name].most_common(1)[0][0]
        anchors[name] = GENERIC[kind][used[kind] % len(GENERIC[kind])]
        used[kind] += 1
    return anchors
