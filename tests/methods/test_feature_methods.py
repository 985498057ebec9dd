"""Methods that move what a classifier's last layer reads, and those that relabel by it."""

from collections.abc import Sequence

import pytest
import torch
from tests.attacks.tiny import classifier

from lethe.descent.features import class_features
from lethe.errors import InputError
from lethe.losses.features import (
    centroids,
    contrastive,
    mahalanobis,
    nearest_other,
    shrunk_precision,
    tukey,
)
from lethe.methods import contrastive as contrastive_method
from lethe.methods.duck import duck
from lethe.methods.pseudo_label import pseudo_label
from lethe.methods.scar import scar
from lethe.methods.unsir_instance import away, unsir_instance
from lethe.methods.untrained import untrained
from lethe.models.base import Model
from lethe.request import Record, Request

X = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], dtype=torch.float64)


def request() -> Request:
    return classifier().request


def one_class() -> Request:
    records = [*request().forget, *request().retain]
    gone = [record for record in records if record["label"] == 0]
    return Request(gone, [record for record in records if record["label"] != 0], seed=3, allow_overlap=True)


def named(model: Model, records: Sequence[Record]) -> torch.Tensor:
    examples = model.encode(records)
    found = torch.zeros(len(examples), dtype=torch.long)
    with model.evaluating():
        for batch in model.batches(examples):
            found[batch.index] = model.logits(batch)[:, 0].argmax(-1)
    return found


def test_contrastive_loss_by_hand():
    """Cosines of the first row with the three: 1, 0, 1/sqrt 2; pulled to the second, against all."""
    towards = torch.tensor([[False, True, False]])
    value = contrastive(X[:1], X, towards, torch.ones_like(towards))
    expected = torch.log(torch.tensor([1.0, 0.0, 0.5**0.5], dtype=torch.float64).exp().sum())
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_contrastive_loss_knows_no_scale_and_nobody_to_go_to_is_0():
    towards = torch.tensor([[False, True, True]]).expand(3, 3)
    value = contrastive(X, X, towards, torch.ones_like(towards), 0.5)
    torch.testing.assert_close(contrastive(7 * X, 0.1 * X, towards, torch.ones_like(towards), 0.5), value)
    nobody = torch.zeros_like(towards)
    assert float(contrastive(X, X, nobody, torch.ones_like(towards))) == 0


def test_the_released_contrastive_loss_says_nothing_of_a_single_class():
    """In a batch of one class nobody is of another, so the loss is 0 whatever the features: the method refuses."""
    with pytest.raises(InputError, match="all of these are of one; use variant=paper"):
        contrastive_method.contrastive(classifier().target, one_class(), variant="reference")


def test_centroids_and_the_nearest_other_class():
    means, present = centroids(X, torch.tensor([0, 2, 2]), 4)
    torch.testing.assert_close(means, torch.tensor([[1, 0], [0, 0], [1.5, 2.5], [0, 0]], dtype=torch.float64))
    assert present.tolist() == [True, False, True, False]
    distances = torch.tensor([[0.0, 0.1, 3.0, 0.2], [5.0, 0.0, 0.0, 0.0]])
    assert nearest_other(distances, torch.tensor([0, 2]), present).tolist() == [2, 0]
    with pytest.raises(InputError, match="no other class to move forget records to"):
        nearest_other(distances[:1], torch.tensor([0]), torch.tensor([True, False, False, False]))


def test_mahalanobis_with_the_identity_is_euclidean_and_scales_with_the_spread():
    eye = torch.eye(2, dtype=torch.float64).expand(1, 2, 2)
    found = mahalanobis(X, torch.zeros(1, 2, dtype=torch.float64), eye)
    torch.testing.assert_close(found[:, 0], X.norm(dim=-1))
    torch.testing.assert_close(mahalanobis(X, torch.zeros(1, 2, dtype=torch.float64), eye / 4), found / 2)


def test_shrunk_covariance_has_an_inverse_where_the_covariance_has_none():
    rows = torch.tensor([[1.0, 2, 3], [2, 4, 6]], dtype=torch.float64)  # rank 1
    precision = shrunk_precision(rows, 3.0, 0.0)
    cov = torch.cov(rows.T) + 3 * torch.cov(rows.T).diagonal().mean() * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(precision @ cov, torch.eye(3, dtype=torch.float64))


