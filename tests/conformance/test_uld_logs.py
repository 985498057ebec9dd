"""The evaluation logs that ULD ships, scored again to their authors' own last digit (arXiv 2406.08607)."""

import csv
from functools import cache
from pathlib import Path

import pytest
from pytest import approx

from lethe.data.logs import AnswerLog, read_answer_logs
from lethe.data.rescore import rescore_tofu, score_answers, truth_ratios
from lethe.scoring import aggregate

PUBLISHED = {  # the authors' column -> ours
    "Retain ROUGE": "rouge.rougeL_recall.stem@retain",
    "Retain Probability": "probability.answer@retain",
    "Retain Truth Ratio": "truth_ratio.geometric@retain",
    "Real Authors ROUGE": "rouge.rougeL_recall.stem@real_authors",
    "Real Authors Probability": "probability.options@real_authors",
    "Real Authors Truth Ratio": "truth_ratio.geometric@real_authors",
    "Real World ROUGE": "rouge.rougeL_recall.stem@world_facts",
    "Real World Probability": "probability.options@world_facts",
    "Real World Truth Ratio": "truth_ratio.geometric@world_facts",
    "Forget ROUGE": "rouge.rougeL_recall.stem@forget",
    "Forget Probability": "probability.options@forget",
    "Forget Truth Ratio": "truth_ratio.geometric@forget",
    "Model Utility": "model_utility.geometric@utility",
}


@pytest.fixture
def uld(data_dir: Path) -> Path:
    return data_dir / "uld"


@cache
def read(folder: Path, model: str) -> dict[str, AnswerLog]:
    return read_answer_logs(folder / f"{model}_eval_log_aggregated.json")


@pytest.mark.parametrize(
    ("model", "table", "utility"),
    [
        ("retain90_llama", "retain90_llama_aggregated_stat.csv", 0.6203436494291608),
        ("retain99_phi", "retain99_phi_aggregate_stat.csv", 0.5202691368576465),
    ],
)
def test_every_published_column(uld: Path, model: str, table: str, utility: float):
    with (uld / table).open(encoding="utf-8") as file:
        published = next(csv.DictReader(file))
    found = {score.name: score.value for score in score_answers(read(uld, model))}
    for theirs, ours in PUBLISHED.items():
        assert found[ours] == approx(float(published[theirs]), rel=1e-12), theirs
    assert found["model_utility.geometric@utility"] == approx(utility, abs=1e-15)


@pytest.mark.parametrize(
    ("model", "variant", "utility"),
    [
        ("retain90_llama", "arithmetic", 0.5821921780),
        ("retain99_phi", "arithmetic", 0.5006621757),
        ("retain90_phi", "geometric", 0.5242519),
    ],
)
def test_the_other_utilities(uld: Path, model: str, variant: str, utility: float):
    found = {score.name: score.value for score in score_answers(read(uld, model))}
    assert found[f"model_utility.{variant}@utility"] == approx(utility, abs=5e-8)


def test_plain_forget_probability_is_another_column(uld: Path):
    found = {score.name: score.value for score in score_answers(read(uld, "retain90_llama"))}
    assert found["probability.answer@forget"] == approx(0.1436160, abs=5e-8)
    assert found["probability.options@forget"] == approx(0.3636143, abs=5e-8)


@pytest.mark.parametrize(
    ("one", "other", "p", "sizes"),
    [
        ("retain90_llama", "retain90_phi", 0.121227, (300, 300)),
        ("retain90_phi", "retain99_phi", 0.867321, (300, 40)),
    ],
)
def test_one_distance_and_two_p_values(uld: Path, one: str, other: str, p: float, sizes: tuple[int, int]):
    found = aggregate.ks(*(truth_ratios(read(uld, model)["forget"]) for model in (one, other)))
    assert (found.d, found.p) == (approx(0.0966667, abs=5e-8), approx(p, abs=5e-7))
    assert (found.n_a, found.n_b) == sizes


def test_logs_of_other_questions_are_resampled_apart(uld: Path):
    found = rescore_tofu(uld, control=["retain99_phi"])
    assert sorted(found) == ["retain90_llama", "retain90_phi", "retain99_phi"]
    quality = {score.name: score for score in found["retain90_phi"]}["forget_quality.ks_d@forget"]
    assert quality.value == approx(0.0966667, abs=5e-8)
    assert "apart" in quality.detail["interval"]
    assert quality.detail["n_control"] == 40
