"""Packages that somebody else installs: what works is there, what is broken says so and hides nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.conftest import installed
from tests.models import tiny

from lethe.registry import KINDS, names

pytestmark = pytest.mark.processes

BROKEN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "lethe-broken"
version = "0.1.0"

[project.entry-points."lethe.methods"]
needs_more = "lethe_broken.needs_more:needs_more"
undecorated = "lethe_broken.undecorated:undecorated"
nowhere = "lethe_broken.undecorated:nowhere"
npo = "lethe_broken.undecorated:undecorated"
"""
MODULES = {
    "needs_more.py": "import a_package_that_nobody_has\n",
    "undecorated.py": "def undecorated(model, request):\n    return model\n",
}


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed("lethe_broken", MODULES, BROKEN, tmp_path_factory)


def lethe(*words: str | Path, path: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    """The command, with these folders on the search path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-m", "lethe", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_works_is_listed_and_what_is_broken_says_why(site: Path, broken: Path):
    rows = told(lethe("list", "methods", "--json", path=(site, broken)))
    summaries = {row["id"]: row["summary"] for row in rows}
    assert set(names("method")) | {"max_entropy", "needs_more", "undecorated", "nowhere"} == set(summaries)
    assert summaries["max_entropy"].startswith("Maximum entropy: ")
    package = "the package lethe-broken"
    reasons = {
        "needs_more": f"{package} (lethe_broken.needs_more:needs_more) cannot be loaded (ModuleNotFoundError: ",
        "nowhere": "cannot be loaded (AttributeError: ",
        "undecorated": f"{package} (lethe_broken.undecorated:undecorated) registers 'undecorated' as a method, but",
        "npo": f"The method 'npo' comes from Lethe itself and from {package}",
    }
    for name, reason in reasons.items():
        assert reason in summaries[name]
        assert re.fullmatch(r"[^\n]+\.", summaries[name])


def test_what_is_broken_is_refused_when_it_is_asked_for(broken: Path):
    done = lethe("describe", "needs_more", path=(broken,))
    assert done.returncode == 2
    assert re.fullmatch(r"lethe: The method 'needs_more' of .* cannot be loaded .*; mend or .*\.\n", done.stderr)


def test_an_installed_method_is_described_with_its_file_and_runs(site: Path, tmp_path: Path):
    facts = told(lethe("describe", "max_entropy", "--json", path=(site,)))
    assert Path(facts["file"]) == site / "lethe_example" / "max_entropy.py"
    assert {"weight", "retain", "where", "step", "lr"} <= {option["name"] for option in facts["options"]}
    original: Any = tiny.classifier()
    original.save(tmp_path / "model")
    for name, rows in {"forget": tiny.features(4), "retain": tiny.features(8, seed=1)}.items():
        lines = [json.dumps({**row, "features": row["features"].tolist()}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = lethe(
        "unlearn", "--model", tmp_path / "model", "--forget", tmp_path / "forget.jsonl", "--retain",
        tmp_path / "retain.jsonl", "--method", "max_entropy", "--set", "weight=2", "--set", "epochs=2",
        "--where", "layers:match=head", "--out", tmp_path / "out", path=(site,),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "lethe.json").read_text(encoding="utf-8"))
    assert manifest["method"] == "max_entropy"
    assert manifest["options"]["weight"] == 2.0
    assert manifest["weights_before"] == original.fingerprint() != manifest["weights_after"]
    assert (
        0 < manifest["changed_weights"] <= sum(p.numel() for n, p in original.module.named_parameters() if "head" in n)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_installed_comes_and_goes_with_the_search_path(kind: str, site: Path, monkeypatch: pytest.MonkeyPatch):
    before = names(kind)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        assert len(set(names(kind)) - set(before)) == 1
    assert names(kind) == before
