from pathlib import Path

import pytest
from tests.report.example import costs, example

from lethe.report import write_report
from lethe.runs.results import Results


@pytest.fixture(scope="session")
def results() -> Results:
    return example()


@pytest.fixture(scope="session")
def written(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html and report.md."""
    folder = tmp_path_factory.mktemp("report")
    write_report(results, costs(results), folder)
    return folder


@pytest.fixture(scope="session")
def page(written: Path) -> str:
    return (written / "report.html").read_text(encoding="utf-8")
