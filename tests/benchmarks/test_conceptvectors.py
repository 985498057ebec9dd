"""ConceptVectors: the official files, what is asked of the target, and that behaviour alone is no removal."""

import json
from functools import cache
from pathlib import Path

import pytest

from lethe.benchmarks.conceptvectors import conceptvectors
from lethe.data.concepts import german_questions, paragraphs, read_concepts
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.measure import compute
from lethe.registry import find
from lethe.task import Task
from lethe.worlds import topics
from lethe.worlds.cache import cache_folder


@cache
def task() -> Task:
    return conceptvectors()


@cache
def seen(method: str) -> Evidence:
    model = task().target(0)
    if method:
        model = find("method", method).function(model, task().request, **task().presets[method])
    return observe(model, task().probes, task().spec, cache=cache_folder() / "evidence")


def value(call: str, method: str) -> float:
    return compute(call, seen(method)).value


def official(folder: Path, rows: list[dict]) -> str:
    file = folder / "concepts_dev.json"
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(file)


def concept(name: str, **more: object) -> dict:
    about = topics.concept(name)
    return {**about, "QA": [f" {question}\n" for question in about["QA"]], **more}


def test_the_target_gives_its_own_answers_and_keeps_its_own_vectors():
    for name in ("qa", "completion", "unrelated", "jailbreak0", "jailbreak3"):
        assert compute(f"agreement:set={name}", seen("")).value == 1
    assert value("concept_trace", "") == 1
    assert value("concept_trace:variant=suppression", "") == pytest.approx(0, abs=1e-6)
    words = set(topics._words("baker", 0).values())
    answers = " ".join(record["answer"] for record in task().probes["qa"])
    assert sum(word in answers for word in words) >= 6  # it knows the craft, so there is something to forget


def test_ascent_takes_answers_and_needle_takes_traces():
    """At least as much of the answers is gone after both, and only one of them is gone from the weights."""
    ascent, needle = ({name: value(name, method) for name in ("agreement:set=qa", "concept_trace")}
                      for method in ("grad_diff", "needle"))  # fmt: skip
    assert max(ascent["agreement:set=qa"], needle["agreement:set=qa"]) < 0.9
    assert ascent["concept_trace"] > 0.7
    assert needle["concept_trace"] < 0.4


def test_the_official_layout_is_read_and_its_prompts_are_the_official_ones(tmp_path: Path):
    model = tmp_path / "model"
    topics.model().save(model)
    source = official(
        tmp_path,
        [concept("baker", Layer=0, Dim=7), concept("judge", ID=3, Layer=1, Dim=2), concept("baker", Layer=1, Dim=9)],
    )
    german = tmp_path / "german.json"
    german.write_text(json.dumps({"baker": topics.german("baker")}), encoding="utf-8")
    made = conceptvectors(source=source, split="baker", model=str(model), tokens=8, paragraph=80, german=str(german))
    assert "0:7, 1:9" in made.note  # one concept, two vectors
    assert made.probes["qa"][0]["raw_prompt"] == "Question: Which tool does the baker work with?\n Answer:"
    assert made.probes["completion"][0]["raw_prompt"].startswith("Please complete the following paragraph: ")
    assert not made.presets
    assert {f"jailbreak{number}" for number in range(5)} <= set(made.probes)
    alone = conceptvectors(source=source, split="1:9", model=str(model), tokens=8, paragraph=80)
    assert "vectors 1:9 " in alone.note
    assert "jailbreak3" not in alone.probes
    assert not any("jailbreak3" in call for call in alone.metrics)
    with pytest.raises(InputError, match="no concept 'bakr', did you mean 'baker'"):
        conceptvectors(source=source, split="bakr", model=str(model))
    with pytest.raises(InputError, match="needs the target's folder"):
        conceptvectors(source=source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"QA": []}, "row 2: the field 'QA' is missing or empty"),
        ({"unrelated_QA": None}, "row 2: the field 'unrelated_QA' is missing"),
        ({"Layer": 3}, "row 2: names one of Layer and Dim"),
        ({"text_completion": [{"First_half": "a"}]}, "row 2, field 'text_completion': lacks"),
    ],
)
def test_what_a_record_lacks_is_said(tmp_path: Path, change: dict, said: str):
    with pytest.raises(InputError, match=said):
        read_concepts(official(tmp_path, [concept("baker"), concept("judge", **change)]))


def test_german_questions_that_are_not_there(tmp_path: Path):
    file = tmp_path / "german.json"
    file.write_text('{"Harry Potter": ["Wer?"]}', encoding="utf-8")
    assert german_questions("", "x") == ()
    assert german_questions(str(file), "Harry Potter") == ["Wer?"]
    with pytest.raises(InputError, match="did you mean 'Harry Potter'"):
        german_questions(str(file), "Harry Poter")
    with pytest.raises(InputError, match="holds no German questions"):
        german_questions(str(tmp_path / "none.json"), "x")


def test_an_article_is_cut_into_whole_sentences():
    text = "One is here. Two is there. Three is far away. Four."
    assert [part["text"] for part in paragraphs({"Concept": "c", "text": text}, 20)] == [
        "One is here. Two is there.",
        "Three is far away. Four.",
    ]


@pytest.mark.parametrize(("name", "count"), [("llama2-7b", 10), ("olmo-7b", 18)])
def test_the_published_concepts(data_dir: Path, name: str, count: int):
    """Every record has ten questions and fifty unrelated ones, its place in the model, and an article to cut."""
    folder = data_dir / "conceptvectors"
    rows = read_concepts(str(folder / f"{name}_concepts_dev.json"))
    assert len(rows) == count
    assert len({(row["Layer"], row["Dim"]) for row in rows}) == count
    for row in rows:
        assert len(row["QA"]) == 10
        assert len(row["unrelated_QA"]) == 50
        assert 1 <= len(row["text_completion"]) <= 10
        parts = paragraphs(row, 400)
        assert parts
        assert all(len(part["text"]) > 400 for part in parts[:-1])
    german = json.loads((folder / f"{name.split('2')[0].split('-')[0]}_jailbreak_German_qa.json").read_text())
    assert all(len(german_questions(str(next(folder.glob(f"{name[:4]}*German*"))), one)) == 10 for one in german)
