import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.example import costs

from lethe.errors import InputError
from lethe.report import load_folder, write_report
from lethe.runs.results import Results

ROOT = Path(__file__).parents[2]


def test_results_without_costs_are_read(results: Results, tmp_path: Path):
    results.save(tmp_path)
    loaded, expenses = load_folder(tmp_path)
    assert expenses == {}
    assert loaded.title == results.title
    assert [row.id for row in loaded.benchmarks[0].rows] == [row.id for row in results.benchmarks[0].rows]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("results.json", None, "no such file"),
        ("results.json", b'{"schema": 1, "ben', "could not be read as JSON"),
        ("results.json", b"\xff\xfe{}", "could not be read as JSON"),
        ("results.json", b"[]", "holds a list"),
        ("results.json", b'{"schema": 99}', "is of schema 99"),
        ("results.json", b'{"schema": 1, "title": "t"}', "is not a complete results file"),
        ("cost.json", b'{"a/b": {"seconds": 1}}', "every row needs seconds and peak_memory_mib"),
        ("cost.json", b'{"a/b": 3}', "every row needs seconds and peak_memory_mib"),
    ],
)
def test_a_damaged_folder_is_one_sentence(
    results: Results, tmp_path: Path, name: str, content: bytes | None, told: str
):
    results.save(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as raised:
        load_folder(tmp_path)
    assert str(tmp_path / name) in str(raised.value)


def test_a_report_that_cannot_be_written_leaves_the_old_one(results: Results, tmp_path: Path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html"):
        write_report(replace(results, benchmarks=()), {}, tmp_path)
    assert not list(tmp_path.glob(".*partial"))


def test_costs_reach_their_rows(results: Results, written: Path):
    page = (written / "report.html").read_text(encoding="utf-8")
    known = costs(results)["shop/reverse_bpr-seed1"]
    table = page[page.index('aria-label="Cost of shop') :]
    row = table[table.index("reverse_<wbr>bpr") :]
    assert f"{known.seconds:.1f}" in row[: row.index("</tr>")]
    assert f"{known.peak_memory_mib:.0f}" in row[: row.index("</tr>")]
    control = table[table.index(">control") :]
    assert control[: control.index("</tr>")].count("–") == 2  # its cost was not measured


def test_the_templates_are_in_the_wheel(tmp_path: Path):
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    templates = {path.name for path in (ROOT / "src/lethe/report/templates").iterdir()}
    assert templates
    assert {f"lethe/report/templates/{name}" for name in templates} <= packed


def test_the_stored_numbers_are_plain_json(results: Results, tmp_path: Path):
    """No NaN in the file: `ga` has one in memory."""
    path = results.save(tmp_path)
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(f"{word} in results.json"))
