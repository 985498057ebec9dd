"""Multiple choice: the prompt byte for byte, published arithmetic, and scorers whose accuracy is known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import InputError
from lethe.scoring.multiple_choice import (
    LETTERS,
    by_item,
    calibrated,
    chance_floor,
    hits,
    letter_prior,
    letter_prompt,
    over_chance,
    predicted,
    rotated,
    standard_error,
    text_prompt,
)

ITEMS = 200


def test_the_prompt_is_the_published_one_byte_for_byte():
    """The question is stripped, the choices are not; a blank line after the description, nothing after Answer:."""
    prompt = letter_prompt("biology", "  Which moss sings? ", ["Red ", " Blue", "Green", "None"])
    assert prompt == (
        "The following are multiple choice questions (with answers) about biology.\n\n"
        "Which moss sings?\nA. Red \nB.  Blue\nC. Green\nD. None\nAnswer:"
    )
    assert text_prompt("biology", " Which moss sings?") == (
        "The following are multiple choice questions (with answers) about biology.\n\nWhich moss sings?\nAnswer:"
    )
    with pytest.raises(InputError, match="offers 3 choices"):
        letter_prompt("biology", "Which?", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("right", "n", "accuracy", "error"),
    [(393, 1273, 0.3087, 0.01295), (557, 1987, 0.2803, 0.01008), (186, 408, 0.4559, 0.02469)],
)
def test_published_accuracies_and_standard_errors(right: int, n: int, accuracy: float, error: float):
    assert right / n == pytest.approx(accuracy, abs=5e-5)
    assert standard_error(right / n, n) == pytest.approx(error, abs=5e-6)
    assert np.isnan(standard_error(1.0, 1))


def test_an_accuracy_that_guessing_cannot_reach():
    assert chance_floor(1273) == pytest.approx(0.2262, abs=5e-5)
    width = 0.25 - chance_floor(1273)
    assert width / 1.96 == pytest.approx(0.01214, abs=5e-6)
    assert width == pytest.approx(1.96 * (0.1875 / 1273) ** 0.5, abs=2e-6)  # n, not n - 1
    assert over_chance([0.25, 1.0, 0.0]) == pytest.approx([0, 1, -1 / 3])


def exam(seed: int) -> tuple[list[list[str]], np.ndarray]:
    """Items whose choices have four lengths, drawn apart from the key, and no two of them equal."""
    rng = np.random.default_rng(seed)
    lengths = [rng.choice(np.arange(3, 30), 4, replace=False) for _ in range(ITEMS)]
    return [["x" * length for length in row] for row in lengths], rng.integers(4, size=ITEMS)


@pytest.mark.parametrize("seed", range(3))
def test_scorers_whose_accuracy_is_known(seed: int):
    choices, key = exam(seed)
    length = np.array([[len(choice) for choice in row] for row in choices], dtype=float)
    truth = np.eye(4)[key]
    assert hits(length, key).mean() == pytest.approx(0.25, abs=0.06)
    assert hits(np.zeros((ITEMS, 4)), key).mean() == np.mean(key == 0)  # equal scores: the first letter
    assert hits(truth, key).mean() == 1.0


@given(st.integers(0, 2**31), st.integers(0, 3))
def test_a_scorer_that_reads_texts_does_not_mind_their_order(seed: int, turn: int):
    choices, key = exam(seed)
    row, answer = choices[0], int(key[0])
    moved, place = rotated(row, answer, turn)
    assert moved[place] == row[answer]
    assert sorted(moved) == sorted(row)
    one, other = (hits([[len(choice) for choice in some]], [k]) for some, k in ((row, answer), (moved, place)))
    assert one == other


def test_between_two_equal_choices_the_order_decides():
    choices = ["moss", "fern", "ivy", "ash"]
    moved, place = rotated(choices, 1, 1)
    assert [hits([list(map(len, row))], [k])[0] for row, k in ((choices, 1), (moved, place))] == [0, 1]


def test_four_rotations_put_the_right_choice_in_every_place():
    turns = [rotated("abcd", 2, turn) for turn in range(4)]
    assert {key for _, key in turns} == {0, 1, 2, 3}
    assert turns[1] == (["b", "c", "d", "a"], 1)
    first_letter = [hits(np.zeros((1, 4)), [key])[0] for _, key in turns]
    assert by_item(first_letter, ["a"] * 4) == pytest.approx([0.25])


def test_a_liking_for_a_letter_is_taken_out():
    rng = np.random.default_rng(0)
    key = np.repeat(np.arange(4), 25)
    scores = np.log(0.1 + 0.4 * np.eye(4)[key]) + 0.1 * rng.normal(size=(100, 4))
    leaning = scores + np.array([0, 0, 3.0, 0])
    assert hits(scores, key).mean() > 0.95
    assert hits(leaning, key).mean() < 0.5
    assert hits(calibrated(leaning), key).mean() > 0.95
    assert letter_prior(leaning)[2] > 0.7
    assert letter_prior(np.zeros((3, 4))) == pytest.approx([0.25] * 4)


def test_items_are_averaged_in_the_order_of_their_appearance():
    assert by_item([1, 0, 1, 1], ["b", "a", "b", "a"]) == pytest.approx([1.0, 0.5])
    assert predicted([[0.0, 2.0, 2.0, 1.0]]).tolist() == [1]
    assert LETTERS == "ABCD"


@pytest.mark.parametrize(
    ("scores", "key", "told"),
    [
        (np.zeros(4), [0], "must be"),
        (np.zeros((0, 4)), [], "must be"),
        ([[0.0, np.nan]], [0], "Item 0 .* no number"),
        (np.zeros((2, 4)), [0], "2 items and 1 keys"),
        (np.zeros((2, 4)), [0, 4], "Item 1 has the key 4"),
    ],
)
def test_what_is_no_exam_is_refused(scores: object, key: object, told: str):
    with pytest.raises(InputError, match=told):
        hits(scores, key)  # pyright: ignore[reportArgumentType]
