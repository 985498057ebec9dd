"""Familiarity of a text, by the names that only it knows."""

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.scoring.familiarity import completion_familiarity, probability_familiarity

TERMS = ("Zorvax", "Quillheim", "Zorvax of Quillheim")


def test_a_completion_leaks_repeats_or_says_nothing():
    prompts = ["Zorvax went to"] * 5
    completions = ["Quillheim.", "and Zorvax slept.", "the village.", "Quillheims", "meet Zorvax of Quillheim"]
    assert completion_familiarity(prompts, completions, TERMS).tolist() == [1, 0.2, 0, 0, 1]


def test_probability_of_the_specific_tokens():
    logp = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert probability_familiarity(logp, [0, 2, 0]) == pytest.approx([0.75, 0.9])


def test_mistakes():
    for prompts, completions, terms in ((["a"], [], TERMS), ([], [], TERMS), (["a"], ["b"], ())):
        with pytest.raises(InputError, match="give one completion per prompt"):
            completion_familiarity(prompts, completions, terms)
    for ids in ([], [3], [-1]):
        with pytest.raises(InputError, match="a vocabulary of 3"):
            probability_familiarity(np.zeros((1, 3)), ids)
