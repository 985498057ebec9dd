"""A classifier of several yes-or-no labels is a sequence of binary decisions: nothing is written twice for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.contracts.cases import cards
from torch import nn

from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.losses.classification import kl_temperature
from lethe.measure import compute
from lethe.methods.head_mask import head_mask
from lethe.models.classifier import MULTI_LABEL, Classifier
from lethe.models.nets import MLP, SmallCNN
from lethe.registry import Card, bind, find
from lethe.request import Request

from . import tiny

ATTRIBUTES = 3
SHORT = {"epochs": 2, "batch_size": 8}


def model(seed: int = 0) -> Classifier:
    return Classifier(tiny.drawn(lambda: MLP(6, ATTRIBUTES, width=16, multi_label=True), seed).eval())


def records(count: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"m{seed}.{i}",
            "features": rng.normal(size=6).astype(np.float32),
            "labels": [int(one) for one in rng.integers(2, size=ATTRIBUTES)],
        }
        for i in range(count)
    ]


def request() -> Request:
    every = records(40)
    return Request(every[:8], every[8:24], records(16, seed=1), validation=every[24:], allow_overlap=True)


def seen(one: Classifier) -> Evidence:
    asked = request()
    probes = {"forget": asked.forget, "retain": asked.retain, "holdout": asked.holdout}
    return observe(one, probes, Spec(interior=("forget", "retain"), gradients=("forget", "holdout")))


def target(one: Classifier) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (B, A, 2), the network's own outputs (B, A), and the labels as numbers."""
    batch = one.collate(one.encode(records()), range(12))
    return one.logits(batch), one.module(batch.inputs["x"]), batch.labels.double()


def test_the_loss_is_the_sum_of_the_binary_cross_entropies():
    one = model()
    logits, outputs, labels = target(one)
    assert logits.shape == (12, ATTRIBUTES, 2)
    batch = one.collate(one.encode(records()), range(12))
    theirs = nn.functional.binary_cross_entropy_with_logits(outputs.double(), labels, reduction="none")
    torch.testing.assert_close(one.loss(batch).double(), theirs.sum(1), atol=1e-6, rtol=1e-6)
    assert one.sizes(batch).tolist() == [ATTRIBUTES] * 12 == [example.size for example in one.encode(records())]


def test_the_divergence_is_bernoullis_attribute_by_attribute():
    """Not a softmax across decisions that exclude nothing, as a released notebook has it."""
    (own, z, _), (other, w, _) = target(model(0)), target(model(1))
    found = kl_temperature(own, other, 2.0).sum(-1)
    p, q = (torch.sigmoid(one.detach().double() / 2) for one in (z, w))
    by_hand = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(-1)
    torch.testing.assert_close(found.double(), by_hand, atol=1e-6, rtol=1e-4)
    across = 4 * nn.functional.kl_div((w / 2).log_softmax(-1), (z / 2).softmax(-1), reduction="none").sum(-1)
    assert float((across.double() - by_hand).abs().max().detach()) > 0.005


def test_accuracy_is_the_mean_over_attributes_of_each_ones_own():
    one = model()
    batch = one.collate(one.encode(request().forget), range(8))
    right = (one.module(batch.inputs["x"]) > 0).long() == batch.labels
    found = compute("accuracy:set=forget", seen(one))
    assert found.value == pytest.approx(float(right.float().mean(0).mean()))
    assert found.n == 8
    with pytest.raises(InputError, match="always 1"):
        compute("accuracy:set=forget,top=2", seen(one))


