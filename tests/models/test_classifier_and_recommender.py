"""The two other families behind the same questions, and the small networks that stand in for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lethe.errors import InputError
from lethe.models import load, nets
from lethe.models.base import per_example
from lethe.models.classifier import Classifier
from lethe.models.recommender import Recommender

from . import tiny

MADE = {
    "features": (tiny.classifier, lambda: tiny.features(9)),
    "images": (tiny.image_classifier, lambda: tiny.images(9)),
    "interactions": (tiny.recommender, tiny.interactions),
}
every_kind = pytest.mark.parametrize("kind", MADE)


def made(kind: str) -> tuple[Any, list[dict[str, Any]]]:
    make, records = MADE[kind]
    return make(), records()


@every_kind
def test_a_record_is_one_scored_token_out_of_the_classes(kind: str):
    model, records = made(kind)
    examples = model.encode(records)
    batch = model.collate(examples, range(len(examples)))
    logits = model.logits(batch)
    outputs = 12 if kind == "interactions" else 4
    assert logits.shape == (len(records), 1, outputs)
    assert batch.labels.shape == (len(records), 1)
    wanted = [record["item"] if kind == "interactions" else record["label"] for record in records]
    assert batch.labels[:, 0].tolist() == wanted
    assert model.sizes(batch).tolist() == [1] * len(records) == [example.size for example in examples]
    assert model.loss(batch).shape == (len(records),)


def test_a_classifiers_loss_is_the_cross_entropy():
    model, records = made("images")
    batch = model.collate(model.encode(records), range(9))
    theirs = nn.functional.cross_entropy(model.module(batch.inputs["x"]), batch.labels[:, 0], reduction="none")
    torch.testing.assert_close(model.loss(batch), theirs)


def test_features_are_what_the_head_reads():
    for make, records in (MADE["features"], MADE["images"]):
        model: Any = make()
        batch = model.collate(model.encode(records()), range(9))
        torch.testing.assert_close(model.module.head(model.features(batch)), model.logits(batch)[:, 0])


@pytest.mark.parametrize("kind", ["features", "images"])  # a recommender's loss depends on the negatives drawn
def test_per_example_values_come_in_the_order_of_the_records(kind: str):
    model, records = made(kind)
    examples = model.encode(records)
    together = per_example(model, examples, size=4)
    alone = torch.cat([model.loss(model.collate([example], [0])).detach() for example in examples])
    torch.testing.assert_close(together, alone)


@every_kind
def test_save_and_load_give_the_same_bits(kind: str, tmp_path: Path):
    model, records = made(kind)
    folder = model.save(tmp_path / "m")
    loaded = load(folder)
    assert type(loaded) is type(model)
    assert loaded.fingerprint() == model.fingerprint()
    batch = model.collate(model.encode(records), range(len(records)))
    assert torch.equal(loaded.logits(batch), model.logits(batch))


@every_kind
@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_fresh_draws_every_random_weight_anew_at_any_depth(kind: str, depth: str):
    model, _ = made(kind)
    if depth == "deep" and isinstance(model, Classifier):
        model = Classifier(nn.Sequential(nn.Sequential(nn.Sequential(model.module)), nn.BatchNorm1d(4)))
    state = torch.random.get_rng_state()
    fresh, again, other = model.fresh(1), model.fresh(1), model.fresh(2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert fresh.fingerprint() == again.fingerprint() != other.fingerprint()
    pairs = zip(fresh.module.named_parameters(), model.module.parameters(), strict=True)
    kept = [name for (name, new), old in pairs if old.unique().numel() > 1 and torch.equal(new, old)]
    assert not kept


def test_fresh_of_a_transformers_classifier_uses_its_own_initialisation(tmp_path: Path):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_channels=1, id2label=dict(enumerate("abcd")),
    )  # fmt: skip
    tiny.drawn(lambda: ViTForImageClassification(config)).save_pretrained(tmp_path / "vit")
    model = load(tmp_path / "vit")
    assert isinstance(model, Classifier)
    batch = model.collate(model.encode(tiny.images(3)), range(3))
    assert model.logits(batch).shape == (3, 1, 4)
    fresh = model.fresh(1)
    assert fresh.fingerprint() == model.fresh(1).fingerprint() != model.fingerprint()
    pairs = zip(fresh.module.named_parameters(), model.module.parameters(), strict=True)
    assert not [name for (name, new), old in pairs if old.unique().numel() > 1 and torch.equal(new, old)]


def test_a_layer_that_cannot_be_drawn_anew_is_named():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

    with pytest.raises(InputError, match=r"'1' \(Odd\)"):
        nets.reset(nn.Sequential(nn.Linear(6, 4), Odd()), 0)


def test_fingerprints_see_names_types_shapes_and_scalars():
    one = Classifier(nn.BatchNorm1d(2))  # has a counter without dimensions
    same = one.copy()
    assert one.fingerprint() == same.fingerprint()
    same.module.get_buffer("num_batches_tracked").add_(1)
    assert one.fingerprint() != same.fingerprint()
    assert (
        Classifier(nn.Linear(2, 3, bias=False)).fingerprint() != Classifier(nn.Linear(3, 2, bias=False)).fingerprint()
    )
    zeros = Classifier(nn.Linear(2, 2, bias=False))
    nn.init.zeros_(zeros.module.weight)  # pyright: ignore[reportArgumentType]
    assert zeros.fingerprint() != Classifier(zeros.copy().module.to(torch.bfloat16)).fingerprint()


@every_kind
def test_broken_folders_are_refused(kind: str, tmp_path: Path):
    model, _ = made(kind)
    folder = model.save(tmp_path / "m")
    weights = folder / "model.safetensors"
    tensors, data = load_file(weights), weights.read_bytes()
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    broken = tensors[name].clone()
    broken.view(-1)[1] = float("inf")
    save_file(tensors | {name: broken}, weights)
    with pytest.raises(InputError, match="NaN or infinite"):
        load(folder)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, weights)
    with pytest.raises(InputError, match="not a loadable model"):
        load(folder)
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not a loadable model"):
        load(folder)
    weights.unlink()
    with pytest.raises(InputError, match="not a loadable model"):
        load(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace(type(model.module).__name__, "SmallCMM"))
    with pytest.raises(InputError, match="SmallCMM"):
        nets.load(folder)


@pytest.mark.parametrize("record", [{"id": "a", "label": 1}, {"id": "a", "features": np.zeros(6)}])
def test_a_classifier_refuses_records_without_input_or_label(record: dict[str, Any]):
    with pytest.raises(InputError, match="record 'a'"):
        tiny.classifier().encode([record])


@pytest.mark.parametrize("record", [{"user": 8, "item": 0}, {"user": 0, "item": -1}, {"user": 0}])
def test_a_recommender_refuses_ids_outside_its_tables(record: dict[str, Any]):
    with pytest.raises(InputError, match="lies outside the model's 8 users x 12 items"):
        tiny.recommender().encode([record])


def test_negatives_are_items_that_the_user_has_not_and_functions_of_the_generator():
    model = tiny.recommender()
    examples = model.encode(tiny.interactions())
    draws = [model.collate(examples, range(len(examples)), torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    seen = model.net.seen()
    for batch in draws:
        assert not seen[batch.inputs["users"], batch.inputs["negatives"]].any()
    assert torch.equal(draws[0].inputs["negatives"], draws[1].inputs["negatives"])
    assert not torch.equal(draws[0].inputs["negatives"], draws[2].inputs["negatives"])


def test_scores_are_the_logits_of_the_user():
    model = tiny.recommender()
    scores = model.scores(torch.arange(8))
    examples = model.encode(tiny.interactions()[:5])
    batch = model.collate(examples, range(5))
    torch.testing.assert_close(model.logits(batch)[:, 0], scores[batch.inputs["users"]])
    positive, negative = model.margins(batch)
    torch.testing.assert_close(positive, scores[batch.inputs["users"], batch.inputs["items"]])
    torch.testing.assert_close(negative, scores[batch.inputs["users"], batch.inputs["negatives"]])


def test_propagation_is_the_mean_over_steps_on_the_normalised_graph():
    """LightGCN written out with the (users + items)^2 matrix of the paper, eq. 7 and 8."""
    net: Any = tiny.recommender(layers=2).module
    graph = torch.zeros(20, 20)
    graph[:8, 8:] = net.seen().float()
    graph += graph.T.clone()
    degree = graph.sum(1).clamp(min=1)
    operator = graph / degree.outer(degree).sqrt()
    start = torch.cat([net.user_table.weight, net.item_table.weight])
    wanted = (start + operator @ start + operator @ operator @ start) / 3
    torch.testing.assert_close(torch.cat(net.embed()), wanted)


def test_taking_records_out_of_the_graph_changes_the_copy_alone():
    model = tiny.recommender()
    gone = tiny.interactions()[:3]
    twin = model.copy()
    twin.without(gone)
    assert twin.net.edges.shape[1] == model.net.edges.shape[1] - 3
    assert not any(twin.net.seen()[record["user"], record["item"]] for record in gone)
    assert all(model.net.seen()[record["user"], record["item"]] for record in gone)
    assert isinstance(twin, Recommender)


@pytest.mark.parametrize("label", [4, -1])
def test_a_classifier_refuses_labels_that_it_has_not(label: int):
    with pytest.raises(InputError, match=f"record 'x0.0': the label {label} is none of the model's 4 classes, 0 to 3"):
        tiny.classifier().encode([{**tiny.features(1)[0], "label": label}])
