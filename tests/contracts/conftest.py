"""The package that CONTRIBUTING.md describes, installed as a user would install it."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="session")
def examples() -> dict[str, str]:
    """The code blocks of CONTRIBUTING.md that have a file name, by that name."""
    return dict(re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```', GUIDE.read_text(encoding="utf-8"), re.S | re.M))


@pytest.fixture(scope="session")
def site(examples: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the search path that holds the examples as an installed package."""
    modules = {Path(title).name: code for title, code in examples.items() if title.endswith(".py")}
    return installed("lethe_example", modules, examples["pyproject.toml"], tmp_path_factory)


def installed(name: str, modules: Mapping[str, str], pyproject: str, factory: pytest.TempPathFactory) -> Path:
    """Build a package of these modules and let pip install it into a folder of its own."""
    source, target = factory.mktemp(name), factory.mktemp("site")
    (source / name).mkdir()
    (source / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    for file, code in {"__init__.py": "", **modules}.items():
        (source / name / file).write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run(command, check=True)
    return target
