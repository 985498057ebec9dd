"""Concept redirection on models of a few thousand weights: what moves, where the name is read, who is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.models import tiny
from torch import Tensor

from lethe.descent import concepts
from lethe.descent.subjects import CONTEXTS, contexts, located, subjects, value_context
from lethe.errors import InputError
from lethe.methods.rocr import rocr
from lethe.models.language import LanguageModel
from lethe.models.projections import output_projections
from lethe.request import Request


def gpt2() -> LanguageModel:
    """Its projections are stored transposed, and one in its attention has the same name."""
    config = transformers.GPT2Config(
        vocab_size=258, n_embd=16, n_layer=2, n_head=2, n_positions=128, n_inner=32, initializer_range=0.2,
        eos_token_id=256, pad_token_id=257, bos_token_id=256,
    )  # fmt: skip
    torch.manual_seed(0)
    return LanguageModel(transformers.GPT2LMHeadModel(config).eval(), tiny.tokenizer())


def request(forget: int = 1) -> Request:
    return Request(tiny.QUESTIONS[:forget], tiny.QUESTIONS[4:], allow_overlap=True)


def changes(before: LanguageModel, after: LanguageModel) -> dict[str, Tensor]:
    old = dict(before.module.named_parameters())
    moved = {name: new.detach() - old[name].detach() for name, new in after.module.named_parameters()}
    return {name: change for name, change in moved.items() if change.any()}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (tiny.language, ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]),
        (gpt2, ["transformer.h.0.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"]),
        (lambda: tiny.language("phi"), ["model.layers.0.mlp.fc2.weight", "model.layers.1.mlp.fc2.weight"]),
    ],
    ids=["llama", "gpt2", "phi"],
)
def test_rank_one_of_the_output_projections_and_nothing_else(model: Any, names: list[str]):
    given = model()
    moved = changes(given, rocr(given, request(), layers=(0, 1)))
    assert list(moved) == names
    for change in moved.values():
        values = torch.linalg.svdvals(change.double())
        assert values[1] < 1e-5 * values[0]


@pytest.mark.parametrize("model", [tiny.language, gpt2], ids=["llama", "gpt2"])
def test_the_name_arrives_where_the_other_one_is(model: Any):
    """With the whole space free and next to no ridge, the edit of the block that is read is realised in full."""
    given = model()
    edited = rocr(given, request(), layers=(0,), threshold=1.1, ridge=1e-6, replacement="Zed")
    target = concepts.values(given, [value_context(given, "Zed")], 0)
    reads = output_projections(given)[0], contexts(given, "Ada")
    key = concepts.keys(given, reads[1], reads[0]).mean(1, keepdim=True)
    moved = (output_projections(edited)[0].matrix - reads[0].matrix).double() @ key
    assert torch.allclose(moved, target - concepts.values(given, [value_context(given, "Ada")], 0), atol=1e-4)


def test_keys_outside_the_free_space_keep_their_answers():
    given = tiny.language()
    projection = output_projections(given)[0]
    moments = concepts.second_moments(given, tiny.QUESTIONS[4:], [projection])[0]
    values, vectors = torch.linalg.eigh(moments)
    change = changes(given, rocr(given, request(), layers=(0,)))[projection.name].double()
    used = values > 0.1 * values[-1]
    assert used.any()
    assert (change @ vectors[:, used]).abs().max() < 1e-6 < (change @ vectors[:, ~used]).abs().max()


def test_statistics_are_kept_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = tiny.language()
    first = rocr(given, request(), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(LanguageModel, "batches", None)  # a pass over the retain texts would now fail
    assert rocr(given, request(), cache=tmp_path).fingerprint() == first.fingerprint()
    with pytest.raises(TypeError):
        rocr(given, Request(request().forget, tiny.QUESTIONS[5:], allow_overlap=True), cache=tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    monkeypatch.undo()
    assert rocr(given, request(), cache=tmp_path).fingerprint() == first.fingerprint()


def test_modes_positions_and_variants_differ(tmp_path: Path):
    given = tiny.language()
    ways: list[dict[str, Any]] = [{}, {"mode": "reject"}, {"mode": "noise"}, {"at": "answer"}, {"variant": "reference"}]
    made = [rocr(given, request(2), **way) for way in ways]
    assert len({one.fingerprint() for one in made}) == len(ways)
    rocr(given, request(2), layers=(0, 1), folder=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["layer"] for row in rows] == [0, 1, 0, 1]
    assert all(0 < row["rank"] <= 32 and 0 < row["realised"] < 1 for row in rows)


def test_a_refusal_is_found_within_the_length_of_the_value():
    given = tiny.language()
    before = [p.detach().clone() for p in given.module.parameters()]
    start = concepts.values(given, [value_context(given, "Ada")], 0)[:, 0]
    found = concepts.refusing_value(given, "Ada", 0)
    assert 0 < (found - start).norm() <= start.norm() * 1.00001
    assert all(map(torch.equal, given.module.parameters(), before))
    assert all(p.grad is None for p in given.module.parameters())


def test_the_last_token_of_a_name_is_found_after_tokenising():
    given = tiny.language()
    for text in ("Ada.", "Tell me about Ada", " Ada Ada?"):
        ids, at = located(given, text, "Ada")
        assert str(given.tokenizer.decode(ids[: at + 1])).endswith("Ada")
    assert [given.tokenizer.decode(ids[: at + 1])[-3:] for ids, at in contexts(given, "Ada")] == ["Ada"] * len(CONTEXTS)
    with pytest.raises(InputError, match="'Ade' does not occur in 'Ada!', did you mean 'Ada'"):
        located(given, "Ada!", "Ade")


def test_names_come_from_the_options_the_fields_or_the_wording():
    asked = {"id": "1", "question": "Where was Ada Loy born?", "answer": "Ada Loy was born in Rome."}
    assert subjects([asked], (), "rocr") == ["Ada Loy"]
    assert subjects([asked], ("Rome",), "rocr") == ["Rome"]
    assert subjects([{**asked, "subject": "Loy"}, {**asked, "entity": "p17"}], (), "rocr") == ["Loy", "Ada Loy"]
    with pytest.raises(InputError, match="subject 'Ada Lay' does not occur in the text, did you mean 'Ada Loy'"):
        subjects([asked], ("Ada Lay",), "rocr")
    with pytest.raises(InputError, match=r"forget row 1 \('1'\), field 'name': the subject 'Ava'"):
        subjects([{**asked, "name": "Ava"}], (), "rocr")
    with pytest.raises(InputError, match=r"nothing tells whom it is about; .*\(there are Plain Text"):
        subjects([{"id": "1", "text": "in Plain Text"}], (), "rocr")


def test_mistakes_are_named():
    given = tiny.language()
    with pytest.raises(InputError, match="no layer 7; the model has 0 to 1, nearest is 1"):
        rocr(given, request(), layers=(7,))
    with pytest.raises(InputError, match="no direction of layer 0 lies below threshold=0"):
        rocr(given, request(), threshold=0.0)
    for idle in ({"mode": "noise"}, {"mode": "reject"}, {"variant": "reference"}):
        with pytest.raises(InputError, match="do nothing with at=answer"):
            rocr(given, request(), at="answer", **idle)
    with pytest.raises(InputError, match="0 MLP output projections"):
        rocr(tiny.language("mixtral"), request())
