"""Keys in files: who may read them, in what form, and one sentence for everything that is wrong with one."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lethe.errors import InputError
from lethe.report.keys import PASSPHRASE, fingerprint, make_keys, read_private, read_public


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PASSPHRASE, raising=False)


def test_a_pair_belongs_together_and_only_its_owner_reads_the_private_half(tmp_path: Path):
    before = os.umask(0)
    try:
        private, public = make_keys(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = read_private(private)
    read_public(public).verify(key.sign(b"said"), b"said")
    assert fingerprint(key.public_key()) == fingerprint(read_public(public))
    assert b"PRIVATE" not in public.read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_reads_both_halves_and_finds_the_same_fingerprint(tmp_path: Path):
    private, public = make_keys(tmp_path / "key.pem", b"a passphrase")
    derived = subprocess.run(
        ["openssl", "pkey", "-in", private, "-passin", "pass:a passphrase", "-pubout"], capture_output=True, check=True
    ).stdout
    assert derived == public.read_bytes()
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], capture_output=True, check=True
    )
    summed = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der.stdout, capture_output=True, check=True)
    assert summed.stdout.decode().split()[0] == fingerprint(read_public(public))


def test_an_encrypted_key_opens_with_its_passphrase_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    private, public = make_keys(tmp_path / "key.pem", b"right")
    assert b"ENCRYPTED" in private.read_bytes()
    with pytest.raises(
        InputError, match=rf"is encrypted; put its passphrase into the environment variable {PASSPHRASE}"
    ):
        read_private(private)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(InputError, match=r"the passphrase is wrong, or the file is damaged"):
        read_private(private)
    monkeypatch.setenv(PASSPHRASE, "right")
    assert fingerprint(read_private(private).public_key()) == fingerprint(read_public(public))


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o666])
def test_a_private_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int):
    private, _ = make_keys(tmp_path / "key.pem")
    private.chmod(mode)
    with pytest.raises(InputError, match=rf"others can read this private key \(mode 0{mode:o}\); run `chmod 600 "):
        read_private(private)
    private.chmod(0o400)
    read_private(private)


def test_no_key_is_overwritten(tmp_path: Path):
    private, public = make_keys(tmp_path / "key.pem")
    kept = private.read_bytes(), public.read_bytes()
    with pytest.raises(InputError, match=r"key\.pem exists; a key is never overwritten"):
        make_keys(private)
    private.unlink()
    with pytest.raises(InputError, match=r"key\.pem\.pub exists"):
        make_keys(private)
    assert (public.read_bytes(), private.exists()) == (kept[1], False)


def test_what_is_no_key_is_told_apart(tmp_path: Path):
    private, public = make_keys(tmp_path / "key.pem")
    other = ec.generate_private_key(ec.SECP256R1())
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "ec.pem").write_bytes(other.private_bytes(*forms))
    (tmp_path / "ec.pub").write_bytes(
        other.public_key().public_bytes(forms[0], serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "none.pem").write_text("no key")
    for path in tmp_path.glob("*.pem"):
        path.chmod(0o600)
    for read, name, said in [
        (read_private, "ec.pem", "of another kind than Ed25519"),
        (read_private, "none.pem", "no private key in PKCS8 PEM"),
        (read_private, public.name, "no private key in PKCS8 PEM"),
        (read_private, "absent.pem", "No such file"),
        (read_private, ".", "Is a directory"),
        (read_public, "ec.pub", "of another kind than Ed25519"),
        (read_public, "none.pem", "no public key in PEM"),
        (read_public, private.name, "this is a private key, which its owner keeps"),
        (read_public, "absent.pub", "No such file"),
    ]:
        path = tmp_path / name
        if path.is_file() and read is read_private:
            path.chmod(0o600)
        with pytest.raises(InputError, match=said):
            read(path)
