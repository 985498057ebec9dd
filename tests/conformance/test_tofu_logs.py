"""TOFU's own recorded evaluation logs, scored again: text overlap, model utility and forget quality (arXiv 2401.06121).

The logs are those of the released models, 300 + 100 + 117 + 300 questions each.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pytest import approx
from scipy.stats import wilcoxon

from lethe.errors import InputError
from lethe.scoring import aggregate, memorization, rouge
from lethe.scoring.memorization import Mean

SETS = {
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
    "forget": "eval_log_forget.json",
}
UTILITY_SETS = ("retain", "real_authors", "world_facts")


@dataclass(frozen=True)
class Log:
    """One question set of one model, in the order of the questions."""

    gold: np.ndarray  # (N,) nats
    paraphrase: np.ndarray  # (N,) nats; on the two real sets a second pass over the gold answer
    wrong: np.ndarray  # (N, K) nats
    rouge: np.ndarray  # (N,)
    ratio: np.ndarray  # (N,)
    texts: list[tuple[str, str]]  # (generated, truth), in two logs only


@cache
def read(folder: Path, model: str) -> dict[str, Log]:
    recorded = json.loads((folder / f"evallog_{model}.json").read_text(encoding="utf-8"))

    def one(log: dict[str, dict]) -> Log:
        order = sorted(log["avg_gt_loss"], key=int)
        fields = ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss", "rougeL_recall", "truth_ratio")
        columns = [np.array([log[field][i] for i in order]) for field in fields]
        texts = log.get("generated_and_truth", {})
        return Log(*columns, texts=[tuple(texts[i]) for i in order if i in texts])

    return {name: one(recorded[file]) for name, file in SETS.items()}


@pytest.fixture
def tofu(data_dir: Path) -> Path:
    return data_dir / "tofu"


def ratios(log: Log, kind: Mean = "geometric") -> np.ndarray:
    return memorization.truth_ratio(log.paraphrase, log.wrong, kind=kind)


def utility(logs: dict[str, Log], kind: Mean, *, gold_twice: bool = False) -> float:
    components = []
    for name in UTILITY_SETS:
        log = logs[name]
        answer = log.gold if gold_twice and name != "retain" else log.paraphrase
        known = (
            memorization.probability(log.gold)
            if name == "retain"
            else memorization.option_probability(log.gold, log.wrong)
        )
        told = memorization.truth_ratio_utility_score(memorization.truth_ratio(answer, log.wrong, kind=kind))
        components += [known.mean(), log.rouge.mean(), told.mean()]
    return aggregate.harmonic_mean(components)


def pairs_of(logs: dict[str, Log]) -> tuple[list[str], list[str], np.ndarray]:
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
    logs = read(tofu, model)
    forget = logs["forget"]
    assert utility(logs, "geometric") == approx(geometric, abs=5e-7)
    assert utility(logs, "arithmetic") == approx(arithmetic, abs=5e-7)
    assert forget.rouge.mean() == approx(overlap, abs=5e-4)
    assert memorization.probability(forget.gold).mean() == approx(known, abs=5e-4)
    assert memorization.truth_ratio_forget_score(ratios(forget)).mean() == approx(told, abs=5e-4)


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


@pytest.mark.parametrize("model", ROWS)
def test_logged_truth_ratio_is_the_geometric_one(tofu: Path, model: str):
    for log in read(tofu, model).values():
        assert ratios(log) == approx(log.ratio, rel=2e-6, abs=1e-7)  # the log keeps seven decimals


@pytest.mark.parametrize(("family", "d", "p"), [("llama2-7b", 0.396667, 1.834e-21), ("phi", 0.346667, 2.19e-16)])
def test_forget_quality_and_its_invariance(tofu: Path, family: str, d: float, p: float):
    full, retain = (ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90"))
    found = aggregate.ks(full, retain)
    assert (found.d, found.p) == (approx(d, abs=5e-7), approx(p, rel=2.5e-3))
    for change in (np.reciprocal, np.log, lambda r: r / (1 + r)):
        assert aggregate.ks(change(full), change(retain)) == found
    assert aggregate.ks(retain, full) == found
    assert aggregate.ks(full, full)[:2] == (0, 1)


def test_the_arithmetic_ratio_gives_another_forget_quality(tofu: Path):
    logs = [read(tofu, f"llama2-7b_{model}")["forget"] for model in ("full", "retain90")]
    found = aggregate.ks(*(ratios(log, "arithmetic") for log in logs))
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
    full, retain = (ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90"))
    found = aggregate.ks_interval(full, retain, seed=0, paired=paired, draws=10_000)
    # D moves in steps of 1/300, the printed ends in steps of .01.
    assert found == (approx(low, abs=0.007), approx(high, abs=0.007))


@pytest.mark.parametrize(
    ("family", "d", "gap", "p"), [("llama2-7b", 0.03, 0.0041, 0.139), ("phi", 0.02, 0.0019, 0.041)]
)
def test_two_retrained_models_against_each_other(tofu: Path, family: str, d: float, gap: float, p: float):
    """The KS test is conservative on shared questions; a naive paired test rejects a valid retrain."""
    full, one, other = (
        ratios(read(tofu, f"{family}_{model}")["forget"]) for model in ("full", "retain90", "retain90_wd0")
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
    full, retain = (np.log(ratios(read(tofu, f"{family}_{model}")["forget"])) for model in ("full", "retain90"))
    assert (full - retain).mean() == approx(gap, abs=5e-4)
    assert wilcoxon(full - retain).pvalue == approx(p, rel=0.05)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_constant_added_to_every_loss_of_an_item_leaves_its_ratio(tofu: Path):
    log = read(tofu, "phi_full")["forget"]
    shift = np.linspace(-1, 1, len(log.gold))
    for kind in ("geometric", "arithmetic"):
        moved = memorization.truth_ratio(log.paraphrase + shift, log.wrong + shift[:, None], kind=kind)
        assert moved == approx(ratios(log, kind))


def test_a_collapsed_component_takes_the_utility_with_it(tofu: Path):
    logs = read(tofu, "llama2-7b_full")
    silent = Log(**{**vars(logs["retain"]), "rouge": np.zeros(300)})
    assert utility(logs | {"retain": silent}, "geometric") == 0


def test_utility_interval_holds_the_utility(tofu: Path):
    logs = read(tofu, "llama2-7b_full")
    values = []
    for name in UTILITY_SETS:
        log = logs[name]
        known = memorization.option_probability(log.gold, log.wrong)
        values.append([known, log.rouge, memorization.truth_ratio_utility_score(ratios(log))])
    values[0][0] = memorization.probability(logs["retain"].gold)
    low, high = aggregate.harmonic_interval(values, seed=0)
    assert low < 0.622677 < high
    assert 0.01 < high - low < 0.06


def test_a_paraphrase_of_no_token_is_refused():
    with pytest.raises(InputError, match="item 1"):
        memorization.mean_nll([[-0.5, -0.1], []])
