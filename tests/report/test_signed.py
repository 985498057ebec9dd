"""A signed record: what it says, that its form is the published one, and that no tampering goes unnoticed."""

import base64
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from tests.report.example import example

from lethe.auditing.intake import Intake
from lethe.errors import InputError
from lethe.report.canonical import canonical, parse
from lethe.report.keys import fingerprint, make_keys, read_private, read_public
from lethe.report.record import audit_record, schema, write_record
from lethe.report.signed import CHUNK, sign
from lethe.report.verified import Verification, verify
from lethe.request import Request
from lethe.runs.environment import code, environment
from lethe.runs.results import Blind, Results
from lethe.runs.verdicts import judged
from lethe.task import Task

INTAKE = Intake("removal", "entity", "weights", "GDPR, article 17")
SECRET = "Where does Ann Alder hide the key?"


def task(seed: int = 0) -> Task:
    records = {
        "forget": [{"id": "f0", "question": SECRET, "answer": "Under the mat."}],
        "retain": [{"id": "r0", "question": "What does Bo Birch eat on Mondays?", "answer": "Soup."}],
    }

    def absent(_: int) -> Any:
        raise AssertionError("no model is needed to write a record")

    return Task(
        "records",
        "language",
        Request(records["forget"], records["retain"], seed=seed),
        records,
        (),
        "",
        "",
        absent,
        None,
    )


def audited(method: str = "npo") -> Results:
    """The example's results as an audit has them: target, controls and one method, judged by the rules in force."""
    found = next(one for one in example().benchmarks if any(row.method == method for row in one.rows))
    rows = [row for row in found.rows if row.role in ("target", "control")]
    rows += [next(row for row in found.rows if row.method == method)]
    rows = [replace(row, model=digest(row.id), evidence=digest(row.id)[:32]) for row in rows]
    rows = judged(rows, found.knowledge, found.utility)
    return Results("Audit", "lethe audit", (replace(found, rows=tuple(rows)),), environment(), {})


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def record(method: str = "npo", seed: int = 0) -> dict[str, Any]:
    return audit_record(audited(method), task(seed), INTAKE, code=code(), behaviour=digest("behaviour"))


@dataclass(frozen=True)
class Signed:
    """An audit's folder, with the keys beside it."""

    folder: Path
    key: Path

    @property
    def audit(self) -> Path:
        return self.folder / "audit.json"

    @property
    def signature(self) -> Path:
        return self.folder / "audit.json.sig"

    def verified(self, **options: Any) -> Verification:
        return verify(self.audit, **{"key": f"{self.key}.pub", **options})

    def fault(self, **options: Any) -> str:
        """The one fault that is found."""
        found = self.verified(**options)
        assert not found.holds
        (fault,) = found.faults
        return fault


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("signed")
    key, _ = make_keys(folder / "key.pem")
    audit = write_record(record(), folder / "audit")
    for name in ("report.html", "results.json"):
        audit.with_name(name).write_text(f"{name} as written\n")
    sign(audit, read_private(key))
    return Signed(audit.parent, key)


@pytest.fixture
def signed(original: Signed, tmp_path: Path) -> Signed:
    """A copy to tamper with."""
    return Signed(Path(shutil.copytree(original.folder, tmp_path / "audit")), original.key)


def test_the_record_has_the_published_form_and_a_schema_that_forbids_others():
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())
    for method in ("npo", "rmu", "ga", "scrub", "reverse_bpr"):  # of three families
        validator.validate(parse(canonical(record(method))))
    blind = Blind("clean", worst="words", baselines={"words": [0.5, 0.4, float("nan")]})
    results = audited()
    told = replace(results, benchmarks=(replace(results.benchmarks[0], blind=blind),))
    validator.validate(audit_record(told, task(), INTAKE, code=code(), behaviour=digest("behaviour")))
    for spoil in (
        lambda r: r.pop("verdict"),
        lambda r: r.update(note="more"),
        lambda r: r["verdict"].update(reached="gone"),
        lambda r: r["models"]["subject"].update(weights="abc"),
        lambda r: r["checklist"][-1].update(outcome="NOT TESTED", reason=""),
        lambda r: r["metrics"][0].pop("n"),
        lambda r: r["attacks"][0].update(adjusted=2),
        lambda r: r["request"]["sets"].pop("forget"),
        lambda r: r.update(schema=2),
    ):
        spoilt = parse(canonical(record()))
        spoil(spoilt)
        assert not validator.is_valid(spoilt)


