"""Ed25519 keys in files: PKCS8 PEM for the private half, SubjectPublicKeyInfo PEM for the public one."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from lethe.data.atomic import explained
from lethe.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PASSPHRASE = "LETHE_KEY_PASSPHRASE"  # environment variable
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_keys(path: str | Path, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """Make a key pair: the private key at `path`, for its owner's eyes only, the public one at `path.pub`.

    Args:
        path: File of the private key; neither file may exist.
        passphrase: Encrypts the private key; None leaves it in the clear.

    Raises:
        InputError: If one of the files exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = Path(path), Path(f"{path}.pub")
    for file in (private, public):
        if file.exists():
            raise InputError(f"{file} exists; a key is never overwritten: name another file.")
    key = Ed25519PrivateKey.generate()
    cipher = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    _create(private, secret, 0o600)
    open_half = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    _create(public, key.public_key().public_bytes(*open_half), 0o644)
    return private, public


def read_private(path: str | Path) -> Ed25519PrivateKey:
    """The key to sign with; its passphrase comes from LETHE_KEY_PASSPHRASE, or is asked for at a terminal.

    Raises:
        InputError: If there is no such key, others can read the file, or the passphrase is missing or wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)  # of what is read, not of what has the name by now
            pem = file.read()
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror}); make one with `lethe keygen`.") from error
    if os.name == "posix" and mode & OTHERS:
        raise InputError(
            f"{path}: others can read this private key (mode {mode:04o}); run `chmod 600 {path}`, or make a new one."
        )
    locked = b"ENCRYPTED" in pem
    passphrase = ask_passphrase(f"Passphrase of {path}: ") if locked else None
    if locked and not passphrase:
        raise InputError(f"{path} is encrypted; put its passphrase into the environment variable {PASSPHRASE}.")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        wrong = "the passphrase is wrong, or the file is damaged" if locked else "this is no private key in PKCS8 PEM"
        raise InputError(f"{path}: {wrong}; `lethe keygen` makes one.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: this key is of another kind than Ed25519; `lethe keygen` makes one.")
    return key


def read_public(path: str | Path) -> Ed25519PublicKey:
    """The key to verify with.

    Raises:
        InputError: If the file holds no public Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror}); name the signer's public key.") from error
    if b"PRIVATE KEY" in pem:
        raise InputError(f"{path}: this is a private key, which its owner keeps; verify with the public one.")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: this is no public key in PEM; name the signer's public key.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: this key is of another kind than Ed25519; name the signer's public key.")
    return key


def encoded(key: Ed25519PublicKey) -> bytes:
    """A public key as DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key's DER, as `openssl pkey -pubin -in FILE -outform DER | sha256sum` gives it."""
    return hashlib.sha256(encoded(key)).hexdigest()


def ask_passphrase(prompt: str, *, new: bool = False) -> bytes | None:
    """A passphrase from the environment, or from the terminal where there is one; None where neither has any.

    Args:
        prompt: What the terminal shows.
        new: Ask twice, as a mistyped new one could never be given again.

    Raises:
        InputError: If the two differ.
    """
    given = os.environ.get(PASSPHRASE)
    if given is None and sys.stdin is not None and sys.stdin.isatty():
        given = getpass(prompt)
        if new and given and getpass("The same once more: ") != given:
            raise InputError("The two passphrases differ; run the command again.")
    return given.encode() if given else None


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write a new file that nobody else could read at any moment, unless the mode says so."""
    with explained(path.resolve()):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
