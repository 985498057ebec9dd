"""Every disagreement of published code on a same-named metric: two names, two numbers, never one column."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import memorization
from lethe.scoring.memorization import truth_ratio_forget_score
from lethe.scoring.variants import REPORTED, VARIANTS, one_variant, reported, take_apart, truth_ratio_forget_score_ou

from .test_eval_metrics import FORGET_LOSS, HOLDOUT_LOSS, LAST_WRONG, LOSS_PARA, LOSS_WRONG, NAME, SAID, TOKENS

# Arguments on which all variants of a metric differ, and the numbers that some of them must give.
WORKED: dict[str, tuple[tuple[Any, ...], dict[str, float]]] = {
    "truth_ratio": ((LOSS_PARA, LOSS_WRONG), {"arithmetic": 0.385, "geometric": 0.239088}),
    "truth_ratio_forget": (([1e4],), {"tofu": 1e-4}),
    "extraction_strength": (
        ([[False, True, False, False]],),  # nothing recited: only open-unlearning's loop gives anything, 1/n
        {"paper": 0, "ou": 1 / 4, "but_last": 0, "ou.but_last": 1 / 3},
    ),
    "exact_memorization": (([LAST_WRONG],), {"all": 0.8, "but_last": 1}),
    "min_k": (([TOKENS],), {"k0.2": -2.995732, "k0.4": -2.649159, "k0.4.but_last": -2.995732}),
    "loss": (([TOKENS],), {"nll": 1.263994, "perplexity": np.exp(1.263994)}),
    "lowercase": (([[-1.0]], [[-4.0]]), {"muse": -0.25, "detect_pretrain": 4}),
    "zlib": (([[-2.0]], ["What is the author's name?"], [NAME]), {"answer": -0.041667}),
    "reference": (([[-1.0]], [[-4.0]]), {"difference": 3, "ratio": -0.25}),
    "grad_norm": (([[3.0, 4.0]],), {"mean": -3.5, "global": -5}),
    "auc": ((-FORGET_LOSS, -HOLDOUT_LOSS), {"exposed": 0.875, "muse": 0.125}),
    "tpr_at_fpr": ((np.arange(80, 120), np.arange(100), 0.05), {"at_most": 25 / 40, "below": 24 / 40}),
    "privleak": ((0.9991, 0.5228), {"muse": -99.8114}),
}
EQUAL = {
    ("min_k", "k0.2", "k0.4.but_last"),  # one token of five, or one of four: equal on this text by chance
    ("extraction_strength", "paper", "but_last"),
}


@pytest.mark.parametrize("metric", WORKED)
def test_variants_give_the_numbers_of_their_code_bases(metric: str):
    arguments, expected = WORKED[metric]
    found = {name: float(np.squeeze(score(*arguments))) for name, score in VARIANTS[metric].items()}
    assert {name: found[name] for name in expected} == approx(expected, abs=5e-6)
    same = {(metric, *pair) for pair in combinations(found, 2) if found[pair[0]] == found[pair[1]]}
    assert same <= EQUAL


def test_every_metric_with_variants_is_worked():
    assert set(WORKED) | {"rouge"} == set(VARIANTS)


def test_overlaps_differ_pair_by_pair():
    pairs = [
        (SAID, NAME),
        ("run dog", "running dogs"),
        ("stephen king", "Stephen King"),
        ("the cat the", "the the the"),
    ]
    rows = [tuple(score(*map(list, zip(*pairs, strict=True)))) for score in VARIANTS["rouge"].values()]
    assert len(set(rows)) == len(rows)


def test_a_divisor_with_an_epsilon_differs_where_the_ratio_is_0_or_tiny():
    assert truth_ratio_forget_score_ou([0.0]) == truth_ratio_forget_score([0.0]) == 0
    ratios = np.array([0.2, 0.5, 1, 2, 4])
    assert truth_ratio_forget_score_ou(ratios).mean() == approx(0.49)
    unsure = VARIANTS["truth_ratio"]
    tiny = ([25.0], [[25.0, 25.0]])  # right and wrong answers of probability 1e-11
    assert unsure["geometric"](*tiny) == approx(1)
    assert unsure["geometric.ou"](*tiny) < 0.15  # the epsilon is larger than the probability


@pytest.mark.parametrize("code_base", REPORTED)
def test_what_a_code_base_reports_exists(code_base: str):
    assert all(variant in VARIANTS[metric] for metric, variant in REPORTED[code_base].items())


def test_who_reports_what():
    assert reported("tofu", "truth_ratio") != reported("tofu.utilities", "truth_ratio")
    assert reported("muse_bench", "auc") != reported("open-unlearning", "auc")
    assert len({reported(base, "rouge") for base in ("tofu", "muse_bench", "open-unlearning.muse", "rwku")}) == 4
    with pytest.raises(InputError, match="did you mean 'muse_bench'"):
        reported("musebench", "rouge")
    with pytest.raises(InputError, match="reports no 'rogue', did you mean 'rouge'"):
        reported("rwku", "rogue")


@pytest.mark.parametrize(
    "names",
    [
        ("rouge.rougeL_recall.stem@forget", "rouge.rougeL_f1@forget"),
        ("model_utility.geometric@utility", "model_utility.arithmetic@utility"),
        ("membership.loss@forget", "membership.loss@retain"),
        ("membership.loss@forget", "membership@forget"),
        ("rouge.rougeL_f1@forget", "rouge.rougeL_f1.stem@forget"),
    ],
)
def test_a_column_of_two_variants_is_refused(names: tuple[str, str]):
    assert all(one_variant([name, name]) == take_apart(name) for name in names)
    for order in (names, names[::-1]):
        with pytest.raises(InputError, match="a column of its own") as refused:
            one_variant(order)
        assert f"column of {order[0]}: {order[1]} " in str(refused.value)


def test_names_are_taken_apart_at_the_first_dot():
    assert take_apart("rouge.rougeL_recall.stem@forget") == ("rouge", "rougeL_recall.stem", "forget")
    assert take_apart("fluency@forget") == ("fluency", "", "forget")
    for name in ("rouge", "@forget", "rouge@"):
        with pytest.raises(InputError, match="no qualified name"):
            take_apart(name)
    with pytest.raises(InputError, match="no numbers"):
        one_variant([])


def test_answers_of_one_token_have_none_without_their_last():
    hits = [[True], [True, True, False]]
    assert memorization.exact_memorization(hits, but_last=True).tolist() == [1]  # skipped
    assert memorization.extraction_strength(hits, but_last=True).tolist() == [0, 1]  # 0
    assert memorization.extraction_strength(hits, ou_compat=True, but_last=True).tolist() == [0, 1]
    with pytest.raises(InputError, match="every item has one token"):
        memorization.exact_memorization([[True], [False]], but_last=True)
