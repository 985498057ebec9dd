"""What counts as giving an answer away."""

import pytest

from lethe.scoring.leaks import leaking, occurs


@pytest.mark.parametrize(
    ("said", "answer", "leaks"),
    [
        ("She was born in SELMORA, I think.", "Selmora", True),
        ("the amber-quill.", "The Amber Quill", True),
        ("a fresh start", "art", False),
        ("the Quill of Amber", "the Amber Quill", False),
        ("I do not know.", "Selmora", False),
        ("", "Selmora", False),
        ("anything", " . ", False),
        ("né à Genève", "Genève", True),
    ],
)
def test_an_answer_occurs_as_whole_words_in_order(said: str, answer: str, leaks: bool):
    assert occurs(said, answer) is leaks


def test_samples_are_counted_per_prompt():
    samples = [["Rome", "in Rome", "Ulm"], ["Rome", "", "the old Amber Quill"]]
    answers = ["Rome", "the Amber Quill"]
    assert leaking(samples, answers).tolist() == [2, 0]
    assert leaking(samples, answers, recall=0.9).tolist() == [2, 1]
    assert leaking(samples, answers, recall=0.3).tolist() == [2, 1]
