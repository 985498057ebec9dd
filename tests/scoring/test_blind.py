"""A split that can be told apart without a model is flagged, one that cannot is not."""

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.scoring.blind import BASELINES, Blind, blind_baselines
from lethe.scoring.intervals import Interval

WORDS = "river stone lamp cloud paper garden window bridge silver market harbour winter candle".split()  # noqa: SIM905


def texts(n: int, seed: int, *, year: int = 1990, length: int = 12) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) + f" in {year + int(rng.integers(0, 10))}." for _ in range(n)]


def test_one_random_split_is_clean():
    pool = texts(800, 0)
    found = blind_baselines(pool[:400], pool[400:])
    assert set(found.baselines) == set(BASELINES)
    assert found.verdict == "clean"
    assert not found.confounded


def test_chance_is_one_half_on_average():
    """Out-of-fold scores pooled as they are would lie below it."""
    areas = [
        blind.auc
        for seed in range(6)
        for blind in blind_baselines(texts(40, seed), texts(40, seed + 100), seed=seed).baselines.values()
    ]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("members", "others", "tells"),
    [
        (texts(80, 1), texts(80, 2, year=2015), {"years"}),  # the date shift of WikiMIA
        (texts(80, 1), texts(80, 2, length=20), {"length"}),
        (texts(80, 1), [text.replace("river", "ocean") for text in texts(80, 2)], {"words"}),
    ],
)
def test_a_shift_is_flagged_by_its_name(members: list[str], others: list[str], tells: set[str]):
    found = blind_baselines(members, others)
    assert found.confounded
    assert found.verdict == "confounded"
    assert tells <= {name for name, blind in found.baselines.items() if blind.verdict == "confounded"}
    assert found.baselines[found.worst].auc > 0.8


def test_texts_about_one_person_share_a_fold():
    """20 texts of each of 10 people a side: with their names in sight the classifier only recognises people."""
    rng = np.random.default_rng(0)
    people = [f"person{i}" for i in range(20)]
    owners = np.repeat(people, 20).tolist()
    said = [f"{owner} {' '.join(rng.choice(WORDS, 6))}" for owner in owners]
    blind = blind_baselines(said[:200], said[200:])
    assert blind.baselines["words"].auc > 0.95
    grouped = blind_baselines(said[:200], said[200:], groups=owners)
    assert grouped.baselines["words"].auc < 0.75


def test_a_difference_that_chance_may_have_made_is_undecided():
    assert Blind(0.65, Interval(0.45, 0.8)).verdict == "undecided"
    assert Blind(0.65, Interval(0.55, 0.75)).verdict == "confounded"
    assert Blind(0.55, Interval(0.5, 0.62)).verdict == "undecided"
    assert Blind(0.5, Interval(0.45, 0.55)).verdict == "clean"
    assert blind_baselines(texts(10, 0), texts(10, 1)).verdict != "clean"


def test_the_same_seed_gives_the_same_numbers():
    members, others = texts(30, 0), texts(30, 1)
    assert blind_baselines(members, others, seed=3) == blind_baselines(members, others, seed=3)


def test_too_few_texts_or_no_word_is_refused():
    with pytest.raises(InputError, match="only 9 texts or groups on a side; give at least 10"):
        blind_baselines(texts(9, 0), texts(20, 1))
    with pytest.raises(InputError, match="only 2 texts or groups"):
        blind_baselines(texts(20, 0), texts(20, 1), groups=["a", "b"] * 10 + list(range(20)))
    with pytest.raises(InputError, match="name one for every text"):
        blind_baselines(texts(20, 0), texts(20, 1), groups=["a"])
    with pytest.raises(InputError, match="hold no word"):
        blind_baselines(["..."] * 10, ["?!"] * 10)
