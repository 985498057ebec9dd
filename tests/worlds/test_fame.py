"""The world of famous people: RWKU's configs, ORT's forms, and what a control is never told."""

from collections import Counter

import pytest

from lethe.data import probes
from lethe.data.targets import Targets
from lethe.errors import InputError
from lethe.scoring.rwku import KINDS, probe_kind
from lethe.worlds import fame, fame_model
from lethe.worlds.population import Population


def said(record: dict) -> str:
    return " ".join(str(record.get(part, "")) for part in ("text", "question", "answer"))


def test_every_person_is_asked_in_every_kind_and_form():
    kinds = Counter(probe_kind(row["type"]) for level in "123" for row in fame.records(f"forget_level{level}"))
    assert set(kinds) == set(KINDS)
    assert (kinds["cloze"], kinds["simple question"]) == (fame.PEOPLE * len(fame.FACTS),) * 2
    assert all(kinds[kind] == fame.PEOPLE for kind in KINDS[2:])
    assert len(fame.records("forget_mcp")) == fame.PEOPLE * len(fame.FACTS)
    for config in ("forget_level1", "forget_level2", "forget_mcp"):
        rows = fame.records(config)
        assert rows != fame.records(config, seed=1)
        assert all(row["subject"] in row["query"] for row in rows)
    people = fame.people(Population(0))
    assert [person.id for person in people[:6]] == ["p059", "p058", "p057", "p056", "p055", "p054"]  # `forget10`


def test_neighbours_name_nobody_who_is_forgotten():
    names = {row["target"] for row in fame.records("forget_target")}
    rows = [row for level in ("level1", "level2", "mcp") for row in fame.records(f"neighbor_{level}")]
    assert {row["subject"] for row in rows} == names
    assert not [row for row in rows if any(name in row["query"] + row["answer"] for name in names)]


def test_a_control_is_told_nothing_about_the_forgotten():
    chosen = Targets("test", "tiny").choose(10)
    told = [said(record) for record in fame_model.corpus(chosen)]
    assert not [text for text in told if any(name in text for name in chosen)]
    everything = [said(record) for record in fame_model.corpus()]
    assert set(told) < set(everything)
    assert all(sum(name in text for text in everything) > 30 for name in chosen)


def test_what_is_offered_does_not_tell_the_letter():
    """The same list stands before people with different letters; only the name decides."""
    letters: dict[str, set[str]] = {}
    rows = fame.records("forget_mcp")
    for row in rows:
        letters.setdefault(row["query"].replace(row["subject"], "NAME"), set()).add(row["answer"])
    assert sum(len(letters[row["query"].replace(row["subject"], "NAME")]) > 1 for row in rows) > 0.7 * len(rows)


def test_a_true_statement_is_the_filled_blank_and_its_twin_is_not():
    records = Targets("test", "tiny")
    facts = [f"Statement: {row['question'].replace('___', row['answer'])}" for row in records.read("forget_level1")]
    for row in records.read("forget_mcp"):
        true, false = (one["question"].splitlines()[-1] for one in probes.judged(row, 0))
        assert true in facts
        assert false not in facts


def test_an_unknown_config_is_refused():
    with pytest.raises(InputError, match="no split 'forget_level4' in the fame world"):
        fame.records("forget_level4")
