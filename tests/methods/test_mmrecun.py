"""MMRecUn (arXiv 2405.15328): its two terms, its graph, and what it does where content alone is withdrawn."""

from typing import Any

import pytest
import torch
from tests.models.test_recommender_graph import FORGET, FULL, KEPT, graph, records, scores, trained
from torch import Tensor

from lethe.errors import InputError
from lethe.methods.finetune import finetune
from lethe.methods.mmrecun import mmrecun
from lethe.models.recommender import Recommender
from lethe.request import Request
from lethe.train import Term


def unlearned(model: Recommender, request: Request, **options: Any) -> Recommender:
    made = mmrecun(model, request, **options)
    assert isinstance(made, Recommender)
    return made


def terms(model: Recommender, request: Request, **options: Any) -> list[Term]:
    """What is minimised."""
    return mmrecun.__wrapped__(model, request, **options)  # pyright: ignore[reportFunctionMemberAccess]


def test_without_the_reverse_term_it_is_training_on_what_stays_to_the_bit():
    model, recipe = graph(FULL, users=4, items=10, layers=2), {"lr": 1e-2, "epochs": 3, "batch_size": 4}
    request = Request(records(FORGET), KEPT)
    silent = unlearned(model, request, alpha=0.0, rebuild_graph=False, **recipe)
    assert silent.fingerprint() == finetune(model, request, **recipe).fingerprint()
    assert silent.fingerprint() != unlearned(model, request, rebuild_graph=False, **recipe).fingerprint()


def test_an_epoch_is_a_pass_over_what_stays():
    model, request = graph(FULL, users=4, items=10, layers=0), Request(records(FORGET), KEPT)
    made = terms(model.copy(), request)
    assert [(term.name, term.role, float(term.weight)) for term in made] == [
        ("retain", "retain", 0.8),
        ("forget", "forget", 0.2),
    ]
    assert len(made[0].examples) == len(KEPT) > len(made[1].examples)  # the first leads, the other is drawn in turns


@pytest.mark.parametrize("rebuild", [True, False])
def test_the_graph_is_rebuilt_unless_it_is_to_stay(rebuild: bool):
    model, request = trained()
    forgotten = [record["item"] for record in request.forget]
    made = unlearned(model, request, rebuild_graph=rebuild, lr=1e-2, steps=10, batch_size=8)
    assert bool(made.net.seen()[0, forgotten].any()) != rebuild
    assert (scores(made)[0, forgotten] < scores(model)[0, forgotten]).all()


def test_edges_that_stay_carry_what_should_be_forgotten():
    model, request = trained()
    forgotten = [record["item"] for record in request.forget]
    left, rebuilt = (
        scores(unlearned(model, request, rebuild_graph=rebuild, lr=1e-2, steps=10, batch_size=8))[0, forgotten].mean()
        for rebuild in (False, True)
    )
    assert rebuilt < left


def batch_of(model: Recommender, term: Term) -> Any:
    rows = list(range(len(term.examples)))
    return model.collate(term.examples, rows, torch.Generator().manual_seed(0))


def test_no_withdrawn_item_is_the_measure_of_another():
    """Users 0 and 1 are to forget two items each, which once gone from the graph may be drawn as negatives."""
    forget = [(0, 0), (0, 1), (1, 2), (1, 3)]
    request = Request(records(forget), records([pair for pair in FULL if pair not in forget]))
    model = graph(FULL, users=4, items=10, layers=0)
    _, reverse = terms(model, request)
    batch = batch_of(model, reverse)
    negatives = torch.tensor([1, 8, 9, 2])  # the first and the last are to be forgotten by the same user
    values = reverse.loss(model, type(batch)(batch.index, {**batch.inputs, "negatives": negatives}, batch.labels))
    assert (values > 0).tolist() == [False, True, True, False]


def test_negatives_are_never_what_a_user_keeps():
    model, request = graph(FULL, users=4, items=10, layers=0), Request(records(FORGET), KEPT)
    made = terms(model, request)
    kept = {(record["user"], record["item"]) for record in KEPT}
    for term in made:
        inputs = batch_of(model, term).inputs
        assert not kept & set(zip(inputs["users"].tolist(), inputs["negatives"].tolist(), strict=True))


def pairs_below(made: Tensor, forget: list[tuple[int, int]]) -> float:
    return float((made[[u for u, _ in forget]] > made[tuple(zip(*forget, strict=True))][:, None]).float().mean())


def test_withdrawn_items_sink_below_the_others():
    model, request = trained()
    forget = [(record["user"], record["item"]) for record in request.forget]
    made = unlearned(model, request, lr=2e-2, epochs=20, batch_size=16)
    assert pairs_below(scores(model), forget) < 0.4 < 0.6 < pairs_below(scores(made), forget)


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(InputError, match=r"alpha is 1\.5; it is a share"):
        mmrecun(graph(FULL, users=4, items=10, layers=0), Request(records(FORGET), KEPT), alpha=1.5)
