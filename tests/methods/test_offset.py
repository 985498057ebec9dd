"""Offset unlearning: the sum is what is trained, the small model is all that moves, and the rest is spared."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.methods.test_uld import accuracy
from tests.models import tiny
from torch import Tensor

from lethe.errors import InputError
from lethe.methods.offset import offset
from lethe.models import load
from lethe.models.difference import first_blocks
from lethe.request import Request
from lethe.runs.unlearn import changed_weights
from lethe.worlds import facts
from lethe.worlds.models import facts_model


def logits(model: Any, part: Any = None) -> Tensor:
    with model.evaluating():
        batch = model.collate(model.encode(tiny.QUESTIONS), range(len(tiny.QUESTIONS)))
        return part(**batch.inputs).logits[:, :-1].float() if part else model.logits(batch)


def test_the_offset_is_added_and_begins_at_zero():
    model, request = tiny.language(), tiny.request("language")
    still = offset(model, request, lr=0.0, epochs=1)
    torch.testing.assert_close(logits(still), logits(model), rtol=0, atol=1e-5)
    made: Any = offset(model, request, weight=0.5, lr=1e-2, epochs=2)
    target, tuned, fixed = made.module.parts
    expected = logits(model) + 0.5 * (logits(made, tuned) - logits(made, fixed))
    torch.testing.assert_close(logits(made), expected, rtol=0, atol=1e-4)
    start = first_blocks(model.module, 1).state_dict()
    assert all(torch.equal(tensor, start[name]) for name, tensor in fixed.state_dict().items())
    assert any(not torch.equal(tensor, start[name]) for name, tensor in tuned.state_dict().items())
    assert changed_weights(model, made)[0] == 0
    assert all(map(torch.equal, target.parameters(), model.module.parameters()))


def test_the_sum_forgets_and_the_retain_term_spares_the_rest():
    target, request = facts_model("full", 0), Request(facts.records("forget"), facts.records("retain"))
    made = offset(target, request, batch_size=10)
    bare = offset(target, request, batch_size=10, retain="none")
    assert accuracy(target, request.forget) == accuracy(target, request.retain) == 1
    assert accuracy(made, request.forget) < 0.4
    assert accuracy(made, request.retain) > 0.9 > accuracy(bare, request.retain)


def test_a_small_model_of_ones_own(tmp_path: Path):
    model, request = tiny.language(), tiny.request("language")
    small = tiny.language(seed=3, num_hidden_layers=1)
    folder = small.save(tmp_path / "small")
    made: Any = offset(model, request, small=str(folder), epochs=1)
    fixed = made.module.parts[2]
    assert all(torch.equal(tensor, small.module.state_dict()[name]) for name, tensor in fixed.state_dict().items())
    loaded = load(made.save(tmp_path / "made"))
    assert torch.equal(logits(loaded), logits(made))
    other = tiny.language(seed=3)
    other.tokenizer = facts.tokenizer()
    with pytest.raises(InputError, match=r"^offset: .*other has another vocabulary than the model; name one of"):
        offset(model, request, small=str(other.save(tmp_path / "other")))
    with pytest.raises(InputError, match="offset with retain=nll needs retain records"):
        offset(model, Request(request.forget, ()))
    with pytest.raises(InputError, match="first 9 blocks are asked for; the model has 2"):
        offset(model, request, blocks=9)
