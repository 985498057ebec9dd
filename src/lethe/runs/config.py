"""Options from a YAML file and from the command line, checked by the same rules."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lethe.errors import InputError, cause
from lethe.registry import convert, did_you_mean

EXAMPLES = {"--set": "beta=0.1", "--space": "lr=1e-5:1e-2:log"}


def read_config(path: str | Path, known: Iterable[str]) -> dict[str, Any]:
    """A YAML mapping with known keys only; dashes and underscores are the same.

    Raises:
        InputError: If the file is missing, not UTF-8, no YAML mapping, or has an unknown key (with the nearest one).
    """
    import yaml

    known = list(known)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({cause(error)}); check the path.") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold a mapping of options to values, not a {type(data).__name__}.")
    options = {str(key).replace("-", "_"): value for key, value in data.items()}
    for key in options:
        if key not in known:
            raise InputError(f"{path}: unknown key {key!r}{did_you_mean(key, known)}; known are {', '.join(known)}.")
    return options


def converted(file: Mapping[str, Any], command: Callable[..., Any], where: str) -> dict[str, Any]:
    """The values of a file as the command's parameters annotate them; an empty value is as good as none.

    Raises:
        InputError: If a value is of another type; names the file and the key.
    """
    hints = typing.get_type_hints(command)
    return {key: _converted(value, hints[key], f"{where}: {key!r}") for key, value in file.items() if value is not None}


def _converted(value: Any, hint: Any, where: str) -> Any:
    kind = next((kind for kind in typing.get_args(hint) if kind is not type(None)), hint)  # X of `X | None`
    if kind is Path:
        return Path(convert(value, str, where))
    if typing.get_origin(kind) is list and isinstance(value, str):
        value = [value]  # one call: its commas are those of its options
    return convert(value, kind, where)


def parse_settings(pairs: Iterable[str], flag: str = "--set") -> dict[str, str]:
    """`KEY=VALUE` pairs of the command line.

    Raises:
        InputError: If a pair has no equals sign, or a key comes twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{flag} {pair}: write KEY=VALUE, as in {flag} {EXAMPLES[flag]}.")
        if key.strip() in settings:
            raise InputError(f"{flag} gives {key.strip()!r} twice; give it once.")
        settings[key.strip()] = value.strip()
    return settings


def merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The command line wins over the file; what neither gives is left out."""
    return {**file, **{key: value for key, value in given.items() if value not in (None, (), [], {})}}


def calls(text: str) -> list[str]:
    """`npo:lr=1e-4,beta=0.2,rmu` as two calls: a part that is an option belongs to the call before it."""
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if found and "=" in part and ":" not in part.partition("=")[0]:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found
