"""A hash of what a record says, whatever object holds it."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError

_AS_TEXT = (Path, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)


def digest(value: Any) -> str:
    """SHA-256 of a nested value, as 64 hexadecimal digits.

    Independent of the order of a mapping's keys and of an array's memory layout; lists and tuples count alike, and so
    do numpy and Python scalars. Arrays and tensors enter with type, shape and bytes.

    Raises:
        InputError: If the value holds an object without a canonical content, or is nested too deeply.
    """
    hasher = hashlib.sha256()
    try:
        _feed(hasher, value)
    except RecursionError:
        raise InputError("A record is nested too deeply to be hashed; flatten it.") from None
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    """Feed a tag, a length where one is needed, and the content: no two different values give the same bytes."""
    if value is None:
        hasher.update(b"n")
    elif isinstance(value, bool):
        hasher.update(b"b1" if value else b"b0")
    elif isinstance(value, int):
        _feed_bytes(hasher, b"i", hex(value).encode())
    elif isinstance(value, float):
        hasher.update(b"f" + struct.pack("<d", value))
    elif isinstance(value, str):
        _feed_bytes(hasher, b"s", value.encode(errors="surrogatepass"))
    elif isinstance(value, bytes):
        _feed_bytes(hasher, b"y", value)
    elif isinstance(value, Mapping):
        hasher.update(b"d%d:" % len(value))
        for key in sorted(value, key=str):
            _feed(hasher, key)
            _feed(hasher, value[key])
    elif isinstance(value, (list, tuple)):
        hasher.update(b"l%d:" % len(value))
        for inner in value:
            _feed(hasher, inner)
    elif isinstance(value, np.generic):
        _feed(hasher, value.item())
    elif isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise InputError("A record holds an array of objects; use an array of numbers.")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        _feed_bytes(hasher, b"a", f"{array.dtype.str}{array.shape}".encode())
        hasher.update(array.tobytes())
    elif isinstance(value, _AS_TEXT):
        _feed_bytes(hasher, b"t", f"{type(value).__name__}:{value}".encode(errors="surrogatepass"))
    else:
        raise InputError(f"A record holds a {type(value).__name__}; use text, numbers, lists or arrays.")


def _feed_bytes(hasher: Any, tag: bytes, data: bytes) -> None:
    hasher.update(tag + b"%d:" % len(data) + data)
