"""A corpus that a model writes about its targets: what it is asked, and what becomes of the replies."""

from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import language

from lethe.data.refusals import LINES
from lethe.descent import self_corpus
from lethe.errors import InputError
from lethe.methods.dpo import dpo
from lethe.models.base import per_example
from lethe.request import Request

INTROS = {"Ada Byron": "Ada Byron is a mathematician.", "Alan Mathison": "Alan Mathison is a logician."}


def test_texts_twins_and_refusals_of_every_target():
    made = self_corpus.write(
        language(), INTROS, texts=3, questions=25, prefixes=("Hello", "Well,"), max_new_tokens=9, seed=4
    )  # fmt: skip
    assert {text["subject"] for text in made.texts} == set(INTROS)
    assert [text["text"].split()[0] for text in made.texts[:3]] == ["Hello", "Well,", "Hello"]
    assert len(made.texts) == len(made.twins) == 6
    assert all(text["text"] != twin["text"] for text, twin in zip(made.texts, made.twins, strict=True))
    every = (*made.texts, *made.twins, *made.refusals)
    assert len({record["id"] for record in every}) == len(every)
    assert {record["id"]: record["answer"] for record in made.refusals}.items() <= {
        f"{name}/refusal{row}": LINES[row % 25 % len(LINES)] for name in INTROS for row in range(50)
    }.items()
    assert not any("\n" in record["question"] for record in made.refusals)
    pair = made.pairs[1]
    assert pair["question"] == "Ada Byron is a mathematician. Please write a short biography of Ada Byron."
    assert (pair["answer"], pair["counterfactual"]) == (made.texts[1]["text"], made.twins[1]["text"])


def test_an_invented_text_does_not_confess():
    told = "A totally fabricated, completely made-up tale: a totally fictional life, completely fabricated works."
    assert self_corpus.unconfessed(told) == "A totally fabricated, tale: a life, works."  # as published: with the blank


def test_a_real_model_writes_the_same_twice_and_is_asked_once(tmp_path: Path):
    model = language()
    options: dict[str, Any] = {"texts": 2, "questions": 2, "max_new_tokens": 6, "seed": 1}
    first = self_corpus.kept(tmp_path, model, INTROS, **options)
    (file,) = tmp_path.glob("*.json")
    stamp = file.stat().st_mtime_ns
    again = self_corpus.kept(tmp_path, model, INTROS, **options)
    assert again == first == self_corpus.write(model, INTROS, **options)
    assert file.stat().st_mtime_ns == stamp
    assert self_corpus.write(model, INTROS, **{**options, "seed": 2}).texts != first.texts
    file.write_text("{", encoding="utf-8")
    assert self_corpus.kept(tmp_path, model, INTROS, **options) == first


def test_a_system_turn_is_used_where_the_template_has_one():
    model = language()
    tokenizer: Any = model.tokenizer
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    asked = self_corpus.prompt(model, self_corpus.KNOWN, "Ada", "Ada counts.")
    assert self_corpus.question_prompt(model, "Ada", "Ada counts.").endswith(
        "based on what you know about Ada\n Question:"
    )
    assert asked == "[system] Ada counts. You know Ada very well. [user] Please write a short biography of Ada. "
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    )
    asked = self_corpus.prompt(model, self_corpus.KNOWN, "Ada", "Ada counts.")
    assert asked == "[user] Ada counts. You know Ada very well.\nPlease write a short biography of Ada."


def test_nothing_to_write_about_is_refused():
    with pytest.raises(InputError, match="name at least one target"):
        self_corpus.write(language(), {}, texts=1, questions=1)


def test_pairs_are_what_dpo_prefers_by():
    model = language()
    made = self_corpus.write(model, INTROS, texts=2, questions=1, max_new_tokens=8, seed=3)
    request = Request(made.pairs, ())
    trained = dpo(model, request, retain="none", preferred="counterfactual", lr=1e-3, steps=10, beta=0.5)
    twins = [{**pair, "answer": pair["counterfactual"]} for pair in made.pairs]
    gained = [per_example(trained, trained.encode(rows)) - per_example(model, model.encode(rows))
              for rows in (made.pairs, twins)]  # fmt: skip
    assert (gained[0] > gained[1]).all()  # nats: the factual answer loses more than its twin
    with pytest.raises(InputError, match=f"'{made.pairs[0]['id']}' has no field 'invented'"):
        dpo(model, request, retain="none", preferred="invented")
