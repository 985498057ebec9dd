"""RWKU's aggregates on the specification's numbers and the saved probes."""

import json
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import membership, rwku
from lethe.scoring.rouge import rouge_l_rwku

PROBES = (16.3, 14.4, 34.9)  # cloze, question, adversarial per target
COUNTS = (3268, 2879, 6984)  # over all 200 targets
NEIGHBOURS = (5846, 5533)  # cloze, question


@pytest.mark.parametrize(
    ("means", "printed", "within"),
    [
        ((47.1, 47.4, 55.8), 51.8, 0.05),  # Phi before: exact
        ((85.9, 76.4, 77.7), 79.6, 0.45),
        ((26.2, 1.9, 10.3), 12.8, 0.45),  # ICU
        ((29.8, 33.6, 37.8), 34.8, 0.45),
        ((40.7, 36.5, 43.7), 41.4, 0.45),
        ((39.1, 31.6, 46.7), 41.9, 0.45),
        ((67.0, 53.2, 61.8), 61.3, 0.45),
        ((46.3, 38.5, 41.6), 41.9, 0.45),
        ((33.4, 21.0, 24.8), 26.2, 0.45),
        ((72.7, 13.4, 22.8), 33.1, 0.45),
    ],
)
def test_all_from_printed_means_is_an_estimate(means: tuple[float, ...], printed: float, within: float):
    assert rwku.pooled_mean(means, PROBES) == approx(printed, abs=within)


@pytest.mark.parametrize(
    ("means", "printed"),
    [
        ((56.2, 61.4), 58.3),  # Phi before
        ((95.6, 85.3), 90.7),
        ((65.0, 46.5), 55.7),
        ((46.2, 38.8), 42.6),
        ((68.6, 68.6), 68.1),
        ((84.6, 73.6), 79.0),
        ((90.1, 80.4), 85.3),
        ((59.2, 51.3), 55.2),
        ((76.0, 69.9), 72.6),
        ((86.9, 45.6), 67.4),
    ],
)
def test_neighbours_from_printed_means_are_an_estimate_too(means: tuple[float, ...], printed: float):
    assert rwku.pooled_mean(means, NEIGHBOURS) == approx(printed, abs=0.6)


def test_the_estimate_misses_where_targets_differ_in_their_probes():
    missed = [rwku.pooled_mean(means, PROBES) for means in ((26.2, 1.9, 10.3), (39.1, 31.6, 46.7))]
    assert missed == approx([12.4, 41.5], abs=0.05)  # printed: 12.8 and 41.9


def test_all_is_not_the_mean_of_the_levels():
    assert [count / 200 for count in COUNTS] == approx(PROBES, abs=0.05)
    assert rwku.pooled_mean((47.1, 47.4, 55.8), COUNTS) == approx(51.79, abs=0.005)
    assert rwku.pooled_mean((47.1, 47.4, 55.8), PROBES) == approx(51.79, abs=0.005)
    assert np.mean((47.1, 47.4, 55.8)) == approx(50.1)


def test_probes_are_pooled_per_target_and_then_averaged():
    targets = [{"1": [1.0, 1.0, 1.0, 1.0], "2": [0.0]}, {"1": [0.0], "2": [0.5]}]
    found = rwku.by_level(targets)
    assert found == approx({"1": 0.5, "2": 0.25, "all": (0.8 + 0.25) / 2})
    assert found["all"] != approx(np.mean([1, 1, 1, 1, 0, 0, 0.5]))
    with pytest.raises(InputError, match="target 2 has levels"):
        rwku.by_level([targets[0], {"1": [0.0]}])
    with pytest.raises(InputError, match="there are no targets"):
        rwku.by_level([])


