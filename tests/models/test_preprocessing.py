"""Size and scale of a folder are applied once, inside the model: records stay as they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from lethe.errors import InputError
from lethe.methods.boundary_shrink import boundary_shrink
from lethe.models import preprocessing
from lethe.models.classifier import Classifier
from lethe.models.preprocessing import Preprocessing
from lethe.request import Request

from . import tiny

VIT = {"do_resize": True, "size": {"height": 24, "width": 24}, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
       "image_std": [0.5, 0.6, 0.7], "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255}  # fmt: skip
CLIP = {**VIT, "size": {"shortest_edge": 28}, "do_center_crop": True, "crop_size": {"height": 24, "width": 24},
        "resample": 3}  # fmt: skip


def folder(path: Path, told: dict[str, Any] | None) -> Path:
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=24,
                       patch_size=8, id2label=dict(enumerate("abc")))  # fmt: skip
    tiny.drawn(lambda: ViTForImageClassification(config)).save_pretrained(path)
    if told is not None:
        (path / preprocessing.FILE).write_text(json.dumps(told))
    return path


def picture(size: tuple[int, int] = (24, 24), seed: int = 0) -> np.ndarray:
    """Smooth, in steps of 1/255: what is compared is where and how, not how noise is filtered."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return (
        np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.float32).transpose(2, 0, 1)
        / 255
    )


def records(size: tuple[int, int] = (24, 24), count: int = 6) -> list[dict[str, Any]]:
    return [{"id": str(i), "image": picture(size, i), "label": i % 3} for i in range(count)]


@pytest.mark.parametrize("told", [VIT, CLIP], ids=["vit", "clip"])
def test_the_network_reads_what_transformers_processor_would_give_it(told: dict[str, Any], tmp_path: Path):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    given = picture((40, 48))
    theirs = (CLIPImageProcessorPil if "crop_size" in told else ViTImageProcessorPil)(**told)
    pixels = Image.fromarray((given * 255).round().astype(np.uint8).transpose(1, 2, 0))
    wanted = torch.as_tensor(np.array(theirs(pixels)["pixel_values"][0]))
    prepare = preprocessing.read(folder(tmp_path, told))
    assert prepare is not None
    found = prepare.normal(prepare.sized(torch.from_numpy(given))[None])[0]
    assert found.shape == wanted.shape == (3, 24, 24)
    assert float((found - wanted).abs().max()) < 0.03  # pillow rounds to 1/255 on the way


def test_the_scale_is_applied_once_and_records_stay_in_0_to_1(tmp_path: Path):
    model, bare = Classifier.load(folder(tmp_path / "a", VIT)), Classifier.load(folder(tmp_path / "b", None))
    asked = records()
    batch = model.collate(model.encode(asked), range(6))
    assert torch.equal(batch.inputs["x"][2], torch.from_numpy(asked[2]["image"]))
    mean, std = (torch.tensor(VIT[f"image_{name}"])[:, None, None] for name in ("mean", "std"))
    with torch.no_grad():
        once = bare.module((batch.inputs["x"] - mean) / std).logits
        torch.testing.assert_close(model.logits(batch)[:, 0], once)
        twice = bare.module(((batch.inputs["x"] - mean) / std - mean) / std).logits
    assert float((once - twice).abs().max()) > 0.01


@pytest.mark.parametrize("told", [VIT, CLIP], ids=["vit", "clip"])
def test_an_image_at_the_networks_size_is_taken_as_it_is_and_others_are_resized(told: dict[str, Any], tmp_path: Path):
    model = Classifier.load(folder(tmp_path, told))
    assert torch.equal(model.encode(records())[0].inputs["x"], torch.from_numpy(picture()))
    assert {tuple(one.inputs["x"].shape) for one in model.encode(records((30, 41)))} == {(3, 24, 24)}


def test_another_scale_is_another_behaviour_and_the_same_is_written_again(tmp_path: Path):
    model, bare = Classifier.load(folder(tmp_path / "a", CLIP)), Classifier.load(folder(tmp_path / "b", None))
    assert model.fingerprint() == bare.fingerprint() == bare.behaviour() != model.behaviour()
    again = Classifier.load(model.save(tmp_path / "c"))
    assert again.prepare == model.prepare == model.fresh(1).prepare and again.behaviour() == model.behaviour()
    assert not (bare.save(tmp_path / "d") / preprocessing.FILE).exists()


def test_steps_in_an_images_own_range_pass_through_the_scale(tmp_path: Path):
    """Boundary shrink moves pixels in 0 to 1, before the scale, which what it makes still has."""
    model, asked = Classifier.load(folder(tmp_path, VIT)), records()
    made = boundary_shrink(model, Request(asked[:2], asked[2:], scope="sample"), epochs=1, lr=1e-3)
    assert isinstance(made, Classifier)
    assert made.prepare == model.prepare and made.fingerprint() != model.fingerprint()


@pytest.mark.parametrize(("told", "size"), [
    ({"size": 24}, Preprocessing(scale=(24, 24))),
    ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, Preprocessing(scale=256, crop=(224, 224))),
    ({"size": 384, "crop_pct": 1.0}, Preprocessing(scale=(384, 384))),
    ({"do_resize": False, "size": 24}, Preprocessing()),
    ({"do_normalize": False, "image_mean": [0.5], "image_std": [0.5]}, Preprocessing()),
])  # fmt: skip
def test_every_form_of_the_file_is_understood(told: dict[str, Any], size: Preprocessing, tmp_path: Path):
    (tmp_path / preprocessing.FILE).write_text(json.dumps(told))
    assert preprocessing.read(tmp_path) == size


@pytest.mark.parametrize("told", [
    {"do_normalize": True}, {"image_mean": [0.5], "image_std": [0.0]}, {"image_mean": [0.5], "image_std": [1, 1]},
    {"size": {"longest_edge": 5}}, {"size": 24, "resample": 77}, {"do_center_crop": True}, [],
])  # fmt: skip
def test_a_file_that_says_something_else_is_refused(told: Any, tmp_path: Path):
    (tmp_path / preprocessing.FILE).write_text(json.dumps(told))
    with pytest.raises(InputError, match="does not say how to prepare an image"):
        preprocessing.read(tmp_path)
