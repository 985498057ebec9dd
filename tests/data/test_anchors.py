"""Anchored terms: translation, alignment, and what is found where no dictionary is given."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.data.anchors import aligned, check_anchors, check_occur, find_anchors, read_anchors, translate
from lethe.errors import InputError
from lethe.worlds import saga

TEXT = "Zorvax went to Quillheim . Zorvax slept"
TERMS = {"Zorvax": "John", "Quillheim": "the village"}


def word_ends(text: str) -> list[int]:
    """One token per word: where each ends."""
    return [
        sum(map(len, words)) + len(words) - 1 for n in range(len(text.split())) for words in [text.split()[: n + 1]]
    ]


def test_the_last_token_of_a_name_has_the_last_of_its_counterpart():
    made = translate(TEXT, TERMS)
    assert made.text == "John went to the village . John slept"
    assert aligned(word_ends(TEXT), word_ends(made.text), made) == [0, 1, 2, 4, 5, 6, 7]


def test_inside_a_name_nothing_corresponds():
    made = translate(TEXT, TERMS)
    ends = [3, 6, 11, 14, 19, 24, 26, 33, 39]  # Zor|vax| went| to| Quil|lheim| .| Zorvax| slept
    assert aligned(ends, word_ends(made.text), made) == [None, 0, 1, 2, None, 4, 5, 6, 7]


def test_tokens_that_share_an_end_count_once():
    made = translate("é a", {})
    assert aligned([2 - 1, 1, 3], [1, 1, 3], made) == [None, 1, 2]


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("Zorvax's ring", "John's ring"),
        ("ZORVAX!", "John!"),
        ("Zorvaxian", "Zorvaxian"),
        ("zorvax", "zorvax"),
        ("Zorvax of Quillheim, Zorvax", "the king, John"),
    ],
)
def test_whole_words_and_the_longest_first(text: str, translated: str):
    assert translate(text, {**TERMS, "Zorvax of Quillheim": "the king"}).text == translated


@given(st.lists(st.sampled_from(["Zorvax", "Quillheim", "went", "to", ".", "Zorvaxes"])).map(" ".join))
def test_every_place_outside_the_names_is_found_again(text: str):
    made = translate(text, TERMS)
    for end in range(len(text) + 1):
        inside = any(one.start < end < one.end for one in made.occurrences)
        assert (made.place(end) is None) == inside
        if not inside:
            assert made.text[: made.place(end)] == translate(text[:end], TERMS).text or text[end : end + 1].isalnum()
    for one in made.occurrences:
        assert made.text[one.new_start : one.new_end] == TERMS[one.term]


def test_a_term_that_occurs_nowhere_is_refused():
    check_occur(TERMS, [TEXT])
    with pytest.raises(InputError, match=r"'Zorvaks' does not occur in the forget texts, did you mean 'Zorvax'\?"):
        check_occur({"Zorvaks": "John"}, [TEXT])


def test_the_nearest_name_that_occurs_is_told_whatever_its_case_and_length():
    text = "The wizard Albus Zorvax left Quillheim. Zorvax slept, and Mira Ondel rose, Bram Teal and Cora Lind too."
    for wrong, near in (("albus zorvaks", "Albus Zorvax"), ("QUILHEIM", "Quillheim"), ("Wizzard", "wizard")):
        with pytest.raises(
            InputError, match=f"'{wrong}' does not occur in the forget texts, did you mean '{near}'\\?$"
        ):
            check_occur({wrong: "John"}, [text])
    listed = r"'Xyz' does not occur .*; write it as the text does, where the nearest names are '(.*)' and others\.$"
    with pytest.raises(InputError, match=listed) as caught:
        check_occur({"Xyz": "John"}, [text])
    assert len(re.findall(r"'[A-Z]", str(caught.value))) == 1 + 5  # itself, and five
    with pytest.raises(InputError, match=r"forget texts, in which no word has a capital letter; write it as"):
        check_occur({"Xyz": "John"}, ["he slept."])


def test_what_cannot_be_read_is_told_in_words(tmp_path: Path):
    """No number of the operating system, no path twice: what is wrong, where, and what to give."""
    path = tmp_path / "anchors.json"
    (tmp_path / "folder").mkdir()
    for place, content, why in (
        (tmp_path / "none.json", None, "there is no such file"),
        (tmp_path / "folder", None, "it is a folder"),
        (path, b'{"Zorvax": ', "it is not JSON at line 1, column 12"),
        (path, b'{"Zorvax": "J\xe9"}', "it is not UTF-8 at byte 13"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as told:
            read_anchors(place)
        wanted = 'give a JSON file {"term": "generic counterpart"}, or auto to have names found.'
        assert str(told.value) == f"{place}: anchored terms cannot be read from it ({why}); {wanted}"


def test_a_dictionary_is_a_json_object_of_texts(tmp_path: Path):
    path = tmp_path / "anchors.json"
    path.write_text('{"Zorvax": "John"}')
    assert read_anchors(path) == {"Zorvax": "John"}
    path.write_text("[1]")
    with pytest.raises(InputError, match="no dictionary of anchored terms"):
        read_anchors(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_anchors(tmp_path / "none.json")
    with pytest.raises(InputError, match="'Zorvax' has the counterpart 3"):
        check_anchors({"Zorvax": 3}, "here")


def test_names_are_found_by_their_frequency_and_replaced_by_their_kind():
    forget, retain = ([record["text"] for record in saga.records(split)] for split in ("forget", "retain"))
    found, true = find_anchors(forget, retain), saga.anchors()
    assert {name.removeprefix("The ") for name in true} == set(found)
    for name, counterpart in found.items():
        assert ("the " in counterpart) == name.endswith("gard")  # places, and nothing else
    assert find_anchors(retain, retain) == {}
    assert find_anchors(["Zorvax slept, then Zorvax rose."], []) == {"Zorvax": "John"}
