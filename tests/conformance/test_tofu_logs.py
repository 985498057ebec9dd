"""TOFU's own recorded evaluation logs, scored again: text overlap, model utility and forget quality (arXiv 2401.06121).

The logs are those of the released models, 300 + 100 + 117 + 300 questions each.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pytest import approx
from scipy.stats import wilcoxon

from lethe.data.logs import AnswerLog, read_answer_logs
from lethe.data.rescore import UTILITY_SETS, rescore_tofu, score_answers, truth_ratios, utility_items
from lethe.errors import InputError
from lethe.score import Score
from lethe.scoring import aggregate, memorization, rouge
from lethe.scoring.memorization import Mean


@cache
def read(folder: Path, model: str) -> dict[str, AnswerLog]:
    return read_answer_logs(folder / f"evallog_{model}.json")


@pytest.fixture
def tofu(data_dir: Path) -> Path:
    return data_dir / "tofu"


def utility(logs: dict[str, AnswerLog], kind: Mean, *, gold_twice: bool = False) -> float:
    components = []
    for name in UTILITY_SETS:
        log = logs[name]
        if gold_twice and name != "retain":
            log = replace(log, paraphrase=log.gold)
        components += list(utility_items(log, name, kind).mean(axis=1))
    return aggregate.harmonic_mean(components)


def named(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def pairs_of(logs: dict[str, AnswerLog]) -> tuple[list[str], list[str], np.ndarray]:
    texts = [pair for log in logs.values() for pair in log.texts]
    recorded = np.concatenate([log.rouge for log in logs.values()])
    return [generated for generated, _ in texts], [truth for _, truth in texts], recorded


@pytest.mark.parametrize("model", ["llama2-7b_full", "llama2-7b_retain90"])
def test_rouge_of_every_saved_pair(tofu: Path, model: str):
    outputs, truths, recorded = pairs_of(read(tofu, model))
    assert len(outputs) == 1634 / 2
    assert np.abs(rouge.overlap("rougeL_recall.stem", outputs, truths) - recorded).max() < 1e-6


def test_the_wrong_stemmer_flag_changes_48_of_300_forget_items(tofu: Path):
    log = read(tofu, "llama2-7b_retain90")["forget"]
    outputs, truths = zip(*log.texts, strict=True)
    unstemmed = rouge.overlap("rougeL_recall", outputs, truths)
    assert (np.abs(unstemmed - log.rouge) > 1e-6).sum() == 48


ROWS = {  # utility geometric, arithmetic; forget ROUGE-L, probability, truth-ratio score
    "llama2-7b_full": (0.622677, 0.585886, 0.985, 0.991, 0.516),
    "llama2-7b_retain90": (0.613745, 0.575240, 0.408, 0.148, 0.674),
    "phi_full": (0.522074, 0.503353, 0.925, 0.928, 0.483),
    "phi_retain90": (0.531991, 0.513001, 0.428, 0.135, 0.629),
}


@pytest.mark.parametrize("model", ROWS)
def test_published_rows(tofu: Path, model: str):
    geometric, arithmetic, overlap, known, told = ROWS[model]
    scores = named(score_answers(read(tofu, model)))
    assert scores["model_utility.geometric@utility"].value == approx(geometric, abs=5e-7)
    assert scores["model_utility.arithmetic@utility"].value == approx(arithmetic, abs=5e-7)
    assert scores["rouge.rougeL_recall.stem@forget"].value == approx(overlap, abs=5e-4)
    assert scores["probability.answer@forget"].value == approx(known, abs=5e-4)
    assert scores["truth_ratio.geometric@forget"].value == approx(told, abs=5e-4)
    assert all(score.low <= score.value <= score.high for score in scores.values())


def test_a_folder_of_logs_is_scored_against_its_controls(tofu: Path):
    found = rescore_tofu(tofu, control=["llama2-7b_retain90", "llama2-7b_retain90_wd0"], rows=40)
    assert len(found) == 10
    full, control = named(found["llama2-7b_full"]), named(found["llama2-7b_retain90"])
    assert full["forget_quality.ks_d@forget"].value > control["forget_quality.ks_d@forget"].value
    assert full["forget_quality.ks_d@forget"].n == full["truth_ratio.geometric@forget"].n == 40
    assert full["forget_quality.ks_p.n40@forget"].detail["floor"] == approx(1.86e-23, rel=5e-3)
    assert len(full["forget_quality.ks_d@forget"].detail["null_d"]) == 1
    assert control["forget_quality.ks_d@forget"].detail["null_d"] == []  # read against the other control alone
    alone = rescore_tofu(tofu / "evallog_phi_full.json")
    assert list(alone) == ["phi_full"]
    assert not any(score.metric == "forget_quality" for score in alone["phi_full"])


def test_forget_quality_of_a_log(tofu: Path):
    full, retain = (read(tofu, f"llama2-7b_{model}") for model in ("full", "retain90"))
    scores = named(score_answers(full, controls=[retain]))
    assert scores["forget_quality.ks_d@forget"].value == approx(0.396667, abs=5e-7)
    assert scores["forget_quality.ks_p.n300@forget"].value == approx(1.834e-21, rel=2.5e-3)
    assert scores["rouge.rougeL_recall.stem@forget"].detail["difference_to_the_texts"] < 1e-6


def test_a_control_that_is_no_log_is_named(tofu: Path):
    with pytest.raises(InputError, match="did you mean 'phi_retain90_wd0'"):
        rescore_tofu(tofu, control=["phi_retain90_wd"])


@pytest.mark.parametrize(
    ("model", "kind", "mistaken"),
    [
        ("llama2-7b_full", "geometric", 0.6226),
        ("llama2-7b_full", "arithmetic", 0.5857),
        ("llama2-7b_retain90", "geometric", 0.6136),
        ("llama2-7b_retain90", "arithmetic", 0.5751),
    ],
)
def test_the_gold_loss_is_no_substitute_for_the_second_pass(tofu: Path, model: str, kind: Mean, mistaken: float):
    logs = read(tofu, model)
    assert utility(logs, kind, gold_twice=True) == approx(mistaken, abs=5.1e-5)
    assert utility(logs, kind) != approx(mistaken, abs=5.1e-5)


def test_the_second_pass_differs_from_the_first_by_up_to_an_eighth_of_a_nat(tofu: Path):
    logs = [read(tofu, f"llama2-7b_{model}")[name] for model in ("full", "retain90") for name in UTILITY_SETS[1:]]
    assert max(np.abs(log.paraphrase - log.gold).max() for log in logs) == approx(0.12, abs=0.005)


@pytest.mark.parametrize("model", ROWS)
def test_logged_truth_ratio_is_the_geometric_one(tofu: Path, model: str):
    for log in read(tofu, model).values():
        assert truth_ratios(log) == approx(log.ratio, rel=2e-6, abs=1e-7)  # the log keeps seven decimals


@pytest.mark.parametrize(("family", "d", "p"), [("llama2-7b", 0.396667, 1.834e-21), ("phi", 0.346667, 2.19e-16)])
def test_forget_quality_and_its_invariance(tofu: Path, family: str, d: float, p: float):
    full, retain = (truth_ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90"))
    found = aggregate.ks(full, retain)
    assert (found.d, found.p) == (approx(d, abs=5e-7), approx(p, rel=2.5e-3))
    for change in (np.reciprocal, np.log, lambda r: r / (1 + r)):
        assert aggregate.ks(change(full), change(retain)) == found
    assert aggregate.ks(retain, full) == found
    assert aggregate.ks(full, full)[:2] == (0, 1)


def test_the_arithmetic_ratio_gives_another_forget_quality(tofu: Path):
    logs = [read(tofu, f"llama2-7b_{model}")["forget"] for model in ("full", "retain90")]
    found = aggregate.ks(*(truth_ratios(log, "arithmetic") for log in logs))
    assert (found.d, found.p) == (approx(0.41), approx(6.03e-23, rel=1e-3))


@pytest.mark.parametrize(
    ("family", "paired", "low", "high"),
    [
        ("llama2-7b", True, 0.35, 0.46),
        ("llama2-7b", False, 0.34, 0.48),
        ("phi", True, 0.32, 0.41),
        ("phi", False, 0.29, 0.43),
    ],
)
def test_bootstrap_of_the_distance(tofu: Path, family: str, paired: bool, low: float, high: float):
    full, retain = (truth_ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90"))
    found = aggregate.ks_interval(full, retain, seed=0, paired=paired, draws=10_000)
    # D moves in steps of 1/300, the printed ends in steps of .01.
    assert found == (approx(low, abs=0.007), approx(high, abs=0.007))


@pytest.mark.parametrize(
    ("family", "d", "gap", "p"), [("llama2-7b", 0.03, 0.0041, 0.139), ("phi", 0.02, 0.0019, 0.041)]
)
def test_two_retrained_models_against_each_other(tofu: Path, family: str, d: float, gap: float, p: float):
    """The KS test is conservative on shared questions; a naive paired test rejects a valid retrain."""
    full, one, other = (
        truth_ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90", "retain90_wd0")
    )
    same = aggregate.ks(one, other)
    assert same.d == approx(d)
    assert same.p > 0.999
    logs = np.log(one) - np.log(other)
    assert logs.mean() == approx(gap, abs=5e-5)
    assert wilcoxon(logs).pvalue == approx(p, abs=5e-4)  # pyright: ignore[reportAttributeAccessIssue]
    against = aggregate.ks_against_null(full, [one, other])
    assert against.null == approx(d)
    assert against.ratio > 10


@pytest.mark.parametrize(("family", "gap", "p"), [("llama2-7b", -0.497, 1.3e-44), ("phi", -0.527, 3.6e-43)])
def test_paired_difference_of_target_and_control(tofu: Path, family: str, gap: float, p: float):
    full, retain = (np.log(truth_ratios(read(tofu, f"{family}_{model}")["forget"])) for model in ("full", "retain90"))
    assert (full - retain).mean() == approx(gap, abs=5e-4)
    assert wilcoxon(full - retain).pvalue == approx(p, rel=0.05)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_constant_added_to_every_loss_of_an_item_leaves_its_ratio(tofu: Path):
    log = read(tofu, "phi_full")["forget"]
    shift = np.linspace(-1, 1, len(log.gold))
    for kind in ("geometric", "arithmetic"):
        moved = memorization.truth_ratio(log.paraphrase + shift, log.wrong + shift[:, None], kind=kind)
        assert moved == approx(truth_ratios(log, kind))


def test_a_collapsed_component_takes_the_utility_with_it(tofu: Path):
    logs = read(tofu, "llama2-7b_full")
    silent = replace(logs["retain"], rouge=np.zeros(300))
    assert utility(logs | {"retain": silent}, "geometric") == 0


def test_utility_interval_holds_the_utility(tofu: Path):
    score = named(score_answers(read(tofu, "llama2-7b_full")))["model_utility.geometric@utility"]
    assert score.low < score.value < score.high
    assert 0.01 < score.high - score.low < 0.06


def test_a_paraphrase_of_no_token_is_refused():
    with pytest.raises(InputError, match="item 1"):
        memorization.mean_nll([[-0.5, -0.1], []])
