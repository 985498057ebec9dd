"""Whether a signed audit is as it was signed, and everything that can be wrong with it, each in a sentence."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lethe.auditing.verdict import conclude
from lethe.errors import InputError
from lethe.findings import Check, LeftOut
from lethe.report.canonical import canonical, parse
from lethe.report.keys import fingerprint, read_public
from lethe.report.record import SCHEMA
from lethe.report.signed import BESIDE, TYPE, chunks_of, fields_of, sha256, signature_path
from lethe.runs.environment import code, environment


@dataclass(frozen=True)
class Verification:
    """What was found of a signed audit; it holds if there is no fault.

    `key` is the fingerprint of the signing key, "" where the signature does not hold; `notes` say what was not checked.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    key: str

    @property
    def holds(self) -> bool:
        """Whether everything that was checked is as it was signed."""
        return not self.faults


def verify(
    audit: str | Path,
    *,
    key: str | Path | None = None,
    report: str | Path | None = None,
    model: str | Path | None = None,
) -> Verification:
    """Check a signed audit.

    Args:
        audit: The `audit.json`; its signature lies beside it as `audit.json.sig`.
        key: The signer's public key, PEM; without it nothing says whose signature it is.
        report: Folder of the report that was signed along with it.
        model: Folder of the audited model.

    Raises:
        InputError: If the key, the folder of the report or the model cannot be read.
    """
    trusted = None if key is None else fingerprint(read_public(key))
    if report is not None and not Path(report).is_dir():
        raise InputError(f"{report}: there is no such folder; name the one that the audit wrote.")
    if model is not None and not Path(model).is_dir():
        raise InputError(f"{model}: there is no such folder; name the audited model's.")
    path = signature_path(audit)
    try:
        statement = _statement(path)
    except ValueError as error:
        return Verification((f"{path.name}: {error}",), (), "")
    signer, faults = statement["key"], []
    if trusted is not None and signer != trusted:
        faults += [f"wrong key: {path.name} was made with the key {signer}, and {key} is {trusted}"]
    record, differing = _compared(Path(audit), statement["file"])
    faults += differing
    if record is not None:
        faults += _inconsistent(record)
    if report is not None:
        faults += _beside(Path(report), statement["beside"])
    notes = [] if key else ["whose key this is: compare its fingerprint, or give --key"]
    notes += [] if report else ["the report's files: give --report"]
    if model is None:
        notes += ["the model's weights: give --model"]
    elif record is None:
        notes += ["the model's weights, because the record does not hold"]
    else:
        faults += _other_model(record, model)
    return Verification(tuple(faults), tuple(notes), signer)


