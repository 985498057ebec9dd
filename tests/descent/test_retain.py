"""Retain terms: what they average over, however the batch is cut."""

import pytest
import torch
from tests.models import tiny

from lethe.descent.retain import TERMS
from lethe.losses.divergence import kl
from lethe.models.language import LanguageModel
from lethe.registry import find
from lethe.train import Recipe, train


def flat(model: LanguageModel) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.module.parameters()])


@pytest.mark.parametrize(("name", "compat"), [("kl", "masked"), ("kl_all", "reference")])
def test_kl_is_the_mean_over_scored_tokens_or_over_all_positions(name: str, compat: str):
    request, recipe = tiny.request("language"), {"lr": 1.0, "steps": 1, "optimizer": "sgd", "clip": None}
    after, values = [], []
    for accumulate in (1, 3):
        original, model = tiny.language(), tiny.language(seed=1)
        term = TERMS[name](original, request, 1.0)
        recipe |= {"batch_size": len(request.retain), "accumulate": accumulate}
        values.append(train(model, [term], Recipe(**recipe)).losses[0]["retain"])
        after.append(flat(model))
    original, model = tiny.language(), tiny.language(seed=1)
    examples = model.encode(request.retain)
    batch = model.collate(examples, range(len(examples)))
    with torch.no_grad():
        found = kl(original.logits(batch), model.logits(batch), batch.labels, compat=compat)  # pyright: ignore
    expected = found.mean() if name == "kl_all" else found.sum() / model.sizes(batch).sum()
    assert values == pytest.approx([expected.item()] * 2, rel=1e-4)
    assert torch.allclose(*after, atol=1e-5)
    assert not torch.equal(after[0], flat(model))


def test_the_two_are_different_terms_and_both_can_be_reached():
    model, request = tiny.language(), tiny.request("language")
    found = set()
    for name in ("npo", "kl_min"):
        card = find("method", name)
        presets = {preset: options.get("retain") for preset, options in card.presets.items()}
        assert "kl_all" in presets.values()
        for retain in ("kl", "kl_all"):
            made = card.function(model, request, retain=retain, epochs=3, batch_size=4, lr=1e-2)
            found.add((name, made.fingerprint()))
    assert len(found) == 4