def test_tukey_is_defined_where_a_plain_power_is_not():
    """A power of a negative feature is no number, and the slope of a root at 0 has no bound (released SCAR)."""
    x = torch.tensor([-4.0, 0.0, 4.0], requires_grad=True)
    y = tukey(x, 0.5)
    y.sum().backward()
    assert bool(torch.isfinite(x.grad).all())  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(y.detach(), torch.tensor([-1.99, 0.0, 1.99]), rtol=0, atol=1e-3)
    assert bool((x.detach() ** 0.5).isnan().any())


def test_duck_brings_features_to_another_class():
    model, asked = classifier().target, one_class()
    made = duck(model, asked, lr=1e-3, epochs=15)
    means, present = centroids(*class_features(model, model.encode(asked.retain)))

    def apart(of: Model) -> float:
        seen, labels, _ = class_features(of, model.encode(asked.forget))
        cosine = torch.nn.functional.normalize(seen, dim=-1) @ torch.nn.functional.normalize(means, dim=-1).T
        nearest = nearest_other(1 - cosine, labels, present)
        return float((1 - cosine.gather(1, nearest[:, None])).mean())

    assert apart(made) < 0.5 * apart(model)


def test_scar_looks_at_the_forget_records_and_a_port_that_reads_a_retain_batch_does_not():
    model, asked = classifier().target, request()
    options = {"lr": 1e-3, "epochs": 1, "keep_weight": 0.0}
    forget = [{**record, "image": 1 - record["image"]} if "image" in record else
              {**record, "features": 1 - record["features"]} for record in asked.forget]  # fmt: skip
    other = Request(forget, asked.retain, seed=asked.seed, allow_overlap=True)
    assert scar(model, asked, **options).fingerprint() != scar(model, other, **options).fingerprint()


def test_pseudo_labels_are_what_the_model_would_say_next():
    model, asked = classifier().target, one_class()
    made = pseudo_label(model, asked, lr=3e-3, epochs=20)
    examples = model.encode(asked.forget)
    wanted = torch.zeros(len(examples), dtype=torch.long)
    with model.evaluating():
        for batch in model.batches(examples):
            logits = model.logits(batch)[:, 0]
            logits[:, 0] = -torch.inf
            wanted[batch.index] = logits.argmax(-1)
    assert float((named(made, asked.forget) == wanted).float().mean()) > 0.9


def test_pseudo_label_needs_a_class_that_stays():
    """All classes go but one, of which some records go, too: nothing is left to call these."""
    records = [*request().forget, *request().retain]
    own = [record for record in records if record["label"] == 0]
    gone = [record for record in records if record["label"] != 0]
    with pytest.raises(InputError, match="keep at least one"):
        pseudo_label(classifier().target, Request([*gone, *own[:2]], own[2:], seed=0, allow_overlap=True))


def test_noise_of_unsir_for_instances_leaves_the_outputs_it_is_shown():
    """A comment in the released code says that the distance falls; the sign of its loss says that it grows."""
    model = classifier().target
    batch = next(iter(model.batches(model.encode(request().forget), 8)))

    def distance(x: torch.Tensor) -> float:
        with model.evaluating():
            found = model.logits(type(batch)(batch.index, {**batch.inputs, "x": x}, batch.labels))
            return float((found - model.logits(batch)).square().mean())

    torch.manual_seed(0)
    drawn = away(model, batch, 0, 0.01)
    torch.manual_seed(0)
    assert distance(away(model, batch, 30, 0.05)) > distance(drawn)


def test_unsir_for_instances_reads_no_label_of_a_forget_record():
    model, asked = classifier().target, request()
    classes = len({record["label"] for record in asked.retain})
    other = [{**record, "label": (record["label"] + 1) % classes} for record in asked.forget]
    made = [
        unsir_instance(model, Request(forget, asked.retain, seed=asked.seed, allow_overlap=True), lr=1e-3, epochs=2)
        for forget in (asked.forget, other)
    ]
    assert made[0].fingerprint() == made[1].fingerprint()


def test_random_weights_are_another_draw_than_the_models_and_know_nothing():
    model, asked = classifier().target, request()
    blank = untrained(model, asked)
    own, other = model.module.state_dict(), blank.module.state_dict()
    assert all(not torch.equal(own[name], other[name]) for name in own)
    labels = torch.tensor([record["label"] for record in asked.retain])
    assert float((named(blank, asked.retain) == labels).float().mean()) < 0.5
