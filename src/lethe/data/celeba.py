"""CelebA-HQ as MUCAC (arXiv 2311.02240) takes it: who is shown, which attributes, and where the pictures are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lethe.data.images import SUFFIXES
from lethe.data.schema import nearest
from lethe.errors import InputError, cause

IDENTITIES, ATTRIBUTES = "CelebA-HQ-identity.txt", "CelebA-HQ-attribute.txt"
COLUMNS = {"male": 20, "smiling": 31, "young": 39}  # places among the 40 attributes; in a line the file name is before
WIDTH = 40


@dataclass(frozen=True)
class Shot:
    """One picture: its file name, the number of who is shown, the attributes (1 = yes), and the file."""

    name: str
    identity: int
    labels: tuple[int, ...]
    path: Path


def shots(folder: Path, allow_missing: bool = False) -> tuple[list[Shot], int]:
    """All pictures of a folder in the order of its identity file, and the number of those that it lists and lacks.

    Args:
        folder: Holds the two text files, and the pictures in itself or in folders of it.
        allow_missing: Leave out what has no picture; otherwise that is refused.

    Raises:
        InputError: If a file is missing or not in the official form, or pictures are missing.
    """
    identities, labels = _identities(folder / IDENTITIES), _attributes(folder / ATTRIBUTES)
    if unknown := [name for name in identities if name not in labels]:
        raise InputError(
            f"{folder / ATTRIBUTES}: has no line for {unknown[0]!r}, which {IDENTITIES} lists; get it again."
        )
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    files = {
        path.name: path for place in reversed(places) for path in place.iterdir() if path.suffix.lower() in SUFFIXES
    }
    missing = [name for name in identities if name not in files]
    if missing and (len(missing) == len(identities) or not allow_missing):
        advice = "put the pictures there" if len(missing) == len(identities) else "or set allow_missing=true"
        raise InputError(
            f"{folder}: {len(missing):,} of the {len(identities):,} pictures of {IDENTITIES} are missing, the first is "
            f"{missing[0]}; {advice}."
        )
    found = [Shot(name, who, labels[name], files[name]) for name, who in identities.items() if name in files]
    return found, len(missing)


def _identities(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        name, _, who = line.strip().partition(" ")
        if not who.strip().isdecimal():
            raise InputError(
                f"{path}, line {number}: is {line!r:.40}; write a file name and the number of who is shown."
            )
        if name in found:
            raise InputError(
                f"{path}, line {number}: {name!r} stands in an earlier line as well; list each picture once."
            )
        found[name] = int(who)
    return found


def _attributes(path: Path) -> dict[str, tuple[int, ...]]:
    lines = _lines(path)
    count, names = lines[0].strip(), lines[1].split() if len(lines) > 1 else []
    for name, place in COLUMNS.items():
        told = [one.lower() for one in names]
        if name not in told:
            raise InputError(f"{path}, line 2: has no attribute {name!r}; {nearest(name, told)}")
        if told.index(name) != place or len(told) != WIDTH:
            raise InputError(
                f"{path}, line 2: names {name!r} as attribute {told.index(name) + 1} of {len(told)}; CelebA-HQ has it "
                f"as {place + 1} of {WIDTH}, so this is another file."
            )
    if count != str(len(lines) - 2):
        raise InputError(f"{path}: says {count!r} pictures and has {len(lines) - 2}; it is truncated, get it again.")
    found = {}
    for number, line in enumerate(lines[2:], 3):
        name, *values = line.split()
        if len(values) != WIDTH or not set(values) <= {"1", "-1"}:
            raise InputError(
                f"{path}, line {number}: holds {len(values)} values; write the file name and 40 of 1 or -1."
            )
        found[name] = tuple(int(values[place] == "1") for place in COLUMNS.values())
    return found


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({cause(error)}); MUCAC needs CelebA-HQ's own text files.") from error
    if not lines:
        raise InputError(f"{path}: is empty; get it again.")
    return lines
