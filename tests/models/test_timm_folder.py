"""timm's layout, written here by a key map of its own, is read as the network that it was written from."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from lethe.errors import InputError
from lethe.models import family_of, load
from lethe.models.classifier import Classifier
from lethe.models.preprocessing import Preprocessing
from lethe.registry import bind, find
from lethe.request import Request

from . import tiny

CLASSES = dict(enumerate("abcde"))
CFG = {"input_size": [3, 32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "crop_pct": 0.8,
       "interpolation": "bicubic"}  # fmt: skip


def resnet() -> nn.Module:
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", id2label=CLASSES
    )
    module = tiny.drawn(lambda: ResNetForImageClassification(config)).eval()
    rng = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():  # statistics as of a trained network
        if "normalization" in name and value.is_floating_point():
            value.copy_(0.5 + torch.rand(value.shape, generator=rng))
    return module


def vit() -> nn.Module:
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=16,
        layer_norm_eps=1e-6, id2label=CLASSES,
    )  # fmt: skip
    return tiny.drawn(lambda: ViTForImageClassification(config)).eval()


def timms_resnet(module: nn.Module) -> dict[str, Tensor]:
    found = {}
    for name, value in module.state_dict().items():
        name = name.removeprefix("resnet.").replace("classifier.1.", "fc.")
        name = name.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
        name = name.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
        if place := re.match(r"encoder\.stages\.(\d)\.layers\.(\d)\.", name):
            name = f"layer{int(place[1]) + 1}.{place[2]}.{name[place.end() :]}"
        if part := re.search(r"layer\.(\d)\.(convolution|normalization)", name):
            own = {"convolution": "conv", "normalization": "bn"}[part[2]]
            name = name.replace(part[0], f"{own}{int(part[1]) + 1}")
        found[name] = value.contiguous()
    return found


def timms_vit(module: nn.Module) -> dict[str, Tensor]:
    own = module.state_dict()
    found = {
        "cls_token": own["vit.embeddings.cls_token"],
        "pos_embed": own["vit.embeddings.position_embeddings"],
    }
    names = {"patch_embed.proj": "vit.embeddings.patch_embeddings.projection", "norm": "vit.layernorm",
             "head": "classifier"}  # fmt: skip
    for block in range(2):
        layer = f"vit.layers.{block}"
        same = {"norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
                "attn.proj": "attention.o_proj"}  # fmt: skip
        names |= {f"blocks.{block}.{name}": f"{layer}.{theirs}" for name, theirs in same.items()}
        for kind in ("weight", "bias"):
            parts = [own[f"{layer}.attention.{part}_proj.{kind}"] for part in "qkv"]
            found[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    found |= {
        f"{name}.{kind}": own[f"{theirs}.{kind}"] for name, theirs in names.items() for kind in ("weight", "bias")
    }
    return {name: value.contiguous() for name, value in found.items()}


MADE: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], dict[str, Tensor]], dict[str, Any]]] = {
    "resnet18": (resnet, timms_resnet, {}),
    "vit_tiny_patch16_32": (
        vit,
        timms_vit,
        {"model_args": {"depth": 2, "embed_dim": 48, "num_heads": 4, "img_size": 32}},
    ),
}


def write(folder: Path, name: str, **change: Any) -> tuple[Path, nn.Module]:
    make, timms, more = MADE[name]
    module = make()
    folder.mkdir(parents=True, exist_ok=True)
    told = {"architecture": name, "num_classes": 5, "global_pool": "token" if "vit" in name else "avg"}
    (folder / "config.json").write_text(json.dumps({**told, **more, "pretrained_cfg": CFG, **change}))
    save_file(timms(module), folder / "model.safetensors")
    return folder, module


def pictures(size: int = 32, count: int = 8) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"id": str(i), "image": rng.random((3, size, size), dtype=np.float32), "label": i % 5} for i in range(count)
    ]


@pytest.mark.parametrize("name", MADE)
def test_it_is_the_network_that_it_was_written_from(name: str, tmp_path: Path):
    folder, module = write(tmp_path / "timm", name)
    assert family_of(folder) == "classifier"
    found = Classifier.load(folder)
    assert type(found.module) is type(module)
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in found.module.state_dict().items())
    batch = found.collate(found.encode(pictures()), range(8))
    mean, std = (torch.tensor(CFG[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        wanted = module((batch.inputs["x"] - mean) / std).logits
        assert torch.equal(found.logits(batch)[:, 0], wanted)
    again = Classifier.load(found.save(tmp_path / "saved"))
    assert (again.fingerprint(), again.prepare) == (found.fingerprint(), found.prepare)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["architectures"] == [type(module).__name__]


@pytest.mark.parametrize(("method", "options"), [
    ("finetune", {"epochs": 1}), ("ssd", {"alpha": 1.0}), ("salun", {"epochs": 1}),
    ("cf_k", {"epochs": 1, "where": "last:count=2"}),
])  # fmt: skip
def test_it_unlearns_and_is_saved_as_an_ordinary_folder(method: str, options: dict[str, Any], tmp_path: Path):
    model = Classifier.load(write(tmp_path / "timm", "vit_tiny_patch16_32")[0])
    records = pictures()
    card = find("method", method)
    made = card.function(model, Request(records[:3], records[3:]), **bind(card.function, options))
    before, after = model.module.state_dict(), made.module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    if method == "cf_k":  # the last matrices before the head, with the norms around them
        assert all(name.startswith(("vit.layers.1.mlp.fc2", "vit.layernorm", "classifier", "vit.layers.1.layernorm"))
                   for name in moved)  # fmt: skip
    again = load(made.save(tmp_path / "made"))
    batch = made.collate(made.encode(records), range(8))
    with torch.no_grad():
        assert torch.equal(again.logits(batch), made.logits(batch))


def test_the_sizes_that_timm_resizes_and_cuts_to_are_those_of_its_configuration(tmp_path: Path):
    found = Classifier.load(write(tmp_path / "timm", "vit_tiny_patch16_32")[0])
    wanted = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), scale=40, crop=(32, 32), mode="bicubic")
    assert found.prepare == wanted
    assert found.encode(pictures(64))[0].inputs["x"].shape == (3, 32, 32)


@pytest.mark.parametrize(("change", "told"), [
    ({"architecture": "convnext_tiny"}, "read only where timm is installed; without it there are resnet18"),
    ({"architecture": "resnet18d"}, "'resnet18d' is read only where timm is installed"),
    ({"architecture": "vit_tiny_patch16_clip_32"}, "read only where timm is installed"),
    ({"global_pool": "avg"}, "global_pool is 'avg'; only token is read"),
    ({"model_args": {"class_token": False}}, "model_args has 'class_token', which makes another network of it"),
    ({"pretrained_cfg": {"mean": [0.5]}}, "it lacks 'input_size'.*write input_size, mean and std"),
])  # fmt: skip
def test_what_is_not_read_is_refused(change: dict[str, Any], told: str, tmp_path: Path):
    folder, _ = write(tmp_path / "timm", "vit_tiny_patch16_32", **change)
    with pytest.raises(InputError, match=told):
        load(folder)


def test_other_tensors_than_the_architectures_are_refused(tmp_path: Path):
    folder, _ = write(tmp_path / "timm", "vit_tiny_patch16_32")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "blocks.0.ls1.gamma": torch.ones(48)}, path)
    with pytest.raises(InputError, match="is no tensor of a plain vit_tiny_patch16_32"):
        load(folder)
    save_file({name: value for name, value in tensors.items() if name != "norm.weight"}, path)
    with pytest.raises(InputError, match="lacks 1 of the model's tensors"):
        load(folder)
    path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(InputError, match="save the weights as safetensors"):
        load(folder)