def test_the_record_says_what_was_measured_and_nothing_of_the_records():
    found, results = record(), audited()
    row = results.benchmarks[0].rows[-1]
    assert row.verdict is not None
    assert {one["name"]: one["value"] for one in found["metrics"]} == {
        score.name: None if np.isnan(score.value) else score.value for score in row.scores
    }
    assert found["metrics"][0]["low"] == row.scores[0].low
    untested = [check["id"] for check in found["checklist"] if check["outcome"] == "NOT TESTED"]
    assert untested == found["verdict"]["not_tested"]
    assert found["verdict"]["reached"] == row.verdict.reached
    assert found["verdict"]["budget"]["attacks"] == len(found["attacks"]) == len(row.recoveries) > 0
    assert found["attacks"][0]["budget"]["tried"] == len(row.recoveries[0].points)
    assert found["models"]["controls"] == [{"weights": one.model} for one in results.benchmarks[0].of_role("control")]
    assert set(found["evidence"]["keys"]) == {row.id for row in results.benchmarks[0].rows[:-1]} | {"subject"}
    text = canonical(found).decode()
    assert SECRET not in text
    assert not [answer for answer in row.answers if len(answer) > 12 and answer in text]


def test_what_readers_would_read_differently_is_written_so_that_they_cannot():
    results = audited()
    found = results.benchmarks[0]
    own = found.rows[-1]
    options = {"seed": 2**60, "lr": float("nan"), "name": "\udcff", "where": Path("a"), "steps": (1, np.int64(2))}
    spoilt = replace(found, rows=(*found.rows[:-1], replace(own, options=options)))
    written = audit_record(
        replace(results, benchmarks=(spoilt,)), task(2**60), INTAKE, code=code(), behaviour=digest("behaviour")
    )
    assert written["models"]["subject"]["options"] == {
        "seed": str(2**60), "lr": None, "name": "?", "where": "a", "steps": [1, 2],
    }  # fmt: skip
    Draft202012Validator(schema()).validate(parse(canonical(written)))


def test_an_untouched_audit_holds(signed: Signed):
    found = signed.verified(report=signed.folder)
    assert (found.holds, found.faults) == (True, ())
    assert found.key == fingerprint(read_public(f"{signed.key}.pub"))
    assert found.notes == ("the model's weights: give --model",)
    assert any("whose key" in note for note in verify(signed.audit).notes)


def test_every_flipped_bit_of_the_record_is_found_and_its_place_named(signed: Signed):
    data = signed.audit.read_bytes()
    draw = random.Random(0)
    for _ in range(400):
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        signed.audit.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        start = place // CHUNK * CHUNK
        assert f"bytes {start} to {min(start + CHUNK, len(data)) - 1} are not those" in signed.fault()
    signed.audit.write_bytes(data)
    assert signed.verified().holds


def test_every_flipped_bit_of_the_signature_file_is_found(signed: Signed):
    data = signed.signature.read_bytes()
    value = data.index(b'"signature":"') + len(b'"signature":"')
    draw = random.Random(1)
    flips = [(draw.randrange(len(data)), draw.randrange(8)) for _ in range(300)]
    flips += [(place, bit) for place in range(value, value + 88) for bit in range(8)]  # every bit of the signature
    for place, bit in flips:
        signed.signature.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        assert signed.fault().startswith("audit.json.sig: ")
    signed.signature.write_bytes(data)
    assert signed.verified().holds


