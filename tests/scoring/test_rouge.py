"""Our overlap against the reference implementation, and what must hold of it for every text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from rouge_score.rouge_scorer import RougeScorer

from lethe.scoring import rouge
from lethe.scoring.rouge import Part

words = st.sampled_from(["cat", "cats", "running", "run", "The", "the", "Yun-Hwa", "1984", "don't", "naïve", ".", ""])
texts = st.lists(words, max_size=12).map(" ".join)
FIELDS: dict[Part, str] = {"recall": "recall", "precision": "precision", "f1": "fmeasure"}
REFERENCE = {stem: RougeScorer(["rougeL"], use_stemmer=stem) for stem in (True, False)}


@given(texts, texts)
def test_rouge_l_is_that_of_rouge_score(output: str, truth: str):
    for stem, scorer in REFERENCE.items():
        score = scorer.score(truth, output)["rougeL"]
        for part, field in FIELDS.items():
            ours = rouge.rouge_l([output], [truth], part=part, stem=stem)
            assert ours[0] == approx(getattr(score, field), abs=1e-12)


@given(texts, texts)
def test_swapping_the_texts_swaps_recall_and_precision(output: str, truth: str):
    recall = rouge.rouge_l([output], [truth], part="recall")
    precision = rouge.rouge_l([truth], [output], part="precision")
    assert recall == precision
    assert rouge.rouge_l([output], [truth], part="f1") == rouge.rouge_l([truth], [output], part="f1")


@given(texts, texts)
def test_rwku_recall_is_a_share_and_all_of_itself(output: str, truth: str):
    assert 0 <= rouge.rouge_l_rwku([output], [truth])[0] <= 1
    assert rouge.rouge_l_rwku([truth], [truth])[0] == (1 if truth.replace(".", "") else 0)


def test_rwku_joins_what_is_said_in_several_sentences():
    truth = ["w1 w2 w3 w4 w5"]
    assert rouge.rouge_l_rwku(["w1 w2 w6 w7 w8. w1 w3 w8 w9 w5"], truth) == approx(4 / 5)  # Lin 2004, section 3.2
    assert rouge.rouge_l_rwku(["w1 w2 w6 w7 w8 w1 w3 w8 w9 w5"], truth) == approx(4 / 5)
    assert rouge.rouge_l_rwku(["w5. w4. w3. w2. w1"], truth) == 1  # order across sentences does not matter


@pytest.mark.parametrize(("output", "truth", "recall"), [("a a b", "a b a", 0.5), ("a b a", "a a b", 1.0)])
def test_rwku_breaks_ties_between_subsequences_as_the_rouge_package_does(output: str, truth: str, recall: float):
    """Both pairs have the common subsequences "a a" and "a b"; which is taken decides how many words are unique."""
    assert rouge.rouge_l_rwku([output], [truth]) == recall


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_entropy_is_not_negative_and_grows_no_further_than_the_number_of_ngrams(letters: list[str]):
    entropy = rouge.ngram_entropy([" ".join(letters)])[0]
    assert 0 <= entropy <= 5
    if len(set(letters)) == 1:
        assert entropy == 0
