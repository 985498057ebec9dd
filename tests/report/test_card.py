import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from tests.report.example import UNTESTED

from lethe.report import write_model_card
from lethe.runs.results import BenchmarkResult, Results, Row

MANIFEST: dict[str, Any] = {
    "method": "rmu",
    "options": {"lr": 1e-3, "where": "layers:match=layers\\.[567]"},
    "seed": 1,
    "request": {"fingerprint": "f" * 64, "forget": 40},
    "original": "some-org/some-model",
    "weights_before": "a" * 64,
    "weights_after": "b" * 64,
    "changed_weights": 431_232,
    "total_weights": 431_232,
    "environment": {"torch": "2.13.0"},
}


@pytest.fixture
def found(results: Results) -> tuple[Row, BenchmarkResult]:
    table = results.benchmarks[0]
    return next(row for row in table.rows if row.id == "rmu-seed1"), table


def written(folder: Path, manifest: dict[str, Any], *found: Any) -> tuple[str, dict[str, Any]]:
    row, table = found or (None, None)
    path = write_model_card(folder, manifest, row=row, benchmark=table)
    assert path.name == "README.md"
    text = path.read_text(encoding="utf-8")
    return text, yaml.safe_load(text.split("---\n")[1])


def test_the_hubs_own_reader_understands_it(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    folder = tmp_path / "authors-rmu"
    written(folder, {**MANIFEST, "license": "Apache-2.0"}, *found)
    data: Any = ModelCard.load(folder / "README.md").data
    assert data.base_model == "some-org/some-model"
    assert data.license == "apache-2.0"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    assert {"lethe", "machine-unlearning", "rmu", "language"} <= set(data.tags or ())
    results = data.eval_results
    assert results
    by_name = {result.metric_name: result for result in results}
    for score in found[0].scores:
        assert by_name[score.name].metric_value == score.value
        assert by_name[score.name].dataset_split == "forget10"
    assert by_name["distance.kl@forget"].metric_args["control"] == pytest.approx(0.21, abs=0.01)


def test_every_attacker_has_a_line_with_what_was_not_tested(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    text, _ = written(tmp_path, MANIFEST, *found)
    lines = [line for line in text.splitlines() if line.startswith(("| api: ", "| weights: ", "| insider: "))]
    assert len(lines) == 3
    assert all("R1" in line.split(" | ")[-1] for line in lines)
    bare, _ = written(tmp_path, MANIFEST, replace(found[0], recoveries=()), found[1])
    assert [line.split(" | ")[1] for line in bare.splitlines() if line.startswith("| api: ")] == ["not tested"]


def test_what_is_not_known_is_left_out(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    row, table = found
    unknown = replace(row, scores=(replace(row.scores[0], value=float("nan")),))
    _, data = written(tmp_path / "m", {"method": "rmu"}, unknown, table)
    assert set(data) == {"library_name", "pipeline_tag", "tags"}


def test_a_folder_of_this_machine_is_no_base_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "out" / "target").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for local in ("out/target", "/somewhere/target", "../target", ""):
        _, data = written(tmp_path / "m", {**MANIFEST, "original": local})
        assert "base_model" not in data


def test_verdict_control_and_what_was_not_tested_are_told(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    text, _ = written(tmp_path / "m", MANIFEST, *found)
    body = text.split("---\n", 2)[2]
    assert "**suppression**: Knowledge returned under int4 quantisation" in body.split("## Verdict")[0]
    for identifier, reason in UNTESTED.items():
        assert f"- **{identifier}**" in body
        assert reason in body
    assert "| distance.kl@forget, nats/token | ↓ lower |" in body
    assert "b" * 64 in body


def test_a_model_that_was_not_audited_says_so(tmp_path: Path):
    text, data = written(tmp_path / "m", MANIFEST)
    assert "**Not audited**" in text
    assert text.count("no check of this class was made") == 5
    assert "model-index" not in data
    assert "forgotten" not in text.replace("never as forgotten", "")


def test_a_row_without_attacks_says_that_recovery_is_unknown(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    text, _ = written(tmp_path / "m", MANIFEST, replace(found[0], recoveries=()), found[1])
    assert "No attack was made on this model" in text


@pytest.mark.parametrize("name", ["plain", "it's: a #name", "---", "a\nb: c"])
def test_any_folder_name_gives_valid_front_matter(tmp_path: Path, found: tuple[Row, BenchmarkResult], name: str):
    write_model_card(tmp_path / name, MANIFEST, row=found[0], benchmark=found[1])
    content = ModelCard.load(tmp_path / name / "README.md").content
    front = yaml.safe_load(content[4 : content.index("\n---\n", 4)])
    assert front["model-index"][0]["name"] == name


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, found: tuple[Row, BenchmarkResult]):
    first, _ = written(tmp_path / "m", MANIFEST, *found)
    second, _ = written(tmp_path / "m", json.loads(json.dumps(MANIFEST, sort_keys=True)), *found)
    assert first == second
