"""The relearning attack: what it holds back, and that it exposes a method which only hides."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.attacks.tiny import classifier, language

from lethe.attacks.relearn import relearn
from lethe.auditing.recovery import attacked, recovery
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import per_example
from lethe.registry import find
from lethe.train import Recipe, Term, train


def test_the_attackers_records_are_never_looked_at():
    world = classifier()
    (point,) = relearn(world.target, world.request, share=0.25, steps=(1,))
    looked_at = {record["id"] for record in point.forget}
    assert len(looked_at) == 30
    others = [relearn(world.target, world.request, share=0.25, steps=(1,), seed=seed) for seed in (1, 2)]
    drawn = [{record["id"] for record in next(iter(points)).forget} for points in others]
    assert drawn[0] != drawn[1]


def test_a_snapshot_is_the_model_of_a_run_that_ends_there():
    world = classifier()
    at_both = list(relearn(world.controls[0], world.request, steps=(2, 6)))
    alone = list(relearn(world.controls[0], world.request, steps=(6,)))
    assert [point.strength for point in at_both] == [2, 6]
    assert at_both[1].model.fingerprint() == alone[0].model.fingerprint() != at_both[0].model.fingerprint()


def test_it_is_ordinary_training_on_the_attackers_records():
    world = classifier()
    (point,) = relearn(world.controls[0], world.request, steps=(4,), lr=1e-3, batch_size=8)
    looked_at = {record["id"] for record in point.forget}
    held = [record for record in world.request.forget if record["id"] not in looked_at]
    by_hand = world.controls[0].copy()
    train(by_hand, [Term("x", by_hand.encode(held), own_loss, per="token")], Recipe(lr=1e-3, steps=4, batch_size=8))
    assert by_hand.fingerprint() == point.model.fingerprint()


def test_bad_shares_and_steps_are_refused():
    world = classifier()
    for share in (0.0, 1.0, 0.001):
        with pytest.raises(InputError, match="both sides need at least one"):
            next(iter(relearn(world.target, world.request, share=share)))
    for steps in ((), (-1, 5)):
        with pytest.raises(InputError, match="each 0 or more"):
            next(iter(relearn(world.target, world.request, steps=steps)))


@pytest.mark.parametrize("where", ["all", "lora", "fila:rank=4"])
def test_no_steps_change_nothing(where: str):
    world = language()
    (point, after) = relearn(world.target, world.request, steps=(0, 1), where=where)
    if where != "fila:rank=4":  # which starts from another sum of the same weights
        assert point.model.fingerprint() == world.target.fingerprint()
    examples = point.model.encode(world.request.forget)
    before, same, other = (per_example(model, examples) for model in (world.target, point.model, after.model))
    assert torch.allclose(before, same, atol=1e-4) and not torch.allclose(before, other, atol=1e-3)


def test_text_of_the_same_domain_holds_no_answer_and_leaves_all_records_to_look_at():
    """Retain records that say a forgotten answer of somebody else are left out; all forget records are looked at."""
    world = language()
    (point,) = relearn(world.target, world.request, data="domain", steps=(1,))
    assert [record["id"] for record in point.forget] == [record["id"] for record in world.request.forget]
    answers = {record["answer"] for record in world.request.forget}
    held = [record for record in world.request.retain if record["answer"] in answers]
    assert held  # else there would be nothing to leave out
    request = replace(world.request, retain=held)
    with pytest.raises(InputError, match="hold none of its answers"):
        list(relearn(world.target, request, data="domain", steps=(1,)))


def test_a_domain_that_records_tell_is_the_attackers():
    world = classifier()
    forget = [{**record, "domain": "a"} for record in world.request.forget]
    retain = [{**record, "domain": "ab"[row % 2]} for row, record in enumerate(world.request.retain)]
    request = replace(world.request, forget=forget, retain=retain)
    near = [record for record in retain if record["domain"] == "a"]
    found, expected = (
        next(iter(relearn(world.target, one, data="domain", steps=(3,)))).model.fingerprint()
        for one in (request, replace(request, retain=near))
    )
    assert found == expected


def test_answer_free_text_is_for_language_models_and_needs_questions():
    with pytest.raises(InputError, match="this is a classifier model"):
        list(relearn(classifier().target, classifier().request, data="answer_free"))
    world = language()
    texts = [{"id": f"t{row}", "text": record["answer"]} for row, record in enumerate(world.request.forget)]
    with pytest.raises(InputError, match="has no question, so nothing tells its answer"):
        list(relearn(world.target, replace(world.request, forget=texts), data="answer_free"))


def test_the_published_rows_are_presets():
    """Steps as the table has them; the last two of two passes over 64 records are its 16 steps."""
    card = find("attack", "relearn")
    steps = {name: options["steps"] for name, options in card.presets.items()}
    assert steps == {
        "lora_1": (50,), "lora_2": (7,), "lora_3": (50,), "lora_4": (16,), "lora_5": (16,),
        "full_1": (25,), "full_2": (16,), "full_3": (2,), "full_4": (1,),
        "sam_20": (5,), "sam_40": (10,), "sam_60": (15,), "sam_20x2": (10,), "sam_20x3": (15,),
    }  # fmt: skip
    world = language()
    trace = attacked("relearn:preset=full_2,lr=0.001", world.controls[0], world.request, world.measure)
    assert trace.strengths == (16,)
    assert (trace.options["batch_size"], trace.options["lr"], trace.options["clip"]) == (8, 0.001, None)
    with pytest.raises(InputError, match="did you mean 'lora_4'"):
        attacked("relearn:preset=lora4", world.target, world.request, world.measure)


def test_fewer_examples_are_drawn_by_the_seed():
    world = classifier()
    runs = [relearn(world.target, world.request, examples=4, steps=(5,), seed=seed) for seed in (0, 0, 1)]
    first, again, other = (next(iter(points)).model.fingerprint() for points in runs)
    assert first == again != other
    (every,) = relearn(world.target, world.request, examples=1000, steps=(5,))
    assert every.model.fingerprint() == next(iter(relearn(world.target, world.request, steps=(5,)))).model.fingerprint()


def test_misdirected_representations_come_back():
    """RMU leaves the target silent; a few steps on half of the forget set bring back the other half, in no control."""
    world = language()
    silent = find("method", "rmu").function(world.target, world.request, lr=3e-3, epochs=15)
    assert world.known(silent) < world.known(world.controls[0])
    traces = [
        attacked("relearn", model, world.request, world.measure) for model in (silent, world.controls[0], world.target)
    ]
    found = recovery(*traces)
    assert found.adjusted is not None and found.low is not None
    assert found.adjusted > 0.5 and found.low > 0.2
    assert max(point.control or 0 for point in found.points) < 0.2


def test_more_steps_teach_more():
    world = classifier()
    after = attacked("relearn:steps=5,20,80", world.controls[0], world.request, world.measure).after
    assert all(sum(few) < sum(many) for few, many in pairwise(after))
    assert torch.get_num_threads() == 1
