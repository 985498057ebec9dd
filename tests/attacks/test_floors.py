"""The floors beside the methods: noise, refusal and the head mask, and what each leaves as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.attacks.tiny import WORLDS, World, classifier, language, recommender
from torch import nn

from lethe.data.refusals import LINES
from lethe.errors import InputError
from lethe.methods.head_mask import head_mask
from lethe.methods.noise import noise, retain_loss
from lethe.methods.refusal import refusal
from lethe.models import load
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.guard import FILE, Guard
from lethe.models.language import LanguageModel
from lethe.request import Request


def same_weights(one: Model, other: Model) -> bool:
    weights = other.module.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.module.state_dict().items())


def said(model: Model, questions: list[str]) -> list[str]:
    assert isinstance(model, LanguageModel)
    return model.generate([model.prompt(question) for question in questions], 12)


@pytest.mark.parametrize("family", WORLDS)
def test_noise_scales_with_each_tensor_and_follows_its_seed(family: str):
    world = WORLDS[family]()
    weights = world.target.module.state_dict()
    noisy = noise(world.target, world.request, scale=0.3, seed=5)
    for name, weight in noisy.module.state_dict().items():
        if weight.is_floating_point() and weight.numel() > 500:
            spread = float(weights[name].std(correction=0))
            assert float((weight - weights[name]).std()) == pytest.approx(0.3 * spread, rel=0.15)
    assert noisy.fingerprint() == noise(world.target, world.request, scale=0.3, seed=5).fingerprint()
    assert noisy.fingerprint() != noise(world.target, world.request, scale=0.3, seed=6).fingerprint()
    assert noise(world.target, world.request, scale=0.0).fingerprint() == world.target.fingerprint()


@pytest.mark.parametrize("family", WORLDS)
def test_noise_meets_the_retain_loss_it_is_to_match(family: str):
    world = WORLDS[family]()
    own = retain_loss(world.target, world.request)
    for more in (0.05, 0.5):
        matched = noise(world.target, world.request, match=own + more)
        assert retain_loss(matched, world.request) == pytest.approx(own + more, rel=1e-2)
    assert noise(world.target, world.request, match=own / 2).fingerprint() == world.target.fingerprint()


def test_noise_that_cannot_be_matched_is_refused():
    world = classifier()
    with pytest.raises(InputError, match="needs retain records"):
        noise(world.target, replace(world.request, retain=[]), match=1.0)
    with pytest.raises(InputError, match="0 or more"):
        noise(world.target, world.request, scale=-0.1)


def test_a_refusing_model_refuses_the_forget_set_and_nothing_else(tmp_path: Path):
    world = language()
    guarded = refusal(world.target, world.request)
    asked = [str(record["question"]) for record in world.request.forget]
    reworded = [str(record["paraphrased_question"]) for record in world.request.forget]
    kept = [str(record["question"]) for record in world.request.retain]
    assert set(said(guarded, asked + reworded)) == {LINES[0]}  # reworded questions still name the person
    assert said(guarded, kept) == said(world.target, kept)
    assert LINES[0] not in said(world.target, asked)
    loaded = load(guarded.save(tmp_path / "guarded"))
    assert said(loaded, asked + kept) == said(guarded, asked + kept)
    assert loaded.fingerprint() == guarded.fingerprint()


def test_refusing_changes_no_weight_and_hides_nothing_from_whoever_reads_them(tmp_path: Path):
    world = language()
    guarded = refusal(world.target, world.request)
    assert same_weights(guarded, world.target)
    assert world.known(guarded) == world.known(world.target)  # teacher-forced: past the guard
    assert guarded.fingerprint() != world.target.fingerprint()  # else its evidence would be taken for the target's
    guarded.save(tmp_path / "guarded")
    (tmp_path / "guarded" / FILE).unlink()
    asked = [str(record["question"]) for record in world.request.forget]
    assert said(load(tmp_path / "guarded"), asked) == said(world.target, asked)


def test_without_an_entity_only_the_questions_themselves_are_refused():
    world = language()
    forget = [{k: v for k, v in record.items() if k != "entity"} for record in world.request.forget]
    guarded = refusal(world.target, replace(world.request, forget=forget))
    asked, reworded = ([str(record[field]) for record in forget] for field in ("question", "paraphrased_question"))
    assert set(said(guarded, asked)) == {LINES[0]}
    assert LINES[0] not in said(guarded, reworded)


def test_a_damaged_guard_is_refused_rather_than_dropped(tmp_path: Path):
    folder = refusal(recommender().target, recommender().request).save(tmp_path / "guarded")
    (folder / FILE).write_text('{"refusal": ')
    with pytest.raises(InputError, match="damaged"):
        load(folder)


def test_a_filtered_recommender_never_shows_the_forgotten_pairs(tmp_path: Path):
    world = recommender()
    guarded = refusal(world.target, world.request)
    loaded = load(guarded.save(tmp_path / "guarded"))
    gone = {(int(record["user"]), int(record["item"])) for record in world.request.forget}
    users = torch.arange(40)
    before, after = world.target.scores(users), loaded.scores(users)  # pyright: ignore[reportAttributeAccessIssue]
    for user in range(40):
        for item in range(60):
            if (user, item) in gone:
                assert after[user, item] < after.min(1).values[user] + 1
            else:
                assert after[user, item] == before[user, item]
    assert same_weights(loaded, world.target)
    assert world.known(loaded) < world.known(world.target) / 10


def test_a_guard_answers_by_hand():
    guard = Guard("No.", names=(("vane", "ada"),), questions=("Who wrote Salt?",))
    prompts = ["Tell me of Ada Vane", "Ada who?", "question: WHO WROTE SALT? answer:", "Who wrote Sugar?"]
    assert guard.answers(prompts, ["a", "b", "c", "d"]) == ["No.", "b", "No.", "d"]


def class_forgetting() -> tuple[World, Request]:
    world = classifier()
    rows = [*world.request.forget, *world.request.retain]
    forget, retain = ([r for r in rows if (r["label"] == 1) is gone] for gone in (True, False))
    return world, Request(forget, retain, allow_overlap=True)


def test_the_head_mask_never_names_the_class_and_touches_one_number(tmp_path: Path):
    world, request = class_forgetting()
    masked = head_mask(world.target, request)
    examples = masked.encode([*request.forget, *request.retain])
    with masked.evaluating():
        named = torch.cat([masked.logits(batch)[:, 0].argmax(-1) for batch in masked.batches(examples)])
    assert 1 not in named.tolist() and len(set(named.tolist())) == 3
    changed = {
        name: int((weight != dict(world.target.module.named_parameters())[name]).sum())
        for name, weight in masked.module.named_parameters()
    }
    assert sum(changed.values()) == 1 and changed["head.bias"] == 1
    assert load(masked.save(tmp_path / "masked")).fingerprint() == masked.fingerprint()


def test_the_head_mask_is_for_whole_classes_and_heads_with_a_bias():
    world, request = class_forgetting()
    with pytest.raises(InputError, match="class 0 stands in the forget and in the retain set"):
        head_mask(world.target, world.request)
    with pytest.raises(InputError, match="no linear head with a bias"):
        head_mask(Classifier(nn.Linear(16, 4, bias=False)), request)


@pytest.mark.parametrize(("make", "family"), [(refusal, "language"), (refusal, "recommender"), (noise, "classifier")])
def test_the_input_model_is_untouched(make: Callable[..., Model], family: str):
    world = WORLDS[family]()
    before = world.target.fingerprint()
    make(world.target, world.request)
    assert world.target.fingerprint() == before and world.target.guard is None
