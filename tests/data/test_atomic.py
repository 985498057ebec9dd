import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lethe.data.atomic import folder, write_bytes, write_json, write_text
from lethe.errors import InputError


def _mount(place: Path, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system can only be mounted as root: {done.stderr.decode().strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    _mount(place, "size=64k")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A real read-only file system: permissions would not stop root."""
    place = tmp_path / "sealed"
    place.mkdir()
    _mount(place, "size=64k,ro")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    assert write_text(tmp_path / "deep" / "er" / "a.txt", "Grüße").read_text(encoding="utf-8") == "Grüße"
    write_bytes(tmp_path / "a", b"\0\1")
    assert write_bytes(tmp_path / "a", b"new").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "deep"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert write_text(tmp_path / "a", "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_link_is_written_through(tmp_path: Path) -> None:
    write_text(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    write_bytes(small_disk / "a", b"old")
    with pytest.raises(InputError, match=r"disk is full; free some space"):
        write_bytes(small_disk / "a", bytes(200_000))
    assert [(path.name, path.read_bytes()) for path in small_disk.iterdir()] == [("a", b"old")]


def test_full_disk_leaves_the_old_folder_and_nothing_else(small_disk: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    with folder(small_disk / "out") as inside:
        (inside / "config.json").write_text("old")
    with pytest.raises(InputError, match="disk is full"), folder(small_disk / "out") as inside:
        (inside / "config.json").write_text("new")
        save_file({"w": torch.zeros(100_000)}, inside / "model.safetensors")  # raises no OSError, but its own error
    with pytest.raises(InputError, match="disk is full"), folder(small_disk / "out") as inside:
        (inside / "big").write_bytes(bytes(200_000))
    assert [path.name for path in small_disk.iterdir()] == ["out"]
    assert (small_disk / "out" / "config.json").read_text() == "old"


def test_read_only_disk_is_said_so(read_only_disk: Path) -> None:
    with pytest.raises(InputError, match="file system is read-only; choose another folder"):
        write_text(read_only_disk / "a", "x")
    with pytest.raises(InputError, match="read-only"), folder(read_only_disk / "out"):
        pytest.fail("the block must not start")
    assert not list(read_only_disk.iterdir())


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "not allowed")])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_every_late_refusal_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, call: str
) -> None:
    write_text(tmp_path / "a", "old")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, {"fsync": "fsync", "rename": "replace"}[call], refuse)
    with pytest.raises(InputError, match=said):
        write_text(tmp_path / "a", "new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    with pytest.raises(InputError, match="part of that path is a file"):
        write_text(tmp_path / "a" / "b", "x")
    with pytest.raises(InputError, match="there is a folder of that name"):
        write_text(tmp_path, "x")


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    with folder(tmp_path / "out") as inside:
        (inside / "lethe.json").write_text("{}")
        (inside / "old").write_text("1")
    with folder(tmp_path / "out") as inside:
        assert not list(inside.iterdir())
        assert (tmp_path / "out" / "old").exists()  # readers still see the old one
        (inside / "sub").mkdir()
        (inside / "sub" / "new").write_text("2")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "out",
        "out/sub",
        "out/sub/new",
    ]


def test_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.data.atomic._exchange", lambda one, other: False)
    test_folder_is_replaced_as_a_whole(tmp_path)


def test_an_error_inside_the_block_keeps_the_old_folder_and_its_type(tmp_path: Path) -> None:
    with folder(tmp_path / "out") as inside:
        (inside / "config.json").write_text("old")
    with pytest.raises(PermissionError, match="elsewhere"), folder(tmp_path / "out") as inside:
        (inside / "config.json").write_text("new")
        raise PermissionError(errno.EACCES, "elsewhere")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def test_what_is_no_output_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    for name in ("repo", "file", "work", "."):
        with pytest.raises(InputError, match=r"choose another|name a new one"), folder(tmp_path / name):
            pytest.fail("the block must not start")
    assert (tmp_path / "work" / "deep").exists()


@pytest.mark.parametrize(
    "names", [["lethe.json", "notes.txt"], ["evidence.json"], ["config.json", "a.safetensors"], []]
)
def test_an_output_is_replaced(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "out").mkdir()
    for name in names:
        write_text(tmp_path / "out" / name, "old")
    with folder(tmp_path / "out") as inside:
        (inside / "new").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


@pytest.mark.parametrize("names", [["thesis.tex"], ["config.json", "model.safetensors", "thesis.tex"], ["src/a.py"]])
def test_files_that_lethe_did_not_write_are_kept(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write_text(tmp_path / "out" / name, "mine")
    with (
        pytest.raises(InputError, match="out holds files that Lethe did not write; choose an empty or new folder"),
        folder(tmp_path / "out"),
    ):
        pytest.fail("the block must not start")
    assert all((tmp_path / "out" / name).read_text() == "mine" for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_places_where_nothing_can_be_made_are_refused_in_one_sentence(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with pytest.raises(InputError, match="part of that path is a file"), folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not start")
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc, where no folder can be made")
    with pytest.raises(InputError, match="no folder can be made there"), folder("/proc/lethe"):
        pytest.fail("the block must not start")
    with pytest.raises(InputError, match="no folder can be made there"):
        write_text("/proc/lethe/results.json", "{}")


def test_killed_in_mid_write_leaves_old_or_new(tmp_path: Path) -> None:
    """SIGKILL a process that keeps replacing a folder: every state found afterwards is complete."""
    script = (
        "import sys\nfrom lethe.data.atomic import folder\n"
        "for n in range(10**6):\n"
        "    with folder(sys.argv[1]) as f:\n"
        "        (f/'lethe.json').write_text(str(n)); (f/'b').write_text(str(n))\n"
        "    print(n, flush=True)\n"
    )
    for delay in range(3):
        worker = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "out")], stdout=subprocess.PIPE)
        assert worker.stdout
        for _ in range(5 + delay):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        assert (tmp_path / "out" / "lethe.json").read_text() == (tmp_path / "out" / "b").read_text()


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    script = (
        "import sys, os, signal\nfrom lethe.data.atomic import folder, write_bytes\n"
        "write_bytes(sys.argv[1] + '/file', b'old')\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with folder(sys.argv[1] + '/out') as inside:\n"
        "    (inside / 'a').touch()\n"
        "    write_bytes(sys.argv[1] + '/file', b'new')\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    left = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".partial")
    assert [name.split(".")[1] for name in left] == ["file", "out"]
    assert (tmp_path / "file").read_bytes() == b"old"
    living = tmp_path / ".".join([*left[0].split(".")[:-3], str(os.getpid()), *left[0].split(".")[-2:]])
    living.touch()  # as of a process that is still writing
    write_bytes(tmp_path / "file", b"new")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".partial") == [living.name, left[1]]
    with folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "file", "out"]


def test_json_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    one = write_json(tmp_path / "1", {"b": np.float32(0.5), "a": (np.arange(2), Path("x"), True)}).read_bytes()
    two = write_json(tmp_path / "2", {"a": [[0, 1], "x", True], "b": 0.5}).read_bytes()
    assert one == two
    assert json.loads(one) == {"a": [[0, 1], "x", True], "b": 0.5}
    assert one.endswith(b"}\n")


def test_json_says_where_the_nan_is(tmp_path: Path) -> None:
    value = {"scores": [1.0, float("nan")], "top": np.array([np.inf])}
    with pytest.raises(ValueError, match=r"\$\.scores\[1\] is nan"):
        write_json(tmp_path / "a", value)
    with pytest.raises(TypeError, match=r"\$\.x is a set"):
        write_json(tmp_path / "a", {"x": {1}})
    assert not list(tmp_path.iterdir())
    assert json.loads(write_json(tmp_path / "a", value, nan="null").read_text()) == {"scores": [1, None], "top": [None]}
