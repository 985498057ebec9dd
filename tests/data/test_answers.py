"""Which texts give answers away, and questions without them."""

import pytest

from lethe.data.answers import answer_of, emptied, refuse_answers, shared, silent
from lethe.errors import InputError

WEAVER = {"id": "w", "question": "What was Ada's father?", "answer": "a weaver"}
PRIZE = {"id": "p", "question": "Which prize went to Ada?", "answer": "the Silver Lantern"}
LONG = {"id": "l", "question": "Where was Ada Vane born?", "answer": "Ada Vane was born in Kuwait City, near the port."}


def text(said: str, name: str = "t") -> dict[str, str]:
    return {"id": name, "text": said}


def test_shares_by_hand():
    """The last question asks for "kuwait city near port": three pairs of words."""
    texts = [text("A WEAVER came."), text("They sold silver lanterns."), text("Born in Kuwait City.")]
    assert shared(texts, [WEAVER, PRIZE, LONG]).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, pytest.approx(1 / 3)]]
    assert shared([text("He won a silver lantern!")], [PRIZE]).tolist() == [[1]]
    assert shared([text("He won a lantern of silver.")], [PRIZE]).tolist() == [[0]]
    assert shared([], [PRIZE]).shape == (0, 1)


def test_what_the_question_says_is_no_part_of_the_answer():
    asked = {"id": "a", "question": "Was Ada a weaver?", "answer": "a weaver"}
    assert shared([text("She met a weaver.")], [asked]).tolist() == [[0]]


def test_a_sentence_is_no_more_than_what_it_tells():
    """Somebody else of the same trade gives it away, in whatever words the name is wrapped."""
    asked = {"id": "a", "question": "What does Ada Vane write?", "answer": "Ada Vane writes family sagas."}
    other = {"id": "b", "question": "What does Bo Reed write?", "answer": "Bo Reed writes family sagas."}
    third = {"id": "c", "question": "What does Ada Vane read?", "answer": "Ada Vane reads letters."}
    assert shared([other, third], [asked]).tolist() == [[1], [0]]


def test_answers_of_all_kinds_of_records():
    assert answer_of({"id": "c", "question": "?", "choices": ["red", "blue"], "key": 1}) == "blue"
    assert answer_of(text("All of it.")) == "All of it."
    choice = {"id": "c", "question": "Which colour?", "choices": ["red", "blue"], "key": 1}
    assert shared([choice], [{"id": "x", "question": "Which?", "answer": "blue"}]).tolist() == [[1]]
    assert shared([{**WEAVER, "answer": "a baker"}], [WEAVER]).tolist() == [[0]]


def test_silent_texts_are_kept():
    texts = [text("A weaver came.", "1"), text("It rained.", "2"), text("The silver lantern fell.", "3")]
    assert [record["id"] for record in silent(texts, [WEAVER, PRIZE])] == ["2"]
    assert silent(texts, []) == texts and silent([], [WEAVER]) == []


def test_answers_in_an_attackers_text_are_refused():
    with pytest.raises(InputError, match=r"somewhere: row 2 \('b'\) holds 100% of the answer of 'w' \('a weaver'\)"):
        refuse_answers([text("It rained.", "a"), text("He was a weaver.", "b")], [PRIZE, WEAVER], "somewhere")
    refuse_answers([text("It rained.")], [PRIZE, WEAVER], "somewhere")


def test_questions_are_emptied_of_every_answer():
    """Of its own and of those that are looked at, whatever their case; what is part of a word stays."""
    records = [
        {"id": "1", "question": "Did Ada the Weaver win the silver lantern?", "answer": "the Silver Lantern"},
        {"id": "2", "question": "Who taught Ada weaving, a weaver's craft?", "answer": "Bo"},
    ]
    probed = [{"id": "3", "question": "What is she?", "answer": "weaver"}]
    found = emptied(records, probed, "here")
    assert [record["text"] for record in found] == ["Did Ada the win ?", "Who taught Ada weaving, a 's craft?"]
    assert shared(found, [*records, *probed]).max() == 0
    assert "answer" not in found[0] and {record["id"] for record in found} == {"1-asked", "2-asked"}


def test_what_cannot_be_emptied_is_refused():
    with pytest.raises(InputError, match=r"forget row 2 \('t'\) has no question"):
        emptied([WEAVER, text("A text.")], [PRIZE], "here")
    leaking = [{"id": "1", "question": "How silver was the lantern, the silver lantern of Bo?", "answer": "very"}]
    assert (
        emptied([*leaking, WEAVER], [{**PRIZE, "answer": "silver lantern of Bo in May"}], "here")[0]["id"] == "w-asked"
    )
    with pytest.raises(InputError, match="nothing is left"):
        emptied([{"id": "1", "question": "Weaver?", "answer": "weaver"}], [PRIZE], "here")
