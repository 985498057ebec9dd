"""The experts world: two domains without a common word, and a mixture whose experts share them out unevenly."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from lethe.data.load import load_records
from lethe.descent.experts import attribute
from lethe.errors import InputError
from lethe.models.base import IGNORED, Model
from lethe.models.mixture import mixtures, trace, without_experts
from lethe.request import Request
from lethe.scoring.routing import activation_rate, affinity, selection_overlap, top_stability
from lethe.worlds import experts, records
from lethe.worlds.models import experts_model
from lethe.worlds.population import Population


def request() -> Request:
    return Request(experts.records("lives"), experts.records("library"))


def accuracy(of: Model, split: str) -> float:
    examples = of.encode(experts.records(split))
    hits = []
    with of.evaluating():
        for batch in of.batches(examples, 128):
            right = (of.logits(batch).argmax(-1) == batch.labels) | (batch.labels == IGNORED)
            hits += right.all(-1).tolist()
    return sum(hits) / len(hits)


@cache
def target() -> Model:
    return experts_model()


@cache
def gates(split: str) -> tuple[np.ndarray, ...]:
    of = target()
    found = dict(trace(of, of.encode(experts.records(split)), mixtures(of.module)))
    return tuple(found[row].numpy() for row in range(len(found)))


def test_the_domains_share_neither_questions_nor_answers():
    full, lives, library = (records("experts", split) for split in ("full", "lives", "library"))
    assert full == [*lives, *library] and len(lives) == len(library) == 120
    assert len({record["id"] for record in full}) == len({record["question"] for record in full}) == 240
    for field in ("question", "answer"):
        words = [{word for record in side for word in record[field].split()} for side in (lives, library)]
        assert words[0].isdisjoint(words[1] - {"the"})
    assert {record["entity"] for record in lives} == {record["entity"] for record in library}
    told = " ".join(record["question"] for record in full)
    assert not any(person.name in told for person in Population(0).group("held_out"))
    assert all(record["domain"] == "lives" for record in records("experts", "holdout"))
    assert records("experts", "lives", 1) != lives
    with pytest.raises(InputError, match="no split 'forget' in the experts world, choose one of full, lives"):
        records("experts", "forget")


def test_it_is_loaded_as_any_world():
    loaded = load_records("tiny:experts:lives", seed=3)
    assert [dict(r)["question"] for r in loaded] == [r["question"] for r in experts.records("lives", 3)]


def test_the_answers_fit_the_context_and_stand_behind_the_question():
    tokenizer: Any = experts.tokenizer()
    question = experts.records("lives")[0]["question"]
    turns = [{"role": "user", "content": question}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == f"<s>{question}\n"
    config = experts.config(tokenizer)
    assert config.num_experts == 8 and config.shared_expert_intermediate_size == 64
    for record in experts.records("full"):
        start = tokenizer(f"<s>{record['question']}\n", add_special_tokens=False)["input_ids"]
        whole = tokenizer(f"<s>{record['question']}\n{record['answer']}", add_special_tokens=False)["input_ids"]
        assert whole[: len(start)] == start  # generation starts from a state that training saw
    assert max(example.length for example in target().encode(experts.records("full"))) < experts.CONTEXT


def test_the_target_answers_verbatim():
    assert accuracy(target(), "full") == 1.0
    assert accuracy(target(), "holdout") < 0.3


def test_the_use_of_the_experts_has_a_long_tail_and_differs_between_domains():
    usage = {split: np.mean([activation_rate(g) for g in gates(split)], axis=0) for split in ("lives", "library")}
    kept, count = experts.ARCHITECTURE["num_experts_per_tok"], experts.ARCHITECTURE["num_experts"]
    for split in usage:
        busiest = np.sort(usage[split] / kept, axis=-1)[:, -2:].sum(-1)
        assert (busiest > 2 * 2 / count).all()  # the two busiest of each layer: over twice a uniform share
    scores = {split: affinity(gates(split)) for split in usage}
    agreement = top_stability(scores["lives"], scores["library"], count=2)
    assert agreement.mean() < 0.8
    halves = affinity(gates("lives")[::2]), affinity(gates("lives")[1::2])
    assert top_stability(*halves, count=6).mean() >= 0.8  # the paper: .87 between subsets
    assert selection_overlap(gates("lives")[0], gates("lives")[0]) == pytest.approx(1)


def test_the_chosen_expert_matters_to_its_domain_alone():
    of = target()
    with without_experts(of.module, attribute(of, request(), count=3).targets):
        lives, library = accuracy(of, "lives"), accuracy(of, "library")
    assert lives < 0.95 <= library