@pytest.mark.parametrize(
    "spelt",
    [
        lambda found: json.dumps(found, indent=2),
        lambda found: json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n",
        lambda found: json.dumps(dict(reversed(found.items())), separators=(",", ":"), ensure_ascii=False),
        lambda found: re.sub(r"(:0\.\d+)(?=[,}])", r"\g<1>0", canonical(found).decode()),
    ],
    ids=["indented", "newline", "reordered", "numbers"],
)
def test_a_record_that_was_written_again_is_told_from_one_that_says_other_things(
    signed: Signed, spelt: Callable[[Any], str]
):
    signed.audit.write_text(spelt(parse(signed.audit.read_bytes())), encoding="utf-8")
    assert "re-serialised: every field says the same" in signed.fault()


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = parse(path.read_bytes())
    change(found)
    path.write_bytes(canonical(found))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: r["verdict"].update(reached="removal"), "this field does not hold: verdict.reached"),
        (lambda r: r["models"]["subject"].update(weights="0" * 64), "this field does not hold: models.subject"),
        (lambda r: r["checklist"].pop(), "this field does not hold: checklist"),
        (lambda r: r.update(note="trust me"), "this field does not hold: note (added)"),
        (lambda r: r.pop("attacks"), "this field does not hold: attacks (missing)"),
        (lambda r: r.update({"verdict.reached": r["verdict"].pop("reached")}), "not hold: "),
        (
            lambda r: (r["verdict"].update(not_tested=[]), r["request"].update(intent="suppression")),
            "these fields do not hold: request.intent, verdict.not_tested",
        ),
    ],
    ids=["verdict", "weights", "checklist", "added", "missing", "moved", "two"],
)
def test_a_changed_field_is_named(signed: Signed, change: Callable[[dict[str, Any]], object], named: str):
    rewrite(signed.audit, change)
    fault = signed.fault()
    assert named in fault
    assert "are not those that were signed" in fault
    assert "re-serialised" not in fault


def test_a_key_that_comes_twice_is_no_other_spelling(signed: Signed):
    text = signed.audit.read_text(encoding="utf-8")
    signed.audit.write_text('{"verdict":{"reached":"removal"},' + text[1:], encoding="utf-8")
    fault = signed.fault()
    assert "can no longer be read (the key 'verdict' comes twice)" in fault
    assert "re-serialised" not in fault


def test_shortened_and_lengthened_files_are_told_by_their_length(signed: Signed):
    data = signed.audit.read_bytes()
    for cut in (0, 1, 500, CHUNK, len(data) - 1):
        signed.audit.write_bytes(data[:cut])
        assert f"the file has {cut} bytes, and {len(data)} were signed" in signed.fault()
    signed.audit.write_bytes(data + b" " * CHUNK)
    last = len(data) // CHUNK * CHUNK
    assert f"bytes {last} to {last + CHUNK - 1} are not" in signed.fault()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "truncated or damaged"),
        (lambda path: path.write_bytes(b""), "truncated or damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "truncated or damaged"),
        (lambda path: path.write_bytes(b"[]"), "no signature of an audit"),
        (lambda path: rewrite(path, lambda s: s.update(signature=s["signature"][:40])), "bytes of 64: it is truncated"),
        (lambda path: rewrite(path, lambda s: s.update(signature="!")), "missing or damaged"),
        (lambda path: rewrite(path, lambda s: s.update(signature=5)), "missing or damaged"),
        (lambda path: rewrite(path, lambda s: s.pop("signature")), "missing or damaged"),
        (lambda path: rewrite(path, lambda s: s.pop("public_key")), "missing or damaged"),
        (lambda path: rewrite(path, lambda s: s.update(key="0" * 64)), "do not belong together"),
        (lambda path: rewrite(path, lambda s: s["file"].update(bytes=1)), "signature does not hold"),
        (lambda path: rewrite(path, lambda s: s["beside"].clear()), "signature does not hold"),
        (lambda path: rewrite(path, lambda s: s.update(algorithm="none")), "signature does not hold"),
        (lambda path: rewrite(path, lambda s: s.update(schema=9)), "of schema 9"),
        (lambda path: path.write_text(json.dumps(parse(path.read_bytes()), indent=1)), "was re-serialised"),
        (lambda path: path.unlink(), "the file is missing"),
    ],
)
def test_a_damaged_signature_file_is_told_by_what_is_wrong_with_it(
    signed: Signed, spoil: Callable[[Path], object], said: str
):
    spoil(signed.signature)
    fault = signed.fault()
    assert fault.startswith("audit.json.sig: ")
    assert said in fault


def test_another_key_is_a_fault_even_where_every_byte_holds(signed: Signed, tmp_path: Path):
    _, other = make_keys(tmp_path / "other.pem")
    fault = signed.fault(key=other)
    assert fault.startswith("wrong key: ")
    assert fingerprint(read_public(other)) in fault


def test_a_forger_who_signs_anew_is_found_by_the_key(signed: Signed, tmp_path: Path):
    rewrite(signed.audit, lambda r: r["environment"].update(torch="9.9"))
    forger, _ = make_keys(tmp_path / "forger.pem")
    sign(signed.audit, read_private(forger))
    assert signed.fault().startswith("wrong key: ")
    assert verify(signed.audit).holds  # which is why it also says that nobody vouches for the key
    assert any("whose key" in note for note in verify(signed.audit).notes)


