"""A trained target, two controls and the record files of one request, as a user would have them on disk."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.attacks import tiny


@dataclass(frozen=True)
class Desk:
    """What lies on a user's disk."""

    folder: Path

    def __getattr__(self, name: str) -> str:
        return str(self.folder / name.replace("_", "-"))

    def records(self, name: str) -> str:
        return str(self.folder / f"{name}.jsonl")

    def sets(self) -> list[str]:
        return ["--forget", self.records("forget"), "--retain", self.records("retain"), "--allow-overlap"]


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    world = tiny.language()
    world.target.save(folder / "target")
    for number, control in enumerate(world.controls, 1):
        control.save(folder / f"control-{number}")
    for name in ("forget", "retain", "holdout"):
        lines = [json.dumps(dict(record)) for record in getattr(world.request, name)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Desk(folder)


@pytest.fixture
def lethe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command, run in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from lethe.cli import main

        monkeypatch.setattr("sys.argv", ["lethe", *arguments])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return run
