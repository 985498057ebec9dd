"""Messages about files: words of a sentence, never the operating system's number nor the path again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lethe.errors import InputError, cause
from lethe.models import family_of, guard, nets
from lethe.report.folder import load_folder
from lethe.runs.unlearn import read_manifest


def failure(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        act()
    return caught.value


def test_every_kind_of_failure_has_its_words(tmp_path: Path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf\xe9")
    told = {
        "there is no such file": (tmp_path / "none").read_text,
        "it is a folder": tmp_path.read_text,
        "it is not UTF-8 at byte 3": latin.read_text,
        "file name too long": (tmp_path / ("x" * 5000)).read_text,
        "it is not JSON at line 2, column 1": lambda: json.loads("[1,\n"),
        "it lacks 'refusal'": lambda: {}["refusal"],
        "invalid literal for int() with base 10: 'a'": lambda: int("a"),
        "ValueError": lambda: (_ for _ in ()).throw(ValueError()).__next__(),
    }
    assert [cause(failure(act)) for act in told.values()] == list(told)
    assert cause(PermissionError(13, "Permission denied", "x")) == "this user may not read it"


@pytest.mark.parametrize(
    ("read", "name", "content", "why"),
    [
        (family_of, "config.json", None, "there is no such file"),
        (family_of, "config.json", "{", "it is not JSON at line 1, column 2"),
        (nets.load, "config.json", '{"lethe_architecture": "MLP"}', "it lacks 'arguments'"),
        (guard.read, "lethe_guard.json", "{}", "it lacks 'refusal'"),
        (read_manifest, "lethe.json", "{}", "it lacks 'method'"),
        (load_folder, "results.json", '{"', "it is not JSON at line 1, column 2"),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(
    read: Callable[[Path], object], name: str, content: str | None, why: str, tmp_path: Path
):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert f"({why})" in message and str(tmp_path) in message
    assert "rrno" not in message and "\n" not in message and message.endswith(".")
