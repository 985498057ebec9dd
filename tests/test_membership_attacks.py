"""Attacks on membership that read more than one pass: reworded and prefixed texts, gradients, a reference model."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor, nn

from lethe.benchmarks.tofu import tofu
from lethe.data.derived import with_derived
from lethe.data.neighbours import MaskedModel, replaced
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute, measure
from lethe.metrics.membership import SCORES, Variant
from lethe.models.base import gradient_norms
from lethe.models.classifier import Classifier
from lethe.request import Record
from lethe.scoring.membership import min_k_pp
from lethe.task import FURTHER, with_membership
from lethe.worlds import facts
from lethe.worlds.models import facts_model

ATTACKS = ("lowercase", "neighbourhood", "recall")
SPEC = Spec(generate=(), distributions=(), gradients=("forget", "holdout"))


def probes() -> dict[str, list[Record]]:
    return {name: list(facts.records(name)) for name in ("forget", "holdout")}


@pytest.fixture(scope="module")
def looked() -> dict[str, Evidence]:
    asked = with_derived(probes(), ATTACKS, neighbours=4)
    return {split: observe(facts_model(split), asked, SPEC) for split in ("full", "retain")}


@pytest.mark.parametrize("variant", SCORES)
def test_every_attack_finds_what_was_learnt_by_heart_and_nothing_in_the_control(looked: dict, variant: str):
    exposed, control = (compute(f"membership:variant={variant}", looked[side]) for side in ("full", "retain"))
    assert (exposed.n, exposed.detail["n_against"]) == (10, 9)  # one holdout record became the prefix
    assert control.low <= 0.5 <= control.high
    if variant.startswith("lowercase"):  # the words of this world are lower-case already
        assert exposed.value == 0.5
    else:
        assert exposed.value > 0.9
        assert exposed.low > 0.5


def test_the_named_variants_are_those_that_can_be_asked_for():
    assert set(get_args(Variant)) == set(SCORES)
    asked = {name for name in FURTHER if not name.startswith("reference")}
    assert asked < set(SCORES)


def test_a_reference_model_tells_at_least_as_much_as_the_loss(looked: dict):
    own, base = looked["full"], looked["retain"]
    loss = compute("membership:variant=loss", own).value
    for variant in ("difference", "ratio", "per_byte"):
        found = compute(f"membership_reference:variant={variant}", own, [base])
        assert found.value >= loss
        assert found.detail["reference"] == base.model
    itself = compute("membership_reference", own, [own])
    assert itself.value == 0.5
    assert (itself.low, itself.high) == (0.5, 0.5)
    with pytest.raises(InputError, match="needs a reference"):
        compute("membership_reference", own)
    assert measure(["membership_reference"], own) == ()  # a benchmark without controls leaves it out


def test_one_pass_per_distinct_text(looked: dict):
    """Lower-cased texts are the texts themselves here, and two neighbours of one text may be the same."""
    asked = with_derived(probes(), ATTACKS, neighbours=4)
    rows = [record for records in asked.values() for record in records]
    forms = [[row, row["derived"]["prefixed"], *row["derived"]["neighbours"]] for row in rows]
    distinct = {(form["question"], form["answer"]) for forms_of_one in forms for form in forms_of_one}
    assert len(rows) == 19
    assert looked["full"].passes == {"texts": len(distinct), "prompts": 0, "gradients": 19}
    twice = {"forget": [*asked["forget"], asked["forget"][0]], "holdout": asked["holdout"]}
    again = observe(facts_model("full"), twice, SPEC)
    assert again.passes == looked["full"].passes
    norms = again.gradient_norms("forget")
    assert norms.shape[0] == 11
    assert (norms[0] == norms[-1]).all()


def test_the_batch_does_not_matter(looked: dict):
    asked = with_derived(probes(), ATTACKS, neighbours=4)
    alone = observe(facts_model("full"), asked, Spec(generate=(), distributions=()), batch_size=1)
    for role in ("answer", "neighbours", "prefixed"):
        assert alone.nll("forget", role) == approx(looked["full"].nll("forget", role), abs=1e-5)
    one, many = (
        min_k_pp(*(evidence.per_token("forget", what=what) for what in ("logp", "mean", "std")))
        for evidence in (alone, looked["full"])
    )
    assert one == approx(many, abs=1e-3)  # divided by a standard deviation, so looser
    with pytest.raises(InputError, match=r"No gradients of the set 'forget'.*Spec\.gradients"):
        compute("membership:variant=grad_norm", alone)
    bare = observe(facts_model("full"), probes(), Spec(generate=(), distributions=()))
    with pytest.raises(InputError, match="have no neighbours"):
        compute("membership:variant=neighbourhood", bare)


def test_evidence_keeps_gradients_and_roles(looked: dict, tmp_path: Path):
    looked["full"].save(tmp_path / "one")
    again = Evidence.load(tmp_path / "one")
    assert (again.gradient_norms("holdout", "inf") == looked["full"].gradient_norms("holdout", "inf")).all()
    assert (again.nll("forget", "neighbours") == looked["full"].nll("forget", "neighbours")).all()


class Logistic(nn.Module):
    """Two classes, one weight vector: the logit of class 0 is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        logit = self.drop(x) @ self.weight
        return torch.stack([torch.zeros_like(logit), logit], dim=-1)


