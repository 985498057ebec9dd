"""Folders in timm's layout, read without timm: the same network as a class of transformers, tensor for tensor.

A folder holds `config.json` (architecture, num_classes, pretrained_cfg) and `model.safetensors`. It is saved again as
an ordinary transformers folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lethe.errors import InputError, cause
from lethe.models.base import check_complete
from lethe.models.preprocessing import MODES, Preprocessing

RESNETS = {  # name -> kind of block, blocks per stage
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
WIDTHS = {"basic": (64, 128, 256, 512), "bottleneck": (256, 512, 1024, 2048)}
HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16}
VIT = re.compile(r"vit_(?P<size>tiny|small|base|large)_patch(?P<patch>\d+)_\d+")
SUPPORTED = f"{', '.join(RESNETS)} and vit_{{{','.join(HEADS)}}}_patchN_SIZE"
# Arguments of the architecture that the tensors show, and the one that they do not.
SHOWN = {"depth", "embed_dim", "img_size", "patch_size", "in_chans", "num_classes", "mlp_ratio"}
VIT_EPS = 1e-6  # of timm's layer norms; transformers' default is 1e-12

# Parts of timm's names and of those on the hub, in the order in which they are replaced.
_RESNET = (
    (r"^conv1\.", "resnet.embedder.embedder.convolution."),
    (r"^bn1\.", "resnet.embedder.embedder.normalization."),
    (r"^layer(\d)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers."),
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
    (r"(layers\.\d+)\.conv(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.convolution."),
    (r"(layers\.\d+)\.bn(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.normalization."),
    (r"^fc\.", "classifier.1."),
)
_VIT = (
    (r"^cls_token$", "vit.embeddings.cls_token"),
    (r"^pos_embed$", "vit.embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^blocks\.(\d+)\.", r"vit.encoder.layer.\1."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"^norm\.", "vit.layernorm."),
    (r"^head\.", "classifier."),
)


def configuration(folder: str | Path) -> dict[str, Any] | None:
    """What config.json says where it is one of timm's, else None."""
    try:
        told = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    timms = isinstance(told, dict) and isinstance(told.get("architecture"), str) and "pretrained_cfg" in told
    return told if timms and "model_type" not in told else None


def supported(told: Mapping[str, Any]) -> bool:
    """Whether the architecture is read here; all others need timm."""
    name = _name(told)
    return name in RESNETS or VIT.fullmatch(name) is not None


def load(folder: str | Path, told: Mapping[str, Any]) -> nn.Module:
    """The network of a folder in timm's layout, as a class of transformers.

    Raises:
        InputError: If the architecture is not one of those that are read here, or the weights are missing, pickled or
            not those of the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name, path = _name(told), Path(folder) / "model.safetensors"
    if not supported(told):
        raise InputError(
            f"{folder}: the architecture {name!r} is read only where timm is installed; without it there are "
            f"{SUPPORTED}."
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({cause(error)}); save the weights as safetensors.") from error
    try:
        module, report = (_resnet if name in RESNETS else _vit)(told, tensors)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"{path} is not a loadable {name} ({cause(error)}); get the folder again.") from error
    check_complete(report, str(folder))
    if odd := sorted(report["unexpected_keys"]):
        raise InputError(f"{path}: {odd[0]!r} is no tensor of a plain {name}; install timm for its variants.")
    return module


def preparation(folder: str | Path, told: Mapping[str, Any]) -> Preprocessing:
    """What timm does to an image before this network: resize, cut the centre out, normalise.

    Raises:
        InputError: If the configuration does not say so.
    """
    given = told.get("pretrained_cfg") or {}
    try:
        _, height, width = given["input_size"]
        mean, std = (tuple(float(value) for value in given[key]) for key in ("mean", "std"))
        mode = given.get("interpolation", "bicubic")
        if mode not in MODES.values():
            raise ValueError(f"interpolation {mode!r} is not one of {', '.join(MODES.values())}")
        scale = math.floor(min(height, width) / float(given.get("crop_pct") or 1.0))
        return Preprocessing(mean, std, scale, (int(height), int(width)), mode)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{Path(folder) / 'config.json'}: pretrained_cfg does not say how to prepare an image ({cause(error)}); "
            "write input_size, mean and std into it."
        ) from error


def _name(told: Mapping[str, Any]) -> str:
    return str(told["architecture"]).partition(".")[0]  # what follows a dot names the training


def _labels(told: Mapping[str, Any], classes: int) -> dict[int, str]:
    names = told.get("label_names") or [f"LABEL_{number}" for number in range(classes)]
    return {number: str(name) for number, name in enumerate(names)}


def _renamed(tensors: Mapping[str, Tensor], rules: Any) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


def _built(kind: str, config: Any, tensors: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    import transformers

    return getattr(transformers, kind).from_pretrained(
        None, config=config, state_dict=tensors, output_loading_info=True
    )


def _resnet(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[nn.Module, Any]:
    from transformers import ResNetConfig

    kind, depths = RESNETS[_name(told)]
    if arguments := told.get("model_args"):
        raise ValueError(f"model_args has {sorted(arguments)[0]!r}, which makes another network of it")
    config = ResNetConfig(
        num_channels=tensors["conv1.weight"].shape[1], embedding_size=64, hidden_sizes=list(WIDTHS[kind]),
        depths=list(depths), layer_type=kind, id2label=_labels(told, len(tensors["fc.weight"])),
    )  # fmt: skip
    return _built("ResNetForImageClassification", config, _renamed(tensors, _RESNET))


def _vit(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[nn.Module, Any]:
    from transformers import ViTConfig

    arguments = told.get("model_args") or {}
    if odd := sorted(set(arguments) - SHOWN - {"num_heads"}):
        raise ValueError(f"model_args has {odd[0]!r}, which makes another network of it")
    if told.get("global_pool", "token") != "token":
        raise ValueError(f"global_pool is {told['global_pool']!r}; only token is read")
    form = VIT.fullmatch(_name(told))
    assert form is not None
    _, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
    places, width = tensors["pos_embed"].shape[1:]
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=sum(name.endswith("attn.qkv.weight") for name in tensors),
        num_attention_heads=arguments.get("num_heads", HEADS[form["size"]]),
        intermediate_size=len(tensors["blocks.0.mlp.fc1.weight"]), layer_norm_eps=VIT_EPS,
        image_size=math.isqrt(places - 1) * patch, patch_size=patch, num_channels=channels,
        id2label=_labels(told, len(tensors["head.weight"])),
    )  # fmt: skip
    parted: dict[str, Tensor] = {}
    for name, tensor in _renamed(tensors, _VIT).items():
        if ".attn.qkv." not in name:
            parted[name] = tensor
            continue
        for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            parted[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = rows.clone()
    return _built("ViTForImageClassification", config, parted)
