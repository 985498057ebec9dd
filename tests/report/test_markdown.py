import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.example import UNTESTED

from lethe.findings import Verdict
from lethe.report import write_report
from lethe.report.markdown import fenced, plain
from lethe.runs.results import Results


@pytest.fixture(scope="session")
def text(written: Path) -> str:
    return (written / "report.md").read_text(encoding="utf-8")


def test_the_verdict_is_the_title_and_every_method_has_its_line(results: Results, text: str):
    assert text.startswith("# None of 13 methods over 3 benchmarks reached removal; ")
    for table in results.benchmarks:
        for row in table.of_role("method"):
            assert re.search(rf"^\| {row.method} \(.*\*\*.*Not tested|^\| {row.method} \(", text, re.M)


def test_tables_are_whole(text: str):
    """Every row of a table has as many cells as its head."""
    head = 0
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (head and cells) or cells == head, line
        head = cells
    assert text.count("|---|") >= 9


def test_not_tested_is_listed(text: str):
    for identifier, reason in UNTESTED.items():
        assert text.count(f": {reason}") == 3
        assert f"- **{identifier}**" in text
    assert "Not tested: no attack was made on ga." in text


def test_there_are_no_stray_gaps(text: str):
    assert "\n\n\n" not in text
    assert text.endswith("|\n")


@pytest.mark.parametrize(
    "hostile",
    ["a | b", "<script>x</script>", "line\nbreak", "`code`", "[x](http://y)", "*a* _b_ # c", "\\| d", "```\n# x"],
)
def test_strings_are_plain_text(results: Results, tmp_path: Path, hostile: str):
    first = results.benchmarks[0]
    verdict = Verdict("removal", "suppression", "", hostile)
    rows = tuple(replace(row, verdict=verdict) if row.id == "rmu-seed1" else row for row in first.rows)
    changed = replace(results, benchmarks=(replace(first, rows=rows, note=hostile),), config={"x": hostile})
    write_report(changed, {}, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    test_tables_are_whole(text)
    prose = re.sub(r"^(`{3,})json\n.*?^\1$", "", text, flags=re.S | re.M)
    assert "<script>" not in prose
    assert plain(hostile) in prose


def test_plain_text_keeps_names_readable():
    assert plain("grad_diff at 0.5") == "grad_diff at 0.5"
    assert plain("_a_ *b*\n| c") == r"\_a\_ \*b\* \| c"


def test_a_fence_is_longer_than_any_run_within():
    assert fenced("a ```` b").splitlines()[0] == "`````"