def test_gradient_norm_of_logistic_regression_in_closed_form():
    model = Classifier(Logistic().train())
    model.module.weight.requires_grad_(False)
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    labels = [0, 1, 1, 0, 1, 0]
    examples = model.encode([{"features": x, "label": y} for x, y in zip(rows, labels, strict=True)])
    norms = gradient_norms(model, examples)
    off = np.abs(1 / (1 + np.exp(-rows @ np.array([0.5, -1.0, 2.0]))) - labels)
    assert norms["2"][:, 0] == approx(off * np.linalg.norm(rows, axis=1), rel=1e-5)  # dropout is off
    assert norms["inf"][:, 0] == approx(off * np.abs(rows).max(axis=1), rel=1e-5)
    assert model.module.training
    assert not model.module.weight.requires_grad
    assert model.module.weight.grad is None


def test_neighbours_differ_in_one_word():
    text, words = "the author was born in Cairo", ["Oslo", "Lima", "baker", "the"]
    found = replaced(text, words, 8, seed=1)
    for one in found:
        assert sum(a != b for a, b in zip(text.split(), one.split(), strict=True)) == 1
    assert found == replaced(text, words, 8, seed=1)
    assert found != replaced(text, words, 8, seed=2)
    assert found[:3] == replaced(text, words, 3, seed=1)
    with pytest.raises(InputError, match="holds no word"):
        replaced("  ", words, 1)
    with pytest.raises(InputError, match="no other word"):
        replaced("one", ["one"], 1)


def test_derived_texts_of_each_form_of_record():
    asked: dict[str, list[Record]] = {
        "forget": [{"id": "a", "text": "Ada Came Home"}, {"id": "b", "raw_prompt": "Where? ", "answer": "In Rome"}],
        "holdout": [{"id": "c", "question": "Who?", "answer": "Ben Ray"}, {"id": "d", "text": "Cy Left Us"}],
    }
    found = with_derived(asked, ATTACKS, neighbours=2)
    assert [record["id"] for record in found["holdout"]] == ["d"]
    text, raw = (record["derived"] for record in found["forget"])
    assert text["lowercase"]["text"] == "ada came home"
    assert (text["prefixed"]["raw_prompt"], text["prefixed"]["answer"]) == ("Who? Ben Ray\n", "Ada Came Home")
    assert "text" not in text["prefixed"]
    assert (raw["lowercase"]["raw_prompt"], raw["lowercase"]["answer"]) == ("Where? ", "in rome")
    assert (raw["prefixed"]["raw_prompt"], raw["prefixed"]["answer"]) == ("Who? Ben Ray\nWhere? ", "In Rome")
    assert len(raw["neighbours"]) == 2
    assert with_derived(asked, ("loss",)) == asked
    with pytest.raises(InputError, match="recall: 2 records of 2 as a prefix"):
        with_derived(asked, ("recall",), shots=2)
    with pytest.raises(InputError, match="needs the set 'holdout'"):
        with_derived({"forget": asked["forget"]}, ("lowercase",))


def test_a_masked_model_proposes_the_words(tmp_path: Path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    words = ["[PAD]", "[MASK]", "[UNK]", *(f"w{i}" for i in range(20))]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", mask_token="[MASK]", unk_token="[UNK]")
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    BertForMaskedLM(BertConfig(vocab_size=len(words), **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, text = MaskedModel(str(tmp_path)), "w1 w2 w3 w4"
    found = model.neighbours(text, 5, seed=3)
    assert len(set(found)) == 5
    for one in found:
        assert sum(a != b for a, b in zip(text.split(), one.split(), strict=True)) == 1
        assert set(one.split()) <= set(words[3:])
    assert found == MaskedModel(str(tmp_path)).neighbours(text, 5, seed=3)
    assert found[:2] == model.neighbours(text, 2, seed=3)
    with pytest.raises(InputError, match="offers 40, not 50"):
        model.neighbours(text, 50)
    with pytest.raises(InputError, match="is not a loadable masked language model"):
        MaskedModel(str(tmp_path / "nothing"))


def test_a_benchmark_measures_them_where_asked():
    task = tofu(split="forget01", membership=("all",))
    assert {f"membership:variant={name}" for name in FURTHER if not name.startswith("reference")} <= set(task.metrics)
    assert "membership_reference:variant=ratio" in task.metrics
    assert task.spec.gradients == ("forget", "holdout")
    assert {"lowercase", "neighbours", "prefixed"} == set(task.probes["holdout"][0]["derived"])
    assert "derived" not in task.probes["retain"][0]
    plain = tofu(split="forget01")
    assert with_membership(plain, ()) is plain
    assert len(task.probes["holdout"]) == len(plain.probes["holdout"]) - 1
    with pytest.raises(InputError, match="no further membership attack 'magic'"):
        with_membership(replace(plain), ("magic",))
