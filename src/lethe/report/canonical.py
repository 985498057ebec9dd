"""JSON with one spelling per content, byte for byte as RFC 8785 (JSON Canonicalization Scheme) has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

EXACT = 2**53  # beyond it not every integer is a double, and readers disagree on what they read


def canonical(value: Any) -> bytes:
    """The UTF-8 bytes of a JSON value: sorted keys, no white space, the shortest digits that give the number back.

    Raises:
        ValueError: On NaN or infinity, an integer beyond 2^53, a lone surrogate, or a type that JSON does not have;
            names where.
    """
    return _text(value, "$").encode()


def parse(data: bytes) -> Any:
    """Read JSON strictly, numbers as doubles: what two readers could read differently is refused.

    Raises:
        ValueError: If the bytes are no UTF-8 or no JSON, or hold a repeated key, NaN or infinity.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_int=_integer, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} comes twice")
        found[key] = value
    return found


def _integer(digits: str) -> int | float:
    """A double where only a double is meant: those from 2^53 on are written without a point as well."""
    near = float(digits)
    return int(digits) if abs(near) <= EXACT else near


def _refused(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is no JSON")


def _text(value: Any, where: str) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _string(value, where)
    if isinstance(value, int):
        if abs(value) > EXACT:
            raise ValueError(f"{where} is {value}, beyond 2^53, where readers round; write it as a text")
        return str(value)
    if isinstance(value, float):
        return _number(value, where)
    if isinstance(value, Mapping):
        inner = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_string(key, where)}:{_text(one, f'{where}.{key}')}" for key, one in inner) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(_text(one, f"{where}[{place}]") for place, one in enumerate(value)) + "]"
    raise ValueError(f"{where} is a {type(value).__name__}, which JSON does not have")


def _string(text: str, where: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{where} holds a lone surrogate, which UTF-8 does not have")
    return json.dumps(text, ensure_ascii=False)


def _number(value: float, where: str) -> str:
    """As ECMAScript writes it: 1 for 1.0, 1e-7 for 1e-07, 100000000000000000000 for 1e20."""
    if not isfinite(value):
        raise ValueError(f"{where} is {value}, which JSON does not have")
    if value == 0:
        return "0"  # minus zero too
    _, places, exponent = Decimal(repr(abs(value))).as_tuple()
    assert isinstance(exponent, int)  # the value is finite
    point = len(places) + exponent  # where the decimal point stands, counted from the first digit
    digits = "".join(map(str, places)).rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{digits.rjust(len(digits) - point, '0')}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
