"""`lethe audit --sign`, `lethe verify` and `lethe keygen` on models on disk."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from safetensors.torch import load_file, save_file
from tests.runs.conftest import Desk
from tests.runs.test_cli import one_line

from lethe.models import load
from lethe.report.record import schema

STATED = ["--threat", "weights", "--scope", "entity", "--basis", "GDPR, article 17", "--deadline", "2026-12-01"]
Command = Callable[..., tuple[int, str, str]]


def arguments(desk: Desk, model: str | Path, out: Path, *more: str) -> list[str]:
    """A quick audit of the target itself, which stands in for an unlearned model."""
    models = ["--model", str(model), "--original", desk.target, "--control", desk.control_1]
    return [
        "audit",
        *models,
        *desk.sets(),
        "--attack",
        "quantize:bits=8",
        "--budget",
        "quick",
        "--out",
        str(out),
        *more,
    ]


@pytest.fixture
def signed(desk: Desk, lethe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key pair and a signed audit."""
    monkeypatch.setenv("LETHE_KEY_PASSPHRASE", "a passphrase")
    assert lethe("keygen", str(tmp_path / "key.pem"))[0] == 0
    assert b"ENCRYPTED" in (tmp_path / "key.pem").read_bytes()
    sign = ["--sign", str(tmp_path / "key.pem")]
    code, _, err = lethe(*arguments(desk, desk.target, tmp_path / "audit", *sign, *STATED))
    assert code == 0, err
    return tmp_path


def test_an_audit_is_signed_verified_and_the_same_in_another_process(desk: Desk, lethe: Command, signed: Path):
    audit, key = str(signed / "audit" / "audit.json"), str(signed / "key.pem.pub")
    record = json.loads(Path(audit).read_bytes())
    Draft202012Validator(schema()).validate(record)
    assert record["models"]["subject"]["weights"] == load(desk.target).fingerprint()
    assert record["verdict"]["reached"] == "not forgotten"
    assert [one["outcome"] for one in record["request"]["intake"]] == ["PASS", "NOT TESTED", "PASS", "PASS"]
    assert "B1" in record["attacker"]["failed"]
    results = json.loads((signed / "audit" / "results.json").read_text())["benchmarks"][0]
    text = Path(audit).read_text(encoding="utf-8")
    assert not [item for item in results["items"] if item["question"] in text or f'"{item["truth"]}"' in text]
    code, out, err = lethe("verify", audit, "--key", key, "--report", str(signed / "audit"), "--model", desk.target)
    assert (code, err) == (0, "")
    assert "Holds" in out

    # Other folder names, another hash seed: the same audit, hence the same bytes.
    moved = shutil.copytree(desk.target, signed / "elsewhere")
    again = [sys.executable, "-m", "lethe", *arguments(desk, moved, signed / "again", *STATED)]
    subprocess.run(again, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "5"})
    assert (signed / "again" / "audit.json").read_bytes() == Path(audit).read_bytes()
    assert "the file is missing" in lethe("verify", str(signed / "again" / "audit.json"))[2]  # it was not signed

    tampered_with(moved)
    code, _, err = lethe("verify", audit, "--key", key, "--model", str(moved))
    assert code == 1
    assert "field models.subject.weights: is " in err
    retokenised(shutil.copytree(desk.target, moved, dirs_exist_ok=True))
    code, _, err = lethe("verify", audit, "--key", key, "--model", str(moved))
    assert code == 1
    assert "another configuration or tokenizer" in err

    (signed / "audit" / "report.html").write_text("All is well.")
    code, out, err = lethe("verify", audit, "--key", key, "--report", str(signed / "audit"))
    assert (code, out) == (1, "")
    assert err == "does not hold: report.html: is not the file that was signed\n"
    assert lethe("verify", audit, "--key", key)[0] == 0


def tampered_with(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    weights[name][0] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def retokenised(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))


def test_what_cannot_be_signed_is_refused_before_any_work(
    desk: Desk, lethe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("LETHE_KEY_PASSPHRASE", raising=False)
    key = tmp_path / "key.pem"
    sign = arguments(desk, desk.target, tmp_path / "audit", "--sign", str(key))
    assert "make one with `lethe keygen`" in one_line(*lethe(*sign))
    code, out, _ = lethe("keygen", str(key))
    assert code == 0
    assert "key.pem.pub" in out
    assert "never overwritten" in one_line(*lethe("keygen", str(key)))
    key.chmod(0o644)
    assert "others can read this private key (mode 0644); run `chmod 600" in one_line(*lethe(*sign))
    assert "did you mean 'weights'" in one_line(*lethe(*sign, "--threat", "wieghts"))
    assert not (tmp_path / "audit").exists()


def test_verify_says_in_one_sentence_what_it_cannot_use(lethe: Command, tmp_path: Path):
    audit = str(tmp_path / "audit.json")
    assert "no such folder" in one_line(*lethe("verify", audit, "--report", str(tmp_path / "absent")))
    assert "no such folder" in one_line(*lethe("verify", audit, "--model", str(tmp_path / "absent")))
    assert "the key cannot be read" in one_line(*lethe("verify", audit, "--key", str(tmp_path / "absent")))
    code, _, err = lethe("verify", audit)
    assert (code, err) == (1, "does not hold: audit.json.sig: the file is missing\n")
