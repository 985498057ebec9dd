"""Taking training steps back, and winding SCRUB back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.attacks.tiny import classifier

from lethe.descent.terms import own_loss
from lethe.descent.updates import Ledger, updates_of
from lethe.errors import InputError
from lethe.methods.amnesiac import amnesiac
from lethe.methods.scrub import scrub
from lethe.methods.scrub_r import Rewind, scrub_r
from lethe.models.base import Model
from lethe.request import Record, Request
from lethe.train import Recipe, Term, train


def request() -> Request:
    return classifier().request


def trained(records: Sequence[Record], *, epochs: int = 2, **kept: Any) -> tuple[Model, Model, Ledger]:
    """The model before, after, and what was kept on the way."""
    before = classifier().target.fresh(5)
    after, ledger = before.copy(), Ledger("train", records, **kept)
    recipe = Recipe(lr=1e-2, epochs=epochs, batch_size=8)
    train(after, [Term("train", after.encode(records), own_loss)], recipe, step_rule=ledger)
    return before, after, ledger


def test_all_steps_taken_back_give_the_model_before(tmp_path: Path):
    records = [*request().retain[:24], *request().forget[:8]]
    before, after, _ = trained(records, folder=tmp_path)
    total, count, steps = updates_of(tmp_path, [str(record["id"]) for record in records], after)
    assert count == steps == 8
    for name, tensor in after.module.state_dict().items():
        torch.testing.assert_close(tensor - total[name], before.module.state_dict()[name], rtol=0, atol=1e-6)


def test_only_the_steps_with_forget_records_are_taken_back(tmp_path: Path):
    """The sum that is kept on the way, the files, and by hand for the one step: plain SGD moves by -rate x gradient."""
    records = [*request().retain[:24], *request().forget[:8]]
    gone = [str(records[-1]["id"])]
    before, after, ledger = trained(records, epochs=1, only=gone, folder=tmp_path)
    total, count, steps = updates_of(tmp_path, gone, after)
    assert (count, steps) == (1, 4)
    for name, change in ledger.kept().items():
        torch.testing.assert_close(change, total[name], rtol=0, atol=0)
        assert not torch.equal(change, after.module.state_dict()[name] - before.module.state_dict()[name])


def test_keeping_the_steps_changes_none_of_them():
    records = request().retain[:16]
    plain = classifier().target.fresh(5)
    train(plain, [Term("train", plain.encode(records), own_loss)], Recipe(lr=1e-2, epochs=2, batch_size=8))
    assert trained(records)[1].fingerprint() == plain.fingerprint()


def test_amnesiac_from_kept_steps_without_repair_is_the_subtraction(tmp_path: Path):
    asked = Request(request().forget[:4], request().retain[:28], seed=1, allow_overlap=True)
    _, after, _ = trained([*asked.retain, *asked.forget], folder=tmp_path)
    made = amnesiac(after, asked, updates=str(tmp_path), repair_epochs=0)
    total, _, _ = updates_of(tmp_path, [str(record["id"]) for record in asked.forget], after)
    for name, tensor in made.module.state_dict().items():
        torch.testing.assert_close(tensor, after.module.state_dict()[name] - total[name], rtol=0, atol=0)


def test_kept_steps_of_another_training_are_refused(tmp_path: Path):
    asked = Request(request().forget[:4], request().retain[:28], seed=1, allow_overlap=True)
    with pytest.raises(InputError, match=r"holds no step-\*.safetensors"):
        amnesiac(classifier().target, asked, updates=str(tmp_path))
    _, after, _ = trained(asked.retain, folder=tmp_path)
    with pytest.raises(InputError, match="took part in no step"):
        amnesiac(after, asked, updates=str(tmp_path))
    (tmp_path / "step-000002.safetensors").unlink()
    with pytest.raises(InputError, match="lacks step 2"):
        amnesiac(after, asked, updates=str(tmp_path))
    (tmp_path / "step-000001.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged"):
        amnesiac(after, asked, updates=str(tmp_path))


def wrong(model: Model, records: Sequence[Record]) -> float:
    examples = model.encode(records)
    with model.evaluating():
        found = [
            float((model.logits(batch)[:, 0].argmax(-1) != batch.labels[:, 0]).float().sum())
            for batch in model.batches(examples)
        ]
    return sum(found) / len(examples)


def test_scrub_r_comes_nearer_to_the_error_of_unseen_records_than_scrub():
    asked = request()
    # Validation that the model gets right to the last: SCRUB's forgetting overshoots that goal.
    asked = replace(asked, validation=asked.retain, allow_overlap=True)
    options = {"lr": 1e-2, "epochs": 10, "forget_epochs": 4}
    model = classifier().target
    plain, wound = scrub(model, asked, **options), scrub_r(model, asked, **options)
    goal = wrong(plain, asked.validation)
    assert wrong(plain, asked.forget) > goal
    assert abs(wrong(wound, asked.forget) - goal) < abs(wrong(plain, asked.forget) - goal)


def test_scrub_r_with_one_obeying_epoch_is_scrub():
    asked = replace(request(), validation=request().retain, allow_overlap=True)
    options = {"lr": 3e-3, "epochs": 2, "forget_epochs": 1}
    model = classifier().target
    assert scrub_r(model, asked, **options).fingerprint() == scrub(model, asked, **options).fingerprint()


def test_the_goal_is_weighted_to_the_classes_of_the_forget_set():
    asked = request()
    label = asked.forget[0]["label"]
    gone = [record for record in [*asked.forget, *asked.retain] if record["label"] == label][:6]
    kept = Request(gone, asked.retain, seed=0, allow_overlap=True, validation=asked.holdout or asked.retain)
    rewind = Rewind(classifier().target, kept, 1)
    assert len(rewind.unseen) == sum(record["label"] == label for record in kept.validation)
    assert torch.allclose(rewind.shares / rewind.shares.sum(), torch.full_like(rewind.shares, 1 / len(rewind.shares)))
    with pytest.raises(InputError, match="no validation record is of a forgotten class"):
        Rewind(classifier().target, replace(kept, validation=[{**asked.retain[0], "id": "other", "label": -1}]), 1)