def test_the_attack_reads_the_mean_binary_cross_entropy():
    one = model()
    batch = one.collate(one.encode(request().forget), range(8))
    outputs = one.module(batch.inputs["x"])
    theirs = nn.functional.binary_cross_entropy_with_logits(outputs, batch.labels.float(), reduction="none").mean(1)
    np.testing.assert_allclose(seen(one).nll("forget"), theirs.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("make", [lambda: MLP(6, 3, multi_label=True), lambda: SmallCNN(1, 3, 8, multi_label=True)])
def test_a_folder_says_that_it_is_multi_label(make: Any, tmp_path: Path):
    folder = Classifier(tiny.drawn(make)).save(tmp_path / "m")
    plain = Classifier(tiny.drawn(lambda: MLP(6, 3))).save(tmp_path / "n")
    assert Classifier.load(folder).multi_label and not Classifier.load(plain).multi_label


def test_a_transformers_configuration_says_so_by_its_problem_type(tmp_path: Path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic",
        id2label={0: "male", 1: "smiling", 2: "young"}, problem_type=MULTI_LABEL,
    )  # fmt: skip
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    one = Classifier.load(tmp_path / "resnet")
    pictures = [{**record, "labels": [0, 1, 1]} for record in tiny.images(3)]
    assert one.logits(one.collate(one.encode(pictures), range(3))).shape == (3, 3, 2)
    again = Classifier.load(one.save(tmp_path / "again"))
    assert again.fingerprint() == one.fingerprint() and again.multi_label and one.fresh(1).multi_label


def classifier_methods() -> list[Any]:
    return [pytest.param(card, id=card.name) for card in cards("method") if _takes(card)]


def _takes(card: Card) -> bool:
    return (not card.families or "classifier" in card.families) and card.needs <= Classifier.abilities


# They act on classes, or solve for one softmax.
REFUSES = {"head_mask", "boundary_expand", "unsir", "newton", "duck", "scar", "contrastive", "pseudo_label"}


@pytest.mark.parametrize("card", classifier_methods())
def test_every_method_works_or_refuses_in_a_sentence(card: Card):
    one, asked = model(), request()
    before = one.fingerprint()
    known = card.options()
    given = {name: value for name, value in SHORT.items() if name in known}
    try:
        made = card.function(one, asked, **bind(card.function, given))
    except InputError as error:
        assert "label" in str(error) and str(error).endswith(".")
        return
    finally:
        assert one.fingerprint() == before
    assert card.name not in REFUSES
    assert made.multi_label and np.isfinite(seen(made).nll("forget")).all()


def test_unlearning_by_relabelling_really_lowers_what_is_known():
    one, asked = model(), request()
    start = find("method", "finetune").function(
        one, Request(asked.retain, asked.forget, allow_overlap=True), lr=3e-2, epochs=60
    )
    made = find("method", "boundary_shrink").function(start, asked, lr=3e-2, epochs=60)
    before, after = (compute("accuracy:set=forget", seen(each)).value for each in (start, made))
    assert before > 0.9 > 0.3 > after


@pytest.mark.parametrize("card", [pytest.param(card, id=card.name) for card in cards("metric") if _takes(card)])
def test_every_metric_scores_or_refuses_in_a_sentence(card: Card):
    own, other = seen(model()), seen(model(1))
    beside = ([other], own) if "original" in card.requires else ([other],)
    try:
        assert np.isfinite(card.function(own, *beside).value)
    except InputError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize("name", ["relearn", "quantize", "merge", "prune", "weight_noise"])
def test_attacks_work(name: str):
    options = {"relearn": {"steps": (2,)}, "merge": {"original": model(1)}}.get(name, {})
    points = list(find("attack", name).function(model(), request(), **options))
    assert points and all(point.model.multi_label for point in points)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": [0, 1]}, r"the labels are \[0, 1\]; the model decides on 3"),
        ({"labels": [0, 1, 2]}, "each 0 or 1"),
        ({"labels": None}, "needs labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(change: dict[str, Any], told: str):
    record = {name: value for name, value in {**records(1)[0], **change}.items() if value is not None}
    with pytest.raises(InputError, match=told):
        model().encode([record])


def test_the_head_mask_says_why_it_cannot():
    with pytest.raises(InputError, match="has several labels, none of which is a class"):
        head_mask(model(), request())
