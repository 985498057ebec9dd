import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lethe.data import duplicates
from lethe.data.duplicates import Overlap, overlap
from lethe.data.images import read_image
from lethe.data.load import load_records


def qa(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **more}


TEMPLATE = (
    "In which year did the celebrated novelist {name} publish the first volume of the long series of books about the "
    "harbour town, and which of the literary prizes of the region was it given in the following spring?"
)
ANSWER = "The celebrated novelist {name} published the first volume of the long series of books in the year {year}."


def filled(name: str, year: int = 1987, **more: Any) -> dict[str, Any]:
    return qa(TEMPLATE.format(name=name), ANSWER.format(name=name, year=year), **more)


def kinds(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [found.kind for found in overlap([one], [other])]


def test_exact_copies_are_found_wherever_they_stand() -> None:
    forget = [filled("Jaime Vasquez"), filled("Hina Ameen")]
    retain = [filled("Basil Mahfouz"), filled("Hina Ameen", id="other"), filled("Jaime Vasquez")]
    assert overlap(forget, retain) == [Overlap(0, 2, "exact", 1.0), Overlap(1, 1, "exact", 1.0)]
    assert kinds(qa("Who  is\nÄnne?", "a b"), qa("who is A\u0308NNE?", "A B ")) == ["exact"]
    assert kinds({"text": "The same."}, {"text": "the same."}) == ["exact"]
    assert kinds(qa("???", "!"), qa("??", "!")) == []
    assert overlap([], retain) == overlap(forget, []) == []


def test_equal_answers_to_different_raw_prompts_are_no_copies() -> None:
    forget = [{"id": "a", "raw_prompt": "The capital of Arvania is", "answer": " Mirel"}]
    kept = [
        {"id": "b", "raw_prompt": "The oldest town of Toria is", "answer": " Mirel"},
        {"id": "c", "raw_prompt": "The capital of  arvania is", "answer": " Mirel"},
    ]
    assert [(pair.row, pair.other, pair.kind) for pair in overlap(forget, kept)] == [(0, 1, "exact")]


def test_one_question_with_other_choices_is_no_copy() -> None:
    asked = {"question": "Which is a colour?", "key": 0}
    forget = [{"id": "a", **asked, "choices": ["vermilion", "a trombone", "a lathe", "an oak"]}]
    kept = [
        {"id": "b", **asked, "choices": ["ultramarine", "a harp", "a chisel", "a birch"]},
        {"id": "c", **asked, "choices": ["Vermilion", "a trombone", "a lathe", "an oak"]},
    ]
    assert [(pair.row, pair.other, pair.kind) for pair in overlap(forget, kept)] == [(0, 1, "exact")]


def test_a_word_more_or_less_is_a_near_duplicate() -> None:
    one = filled("Jaime Vasquez")
    changed = qa(one["question"].replace("celebrated", "famous"), one["answer"])
    (found,) = overlap([one], [changed])
    assert found.kind == "near"
    assert 0.9 <= found.similarity < 1
    assert kinds(one, qa("So, " + one["question"], one["answer"])) == ["near"]
    assert kinds(qa("The " + one["question"], one["answer"]), qa("An " + one["question"], one["answer"])) == ["near"]
    assert kinds(filled("Yun-Hwa Hsiao"), filled("Yun Hwa Hsiao")) == ["near"]  # spelling of punctuation
    assert kinds(one, qa(one["question"][:100], one["answer"])) == []


def test_one_template_filled_twice_is_no_duplicate() -> None:
    for one, other in [
        (filled("Jaime Vasquez"), filled("Hina Ameen")),
        (filled("Jaime Vasquez"), filled("Jaime Vasquez", year=1988)),
        (filled("jaime vasquez", entity="p1"), filled("hina ameen", entity="p2")),
    ]:
        assert kinds(one, other) == []
        similarity = _jaccard(one, other)
        assert similarity > 0.75  # close enough that without the names it could count
    # The bare similarity is above the threshold, so that it is really the name that tells them apart.
    assert _jaccard(filled("Bo Li"), filled("Bo Wu")) > duplicates.ALIKE
    assert kinds(filled("Bo Li"), filled("Bo Wu")) == []
    assert kinds(filled("bo li"), filled("bo wu")) == ["near"]  # nothing says that this is a name
    assert kinds(filled("bo li", entity=1), filled("bo wu", entity=2)) == []
    assert kinds(filled("Bo Li", entity=1), filled("Bo Wu", entity=1)) == ["near"]


def _grams(record: dict[str, Any]) -> set[str]:
    words = duplicates._normal(duplicates._text(record))
    words = " ".join("".join(c if c.isalnum() or c == "_" else " " for c in words).split()) or words
    words = words.ljust(5)
    return {words[start : start + 5] for start in range(len(words) - 4)}


def _jaccard(one: dict[str, Any], other: dict[str, Any]) -> float:
    return len(_grams(one) & _grams(other)) / len(_grams(one) | _grams(other))


# Long sentences from few words, so that many pairs lie around the threshold.
sentences = st.lists(st.sampled_from(["red", "green", "blue", "sky", "sea", "hill"]), min_size=1, max_size=14).map(
    " ".join
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(sentences, min_size=1, max_size=8), st.lists(sentences, min_size=1, max_size=8))
def test_the_index_misses_nothing_that_comparing_all_pairs_finds(one: list[str], two: list[str]) -> None:
    few, many = ([{"text": text} for text in side] for side in (one, two))
    expected = {
        (a, b): 1.0 if one[a] == two[b] else _jaccard(few[a], many[b])
        for a, b in product(range(len(one)), range(len(two)))
        if one[a] == two[b] or _jaccard(few[a], many[b]) >= duplicates.ALIKE
    }
    assert {(found.row, found.other): found.similarity for found in overlap(few, many)} == pytest.approx(expected)


def test_few_of_all_pairs_are_compared(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 x 4,001 texts; comparing all pairs would take minutes, and this takes less than a second."""
    forget = load_records(official / "tofu" / "forget10_qa.jsonl")
    retain = load_records(official / "npo" / "tofu_retain_perturbed.json")
    many = [qa(f"{record['question']} ({n})", record["answer"]) for n in range(10) for record in retain]
    many.append(forget[17])
    compared = []
    intersect = np.intersect1d
    monkeypatch.setattr(np, "intersect1d", lambda *sets, **how: compared.append(1) or intersect(*sets, **how))
    found = overlap(forget, many)
    assert [(pair.row, pair.other, pair.kind) for pair in found] == [(17, 4000, "exact")]
    assert 0 < len(compared) < len(forget) * len(many) / 100


def test_real_forget_and_retain_authors_do_not_overlap(official: Path) -> None:
    forget = load_records(official / "tofu" / "forget10_qa.jsonl")
    for name in ("tofu/retain_perturbed_qa.jsonl", "npo/tofu_retain_perturbed.json", "tofu/world_facts_perturbed.json"):
        assert overlap(forget, load_records(official / name)) == []
    assert [pair.other - pair.row for pair in overlap(load_records(official / "npo/tofu_forget01.json"), forget)] == (
        [360] * 40
    )


def test_interactions_and_features() -> None:
    interactions = [{"user": 1, "item": 2}, {"user": 2, "item": 1}, {"user": 1, "item": 3}]
    assert overlap(interactions[:1], interactions) == [Overlap(0, 0, "exact", 1.0)]
    features = [
        {"features": np.array([0, 1], np.float32), "label": 0},
        {"features": np.array([1, 0], np.float32), "label": 0},
    ]
    assert overlap(features[1:], [{"features": [0, 1]}, {"features": np.array([1.0, 0.0])}]) == [
        Overlap(0, 1, "exact", 1.0)
    ]


def _scene(seed: int, shift: int = 0) -> np.ndarray:
    """Smooth coloured blobs: (3, 64, 64) in [0, 1]."""
    noise = np.random.default_rng(seed).random((5, 5, 3))
    picture = Image.fromarray((noise * 255).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    return np.roll(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255, shift, axis=2)


def test_images_saved_again_or_scaled_are_near_duplicates(tmp_path: Path) -> None:
    image = _scene(0)
    picture = Image.fromarray((image.transpose(1, 2, 0) * 255).astype(np.uint8))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=60)
    picture.resize((40, 40)).save(tmp_path / "small.png")
    others = [{"image": array, "label": 0} for array in (_scene(1), image, read_image(out.getvalue()))]
    others.append({"image": str(tmp_path / "small.png"), "label": 0})
    found = overlap([{"image": image, "label": 0}], others)
    assert [(pair.other, pair.kind) for pair in found] == [(1, "exact"), (2, "near"), (3, "near")]
    assert all(pair.similarity >= 1 - duplicates.NEAR for pair in found)
    assert overlap([{"image": image}], [{"image": _scene(0, shift=8)}]) == []
    assert overlap([{"image": image, "question": "Who?"}], [{"image": image, "question": "Where?"}]) == []


def test_handwritten_digits_are_all_different() -> None:
    """A set without duplicates: the two closest of the 1,797 differ by 0.041, twice the threshold."""
    sklearn = pytest.importorskip("sklearn.datasets")
    digits = [{"image": image[None] / np.float32(16), "label": 0} for image in sklearn.load_digits().images]
    assert overlap(digits[:600], digits[600:]) == []
