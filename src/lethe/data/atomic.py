"""Files and folders that appear whole or not at all.

Everything is written under a temporary name in the target's own folder, flushed to the disk, and renamed. Whatever
happens on the way, a reader sees the old content or the new one. What a process that was killed outright leaves beside
the target (``.NAME.HOST.PID.TOKEN.partial``) nobody reads, and the next write to that target removes it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from lethe.errors import InputError

_FULL = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
}
_REFUSED = {
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "writing there is not allowed; change the permissions or choose another folder",
    errno.EPERM: "writing there is not allowed; change the permissions or choose another folder",
    errno.ENOENT: "no folder can be made there; choose another folder",
    errno.ENOTDIR: "a part of that path is a file; choose another folder",
    errno.EEXIST: "a part of that path is a file; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EISDIR: "there is a folder of that name; choose another file name",
}

# A folder is an output, to be replaced, if it has one of the first or nothing but what saving a model leaves.
_MANIFESTS = ("lethe.json", "evidence.json", ".lethe")
_OF_A_MODEL = re.compile(
    r".*\.safetensors(\.index\.json)?|(generation_|preprocessor_)?config\.json|lethe_guard\.json|README\.md"
    r"|tokenizer(_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)"
    r"|merges\.txt|chat_template\.(jinja|json)"
)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file whole or not at all; missing parent folders are made.

    Raises:
        InputError: If the disk is full or the place cannot be written to.
    """
    final = Path(path).resolve()
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(final)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
    _sync(final.parent)
    return final


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 file whole or not at all; see `write_bytes`."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any, *, nan: Literal["refuse", "null"] = "refuse") -> Path:
    """Write JSON whose bytes depend on the content alone: sorted keys, two spaces, one newline at the end.

    Args:
        path: The file.
        value: Dicts, sequences, numbers, strings, numpy scalars and arrays, paths.
        nan: What becomes of NaN and infinity, which JSON does not know: "refuse" or "null".

    Raises:
        InputError: If the file cannot be written.
        ValueError: If there is a NaN and `nan` is "refuse"; names where.
        TypeError: If there is something that JSON cannot hold; names where.
    """
    text = json.dumps(_plain(value, nan, "$"), ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return write_text(path, text + "\n")


@contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; it takes its own name when the block ends without an error.

    An existing folder of that name is replaced as a whole, in one step where the system can do that (Linux).

    Raises:
        InputError: If the disk is full, the place cannot be written to, or replacing would delete more than an
            output: a file, the home folder, a version-controlled checkout, a folder that the process works in, a
            folder with files that Lethe did not write.
    """
    final = Path(path).resolve()
    with explained(final):
        _refuse_precious(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(final)
        temporary.mkdir()
    try:
        with explained(final, _FULL):  # only these: the block may well fail to read something elsewhere
            yield temporary
        with explained(final):
            for inner in sorted(temporary.rglob("*")):
                _sync(inner)
            _put(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # what failed; or, after an exchange, the old folder
    _sync(final.parent)


def _beside(final: Path) -> Path:
    """A new name beside the target; removes what dead processes of this machine left under such names."""
    start = f".{final.name[:100]}.{platform.node()}."
    for path in final.parent.iterdir():
        left = path.name.startswith(start) and re.fullmatch(r"(\d+)\.[0-9a-f]{8}\.partial", path.name[len(start) :])
        if left and not _alive(int(left[1])):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return final.with_name(f"{start}{os.getpid()}.{secrets.token_hex(4)}.partial")


def _alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere the question would be a kill
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _refuse_precious(final: Path) -> None:
    if final.exists() and not final.is_dir():
        raise InputError(f"{final}: there is a file of that name; choose another folder.")
    occupied = {Path.cwd(), Path.home().resolve()}
    if any(place.is_relative_to(final) for place in occupied) or (final / ".git").exists():
        raise InputError(f"{final}: writing the output there would replace a folder that is in use; name a new one.")
    names = [path.name for path in final.iterdir()] if final.exists() else []
    ours = any(name in _MANIFESTS for name in names) or all(_OF_A_MODEL.fullmatch(name) for name in names)
    if not ours:
        raise InputError(f"{final} holds files that Lethe did not write; choose an empty or new folder.")


def _put(temporary: Path, final: Path) -> None:
    """Rename over whatever folder stands there."""
    if not final.exists():
        temporary.rename(final)
    elif not _exchange(temporary, final):
        aside = _beside(final)
        final.rename(aside)
        try:
            temporary.rename(final)
        except OSError:
            aside.rename(final)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    with suppress(OSError, AttributeError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        return renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0
    return False


def _sync(path: Path) -> None:
    """Flush a file or a folder's list of names to the disk; not every file system offers the latter."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def explained(final: Path, reasons: Mapping[int, str] = _FULL | _REFUSED) -> Iterator[None]:
    """Turn the system's refusals to write there into one sentence.

    Raises:
        InputError: Where the block meets one of these reasons.
    """
    try:
        yield
    except Exception as error:
        # safetensors and tokenizers put the number into their message
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number is None or number not in reasons:
            raise
        raise InputError(f"{final}: could not be written, {reasons[number]}.") from error


def _plain(value: Any, nan: str, where: str) -> Any:
    """The same content in the types that JSON knows."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if nan == "null":
            return None
        raise ValueError(f'{where} is {value}, which JSON cannot hold; pass nan="null" to write null in its place')
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, nan, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, nan, f"{where}[{row}]") for row, inner in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch
        return _plain(value.tolist(), nan, where)
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot hold")