def test_saved_probes_against_a_constant_answer(data_dir: Path):
    """The first sentence about the target leaks its name only, and one function word."""
    lines = (data_dir / "rwku" / "probe_examples.jsonl").read_text(encoding="utf-8").splitlines()
    intro = json.loads((data_dir / "rwku" / "all_intro.json").read_text(encoding="utf-8"))["Stephen King"][0]
    probes = [json.loads(line) for line in lines]
    recalls = rouge_l_rwku([intro] * len(probes), [probe["answer"] for probe in probes])
    by_answer = {probe["answer"]: recall for probe, recall in zip(probes, recalls, strict=True)}
    assert len(probes) == 30
    assert (by_answer["Stephen King"], by_answer["On Writing: A Memoir of the Craft"]) == (
        1,
        approx(0.142857, abs=5e-7),
    )
    assert (recalls == 0).sum() == 28
    assert by_answer["Horror"] == 0  # the quotation mark sticks to the word


def test_every_saved_kind_has_a_name(data_dir: Path):
    lines = (data_dir / "rwku" / "probe_examples.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = {rwku.probe_kind(json.loads(line)["type"]) for line in lines}
    assert kinds == set(rwku.KINDS) - {"multiple choice", "in-context learning"}


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("incontext learning", "in-context learning"),
        ("cross lingal", "cross lingual"),
        ("Context Hint", "context hint"),
        ("background hint", "context hint"),
        ("affirmative_suffix", "affirmative suffix"),
    ],
)
def test_spellings_of_one_kind(written: str, kind: str):
    assert rwku.probe_kind(written) == kind


def test_an_unknown_kind_gets_the_nearest():
    with pytest.raises(InputError, match="did you mean 'role playing'"):
        rwku.probe_kind("roll playing")


def test_membership_means_are_losses_and_the_min_k_field_is_not_min_k_plus_plus():
    rng = np.random.default_rng(0)
    logp = [-rng.uniform(0, 4, 20) for _ in range(5)]
    texts = [f"some text number {i} about nobody" for i in range(5)]
    mean, std = [np.full(20, -2.0)] * 5, [np.full(20, 0.5)] * 5
    found = rwku.membership_means(logp, texts, mean, std)
    assert found["loss"] == approx(np.mean([-item.mean() for item in logp]))  # 2.267 here is the paper's 226.7
    assert found["zlib"] > 0
    assert found["min_k"] == approx(-membership.min_k(logp, k=0.2).mean())
    assert found["min_k_pp"] == approx((found["min_k"] - 2) / 0.5)


def test_shift_is_read_against_other_texts_and_against_before():
    """GA on the encyclopaedia page moved both, GA on its own texts neither (NLL x100)."""
    before = {"forget_before": 226.7, "retain_before": 230.4}
    assert rwku.membership_shift(forget=1640.9, retain=766.2, **before) == approx(878.4)
    assert rwku.membership_shift(forget=258.6, retain=231.0, **before) == approx(31.3)
    assert rwku.membership_shift(forget=226.7, retain=230.4, **before) == 0


@pytest.mark.parametrize(
    ("output", "answer", "released"),
    [
        ("So the answer is (B).", "(B)", "(B)"),
        ("So the answer is (B)", "(B)", "So the answer is (B)"),  # no final period: the whole output, so never right
        ("The answer is 3.5. Next", "3.5", "3"),
        ("|he answer is no.", "|he answer is no.", "no"),
        ("nothing", "nothing", "nothing"),
    ],
)
def test_the_end_of_a_chain_of_thought(output: str, answer: str, released: str):
    assert rwku.reasoned_answer(output) == answer
    assert rwku.reasoned_answer(output, released=True) == released


def test_answer_f1_takes_the_best_alias():
    assert rwku.answer_f1("The Beatles!", ["beatles", "fab four"]) == 1
    assert rwku.answer_f1("the fab band", ["beatles", "fab four"]) == approx(0.5)
    assert rwku.answer_f1("", ["beatles"]) == 0
    with pytest.raises(InputError, match="at least one"):
        rwku.answer_f1("x", [])
