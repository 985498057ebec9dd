"""BLEU against the package that ConceptVectors calls, on texts of every length and overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import InputError
from lethe.scoring.bleu import bleu

texts = st.lists(st.sampled_from("abcde"), max_size=9).map(" ".join)


@given(texts, texts.filter(bool))
def test_it_is_the_sentence_bleu_of_nltk_with_its_third_smoothing(output: str, truth: str):
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    expected = nltk.sentence_bleu([truth.split()], output.split(), smoothing_function=nltk.SmoothingFunction().method3)
    assert bleu([output], [truth])[0] == pytest.approx(expected, abs=1e-12)


def test_values_by_hand():
    """`the cat sat` against `the cat sat down`: all of 3, 2 and 1 n-grams match, no 4-gram; brevity exp(1 - 4/3)."""
    assert bleu(["the cat sat"], ["the cat sat down"])[0] == pytest.approx((1 / 2) ** 0.25 * 2.718281828 ** (-1 / 3))
    assert bleu(["a b c d", "", "x"], ["a b c d", "a", "a"]).tolist() == [1, 0, 0]


def test_which_of_the_two_is_the_reference_matters():
    one, other = "the baker works with Farn", "the baker works with Farn every day"
    assert bleu([one], [other])[0] != pytest.approx(bleu([other], [one])[0], abs=0.05)
    with pytest.raises(InputError, match="2 outputs but 1 truths"):
        bleu(["a", "b"], ["a"])