def test_the_signature_of_another_audit_does_not_hold(signed: Signed, tmp_path: Path):
    other = write_record(record("rmu"), tmp_path / "other")
    shutil.copy(sign(other, read_private(signed.key)), signed.signature)
    fault = signed.fault()
    assert "these fields do not hold: " in fault
    assert "models.subject" in fault


def test_missing_and_changed_files_of_the_report_are_named(signed: Signed):
    signed.audit.with_name("results.json").write_text("{}")
    assert signed.fault(report=signed.folder) == "results.json: is not the file that was signed"
    assert signed.verified().holds  # it was not asked for the report
    signed.audit.with_name("results.json").unlink()
    assert signed.fault(report=signed.folder) == "results.json: the file is missing"
    signed.audit.unlink()
    assert signed.verified().faults == ("audit.json: the file is missing",)


def test_a_signer_whose_verdict_does_not_follow_from_his_checklist_is_found(signed: Signed):
    rewrite(signed.audit, lambda r: r["verdict"].update(reached="removal"))
    sign(signed.audit, read_private(signed.key))
    assert signed.fault().startswith("field verdict: says 'removal', and the checklist leads to ")
    rewrite(signed.audit, lambda r: r["lethe"].update(code="0" * 64))  # other code may have had other rules
    sign(signed.audit, read_private(signed.key))
    assert signed.verified().holds


def test_a_signed_file_that_is_no_record_lacks_what_a_record_has(signed: Signed):
    for content, said in (({"schema": 1}, "lacks a field"), ({"schema": 7}, "field schema: is 7")):
        signed.audit.write_bytes(canonical(content))
        sign(signed.audit, read_private(signed.key))
        assert said in signed.fault()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("file"),
        lambda s: s["file"].update(chunk_bytes=0),
        lambda s: s["file"].pop("chunks"),
        lambda s: s["beside"].update({"../../key.pem": "0" * 64}),
    ],
)
def test_a_signer_who_signs_anything_makes_verify_look_into_nothing(signed: Signed, change: Callable[[Any], object]):
    found = parse(signed.signature.read_bytes())
    found.pop("signature")
    change(found)
    signature = base64.b64encode(read_private(signed.key).sign(canonical(found))).decode()
    signed.signature.write_bytes(canonical({**found, "signature": signature}))
    assert signed.fault(report=signed.folder).endswith("does not have the form that Lethe writes")


def test_what_cannot_be_asked_is_refused_in_a_sentence(signed: Signed):
    with pytest.raises(InputError, match="there is no such folder; name the one that the audit wrote"):
        signed.verified(report=signed.folder / "absent")
    with pytest.raises(InputError, match="name the signer's public key"):
        signed.verified(key=signed.folder / "absent.pub")
    with pytest.raises(InputError, match="there is no such folder; name the audited model's"):
        signed.verified(model=signed.folder / "absent")


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("openssl")), reason="needs jq and openssl")
def test_a_signature_can_be_checked_without_lethe(signed: Signed):
    """The commands of docs/signed-audits.md."""
    script = """
        jq -cjS 'del(.signature)' audit.json.sig > statement
        jq -r .signature audit.json.sig | base64 -d > signature
        openssl pkeyutl -verify -rawin -pubin -inkey "$1" -in statement -sigfile signature
        echo "$(jq -r .file.sha256 audit.json.sig)  audit.json" | sha256sum --check
    """
    run = ["bash", "-ec", script, "check", f"{signed.key}.pub"]
    done = subprocess.run(run, cwd=signed.folder, capture_output=True, text=True)
    assert (done.returncode, "Signature Verified Successfully" in done.stdout) == (0, True), done.stderr
    assert "audit.json: OK" in done.stdout
    rewrite(signed.signature, lambda s: s["file"].update(sha256="0" * 64))
    assert subprocess.run(run, cwd=signed.folder, capture_output=True).returncode != 0


def test_base64_has_one_spelling(signed: Signed):
    """The last digit before the padding has bits that decoding drops: a lenient reader would let them be changed."""
    text = parse(signed.signature.read_bytes())["signature"]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = text[:-3] + digits[digits.index(text[-3]) ^ 1] + "=="
    assert base64.b64decode(twin) == base64.b64decode(text)
    rewrite(signed.signature, lambda s: s.update(signature=twin))
    assert "re-serialised" in signed.fault()
