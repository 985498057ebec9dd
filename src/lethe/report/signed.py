"""A detached signature over an audit's record.

`audit.json.sig` is a statement about `audit.json` (its SHA-256, those of its 1024-byte chunks and of its fields, and
those of the files that lie beside it) with an Ed25519 signature over the statement's canonical bytes. So what differs
can be named from hashes that nobody can alter, and `jq`, `openssl` and `sha256sum` can check it without Lethe.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lethe.data.atomic import write_bytes
from lethe.report.canonical import canonical, parse
from lethe.report.keys import encoded, fingerprint
from lethe.report.record import SCHEMA

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPE = "lethe audit signature"
CHUNK = 1024  # bytes
# What an audit writes beside its record.
BESIDE = ("results.json", "cost.json", "report.html", "report.md", "table.md", "README.md")


def sign(audit: str | Path, key: Ed25519PrivateKey) -> Path:
    """Write the signature of an `audit.json`, and of the report beside it, to `audit.json.sig`.

    No time is signed: whoever holds the key could write any.
    """
    audit = Path(audit)
    data = audit.read_bytes()
    record = parse(data)
    assert data == canonical(record)  # as `write_record` leaves it
    beside = {name: sha256(path.read_bytes()) for name in BESIDE if (path := audit.with_name(name)).is_file()}
    public = key.public_key()
    statement = {
        "type": TYPE,
        "schema": SCHEMA,
        "algorithm": "Ed25519",
        "key": fingerprint(public),
        "public_key": base64.b64encode(encoded(public)).decode(),
        "file": {
            "bytes": len(data),
            "sha256": sha256(data),
            "chunk_bytes": CHUNK,
            "chunks": [sha256(chunk) for chunk in chunks_of(data, CHUNK)],
            "fields": fields_of(record),
        },
        "beside": beside,
    }
    signature = base64.b64encode(key.sign(canonical(statement))).decode()
    return write_bytes(signature_path(audit), canonical({**statement, "signature": signature}))


def signature_path(audit: str | Path) -> Path:
    """Where the signature of a record lies."""
    return Path(f"{audit}.sig")


def fields_of(record: Any) -> dict[str, str]:
    """SHA-256 of each field's canonical bytes, and one level deeper where a field is an object.

    Raises:
        ValueError: If the record is no object, or holds what has no canonical form.
    """
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    return {path: sha256(canonical(value)) for path, value in _paths(record)}


def _paths(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def chunks_of(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces of a size; the last may be shorter."""
    return (data[start : start + size] for start in range(0, len(data), size))


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