def _statement(path: Path) -> dict[str, Any]:
    """What a signature file says, once its own signature holds.

    Raises:
        ValueError: In the words of the fault.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    data = _read(path)
    try:
        found = parse(data)
        spelt = canonical(found)
    except ValueError as error:
        raise ValueError(f"the signature file is truncated or damaged ({error})") from None
    if not isinstance(found, dict) or found.get("type") != TYPE:
        raise ValueError("this is no signature of an audit")
    if found.get("schema") != SCHEMA:
        raise ValueError(f"is of schema {found.get('schema')!r}, and this version of Lethe reads {SCHEMA}")
    try:
        signature = base64.b64decode(found["signature"], validate=True)
        der = base64.b64decode(found["public_key"], validate=True)
        public = load_der_public_key(der)
    except (KeyError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"its field signature or public_key is missing or damaged ({error})") from None
    if len(signature) != 64:
        raise ValueError(f"the field signature holds {len(signature)} bytes of 64: it is truncated or damaged")
    if not isinstance(public, Ed25519PublicKey) or hashlib.sha256(der).hexdigest() != found.get("key"):
        raise ValueError("its fields public_key and key do not belong together")
    statement = {name: value for name, value in found.items() if name != "signature"}
    try:
        public.verify(signature, canonical(statement))
    except InvalidSignature:
        raise ValueError("the signature does not hold: a field of this file was altered after signing") from None
    if data != spelt or base64.b64encode(signature).decode() != found["signature"]:
        raise ValueError("the signature file was re-serialised: its fields hold, its bytes are others")
    if not _has_form(statement):
        raise ValueError("is signed, but does not have the form that Lethe writes")
    return statement


def _has_form(statement: Mapping[str, Any]) -> bool:
    """Whoever holds a key can sign anything: what is not as `sign` writes it is not looked into."""
    file, beside = statement.get("file"), statement.get("beside")
    if not isinstance(file, dict) or not isinstance(beside, dict) or not set(beside) <= set(BESIDE):
        return False
    kinds = {"bytes": int, "sha256": str, "chunk_bytes": int, "chunks": list, "fields": dict}
    return all(isinstance(file.get(name), kind) for name, kind in kinds.items()) and file["chunk_bytes"] > 0


def _compared(path: Path, signed: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """The record if it is byte for byte what was signed; otherwise what differs."""
    try:
        data = _read(path)
    except ValueError as error:
        return None, [f"{path.name}: {error}"]
    if sha256(data) == signed["sha256"]:
        return parse(data), []
    where = f"{path.name}: {_range(data, signed)}"
    try:
        record = parse(data)
        fields = fields_of(record)
    except ValueError as error:
        return None, [f"{where}; it can no longer be read ({error})"]
    if sha256(canonical(record)) == signed["sha256"]:
        return None, [f"{where}; re-serialised: every field says the same, and other bytes were signed"]
    names = [name for name in sorted({*fields, *signed["fields"]}) if fields.get(name) != signed["fields"].get(name)]
    told = ", ".join(_changed(name, fields, signed["fields"]) for name in names)
    return None, [f"{where}; {'this field does' if len(names) == 1 else 'these fields do'} not hold: {told}"]


def _range(data: bytes, signed: Mapping[str, Any]) -> str:
    """The first chunk that differs, as a range of bytes counted from 0."""
    size = signed["chunk_bytes"]
    own = [sha256(chunk) for chunk in chunks_of(data, size)]
    first = next((n for n, pair in enumerate(zip(own, signed["chunks"], strict=False)) if pair[0] != pair[1]), None)
    place = min(len(own), len(signed["chunks"])) if first is None else first
    end = min((place + 1) * size, max(len(data), signed["bytes"])) - 1
    other = len(data) != signed["bytes"]
    length = f"; the file has {len(data)} bytes, and {signed['bytes']} were signed" if other else ""
    return f"bytes {place * size} to {end} are not those that were signed{length}"


def _changed(name: str, own: Mapping[str, str], signed: Mapping[str, str]) -> str:
    return name if name in own and name in signed else f"{name} ({'added' if name in own else 'missing'})"


def _inconsistent(record: Mapping[str, Any]) -> list[str]:
    """A signed record whose verdict is not the one that its own checklist leads to; by the same code only."""
    if record.get("schema") != SCHEMA:
        return [f"field schema: is {record.get('schema')!r}, and this version of Lethe reads {SCHEMA}"]
    try:
        if record["lethe"]["code"] != code():
            return []
        told = record["verdict"]
        checks = [Check(**check) for check in record["checklist"]]
        spent = {"budget": told["budget"]["name"], "tried": told["budget"]["attacks"]}
        again = conclude(
            told["claimed"], checks, told["required"], **spent, left_out=[LeftOut(**one) for one in told["left_out"]]
        )
        same = (again.reached, again.highest_class, again.sentence)
        fine = same == (told["reached"], told["highest_class"], told["sentence"])
    except (KeyError, TypeError) as error:
        return [f"the record lacks a field ({error})"]
    return [] if fine else [f"field verdict: says {told['reached']!r}, and the checklist leads to {again.reached!r}"]


def _beside(folder: Path, signed: Mapping[str, str]) -> Iterator[str]:
    for name, expected in signed.items():
        try:
            if sha256(_read(folder / name)) != expected:
                yield f"{name}: is not the file that was signed"
        except ValueError as error:
            yield f"{name}: {error}"


def _other_model(record: Mapping[str, Any], folder: str | Path) -> list[str]:
    from lethe.models import load

    try:
        family, subject = record["models"]["family"], record["models"]["subject"]
        weights, behaviour = subject["weights"], subject["behaviour"]
        transformers = record["environment"]["transformers"]
    except (KeyError, TypeError) as error:
        return [f"the record lacks a field ({error})"]
    model = load(folder, family=family)
    if (own := model.fingerprint()) != weights:
        return [f"field models.subject.weights: is {weights}, and {folder} holds {own}"]
    # Another version of transformers may add settings of its own; the weights are the same in all of them.
    if transformers == environment()["transformers"] and model.behaviour() != behaviour:
        return [f"field models.subject.behaviour: {folder} has another configuration or tokenizer than was audited"]
    return []


def _read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ValueError: If it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError("the file is missing") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
