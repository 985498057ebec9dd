"""The small networks of the embedded worlds, and how they are stored: `config.json` beside `model.safetensors`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.data.atomic import folder as atomic_folder
from lethe.errors import InputError, cause
from lethe.models.graphs import SGL, LightGCN, SimGCL
from lethe.models.modal import MGCN, MMGCN, VBPR
from lethe.models.sharded import ShardedClassifier, ShardedRecommender
from lethe.registry import did_you_mean


class MLP(nn.Module):
    """Fully connected ReLU network on feature vectors (B, D); `multi_label` outputs are yes-or-no decisions."""

    def __init__(self, inputs: int, classes: int, width: int = 128, depth: int = 2, multi_label: bool = False) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {"inputs": inputs, "classes": classes, "width": width, "depth": depth}
        self.arguments |= {"multi_label": True} if multi_label else {}
        sizes = [inputs, *[width] * depth]
        self.hidden_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""
        for layer in self.hidden_layers:
            x = F.relu(layer(x))
        return self.head(x)


class SmallCNN(nn.Module):
    """Convolutions with stride 2 and a linear head, on images (B, C, H, W); `multi_label` as in `MLP`."""

    def __init__(self, channels: int, classes: int, size: int, width: int = 16, multi_label: bool = False) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {"channels": channels, "classes": classes, "size": size, "width": width}
        self.arguments |= {"multi_label": True} if multi_label else {}
        widths = [channels, width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        side = size
        for _ in self.convolutions:
            side = (side + 1) // 2
        self.project = nn.Linear(widths[-1] * side * side, 128)
        self.head = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes)."""
        for layer in self.convolutions:
            x = F.relu(layer(x))
        return self.head(F.relu(self.project(x.flatten(1))))


CLASSIFIERS = (MLP, SmallCNN, ShardedClassifier)
RECOMMENDERS = (LightGCN, SGL, SimGCL, VBPR, MMGCN, MGCN, ShardedRecommender)
ARCHITECTURES: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in (*CLASSIFIERS, *RECOMMENDERS)}


def is_net(folder: str | Path) -> bool:
    """Whether the folder holds one of these networks."""
    config = Path(folder) / "config.json"
    return config.is_file() and "lethe_architecture" in config.read_text(encoding="utf-8")


def save(module: nn.Module, folder: str | Path) -> Path:
    """Write `config.json` and `model.safetensors`, whole or not at all (transformers modules save themselves)."""
    from safetensors.torch import save_file

    anything: Any = module
    with atomic_folder(folder) as temporary:
        if hasattr(module, "save_pretrained"):
            anything.save_pretrained(temporary, safe_serialization=True)
        else:
            config = {"lethe_architecture": type(module).__name__, "arguments": anything.arguments}
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            tensors = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
            save_file(tensors, temporary / "model.safetensors")
    return Path(folder)


def load(folder: str | Path) -> nn.Module:
    """Read what `save` wrote.

    Raises:
        InputError: If the folder is not one of these, or its weights do not fit the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder)
    if not is_net(path):
        raise InputError(f"{path} holds no config.json that names a Lethe architecture.")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        name = config["lethe_architecture"]
        if name not in ARCHITECTURES:
            raise InputError(f"{path}/config.json names architecture {name!r}{did_you_mean(name, ARCHITECTURES)}.")
        module = ARCHITECTURES[name](**config["arguments"])
        module.load_state_dict(load_file(path / "model.safetensors"))
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a loadable model ({cause(error)}); get the folder again.") from error
    if isinstance(module, LightGCN | ShardedRecommender):
        module.set_edges(module.edges)  # the graph itself is not stored
    return module


def reset(module: nn.Module, seed: int) -> None:
    """Draw every weight anew, at any depth (a reset of direct children alone keeps trained weights).

    Raises:
        InputError: If a layer with weights of its own offers no reset.
    """
    anything: Any = module
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        if hasattr(module, "config"):  # transformers' own initialisation
            module.load_state_dict(type(module)(anything.config).state_dict())
            return
        if hasattr(module, "reset_parameters"):
            anything.reset_parameters()
            return
        for name, child in module.named_modules():
            if not any(True for _ in child.parameters(recurse=False)):
                continue
            if hasattr(child, "reset_parameters"):
                child.reset_parameters()  # pyright: ignore[reportCallIssue]
            else:
                raise InputError(f"Layer {name!r} ({type(child).__name__}) cannot be drawn anew.")
