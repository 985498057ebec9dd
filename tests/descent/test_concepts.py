"""Keys and their statistics: read at the right token whatever shape the MLP sees, and kept for any device."""

from pathlib import Path

import pytest
import torch
from tests.models import tiny
from torch import Tensor

from lethe.descent import concepts
from lethe.models.language import LanguageModel
from lethe.models.projections import OutputProjection, output_projections

TEXTS = ["Where was Ada born?", "Bo"]


def alone(model: LanguageModel, projection: OutputProjection, text: str) -> Tensor:
    """What the projection reads over one text (T, d), by a hook of its own."""
    seen: list[Tensor] = []
    hook = projection.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)))
    with model.evaluating():
        model.module(input_ids=torch.tensor([model.tokenizer(text)["input_ids"]]))
    hook.remove()
    return seen[0].double()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
def test_keys_and_moments_of_a_padded_batch_are_those_of_its_texts(architecture: str):
    """OPT hands its MLPs the tokens of all texts in one row after the other."""
    model = tiny.language(architecture)
    projection = output_projections(model)[1]
    rows = [alone(model, projection, text) for text in TEXTS]
    places = [(list(model.encode([{"id": text, "text": text}])[0].inputs["input_ids"]), 1) for text in TEXTS]
    found = concepts.keys(model, places, projection)
    torch.testing.assert_close(found, torch.stack([row[1] for row in rows], 1), rtol=1e-4, atol=1e-5)
    whole = torch.cat(rows)
    moments = concepts.second_moments(model, [{"id": text, "text": text} for text in TEXTS], [projection])
    torch.testing.assert_close(moments[1], whole.T @ whole / len(whole), rtol=1e-4, atol=1e-5)


def test_kept_statistics_arrive_where_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = tiny.language()
    asked = given, tiny.QUESTIONS[4:], output_projections(given)[:1], tmp_path
    concepts.second_moments(*asked)
    monkeypatch.setattr(LanguageModel, "device", torch.device("meta"))
    assert concepts.second_moments(*asked)[0].device.type == "meta"
