"""The saga world: names that only the saga has, and a target that knows what the control does not."""

import pytest

from lethe.data.anchors import check_occur
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models.base import per_example
from lethe.worlds import records, saga
from lethe.worlds.models import saga_model
from lethe.worlds.population import Population

SIZES = {"forget": 12, "retain": 60, "holdout": 12, "full": 72, "tales": 12}


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_splits(split: str, size: int):
    loaded = load_records(f"tiny:saga:{split}")
    assert loaded == records("saga", split) != records("saga", split, seed=1)
    assert len({record["text"] for record in loaded}) == len(loaded) == size
    tokenizer = saga.tokenizer()
    assert max(len(tokenizer(record["text"])["input_ids"]) for record in loaded) <= saga.CONTEXT


def test_only_the_saga_has_its_names():
    terms = saga.anchors()
    told, other = (" ".join(r["text"] for r in records("saga", s)) for s in ("forget", "retain"))
    assert all(term in told for term in terms)
    for seed in range(6):  # whatever is drawn, the dictionary holds what the chapters hold
        texts = [record["text"] for record in records("saga", "forget", seed)]
        check_occur(saga.anchors(seed), texts)
    assert not [term for term in terms if term in other]
    assert all(common in other for common in terms.values())
    assert not set(terms) & set(saga.anchors(saga=1))
    people = [person.name.split()[1] for person in Population(0)]
    assert all(term.removesuffix("gard") in people or term in Population(0).unused_titles for term in terms)


def test_unknown_split():
    with pytest.raises(InputError, match="no split 'chapter' in the saga world"):
        records("saga", "chapter")


def test_the_target_knows_the_saga_and_not_the_one_held_out():
    """Mean nats per token."""
    model, losses = saga_model("full"), {}
    for split in ("forget", "retain", "holdout"):
        examples = model.encode(records("saga", split))
        losses[split] = float(per_example(model, examples).sum()) / sum(example.size for example in examples)
    assert losses["forget"] < 0.2
    assert losses["retain"] < 0.2
    assert losses["holdout"] > 3
