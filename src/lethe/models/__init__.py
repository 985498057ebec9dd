"""One wrapper per family around the ecosystem's own classes; `load` finds the right one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lethe.errors import InputError, cause
from lethe.models.base import Model
from lethe.registry import did_you_mean

FAMILIES = ("language", "classifier", "recommender")
# Classes of `lethe.models.nets`, told apart without torch; the others there are classifiers.
RECOMMENDERS = ("LightGCN", "SGL", "SimGCL", "VBPR", "MMGCN", "MGCN", "ShardedRecommender")


def load(
    source: str | Path, *, family: str | None = None, trust_remote_code: bool = False, device: str = "auto"
) -> Model:
    """A model from a folder or hub id, in the wrapper of its family.

    Args:
        source: Folder, or hub id.
        family: language, classifier or recommender; read from the folder's config.json where not given.
        trust_remote_code: Run code that comes with the model. Off by default.
        device: auto (this process's GPU where there is one, else the CPU), or a device of torch.

    Raises:
        InputError: If the family is unknown or the model cannot be loaded.
    """
    chosen = family or family_of(source)
    if chosen not in FAMILIES:
        raise InputError(f"Unknown family {chosen!r}{did_you_mean(chosen, FAMILIES)}; one of {', '.join(FAMILIES)}.")
    model = wrapper(chosen).load(source, trust_remote_code=trust_remote_code)
    model.module.to(_device() if device == "auto" else device)
    return model


def wrapper(family: str) -> type[Any]:
    """The class around the models of a family."""
    if family == "language":
        from lethe.models.language import LanguageModel

        return LanguageModel
    if family == "classifier":
        from lethe.models.classifier import Classifier

        return Classifier
    from lethe.models.recommender import Recommender

    return Recommender


def edges_of(model: Model) -> list[list[int]] | None:
    """Users and items of the interactions that a recommender carries, (2, E); None where a model carries none."""
    edges = getattr(model.module, "edges", None)
    return None if edges is None or not edges.numel() else edges.tolist()


def classes_of_model(model: Model | str | Path) -> tuple[tuple[str, ...], int | None]:
    """Names of a classifier's classes in the order of their numbers, where it has any, and their number.

    Args:
        model: The model, or its folder, of which config.json alone is read.
    """
    if isinstance(model, Model):
        config: Any = getattr(model.module, "config", None)
        told: Any = config.to_dict() if config is not None else {"arguments": getattr(model.module, "arguments", {})}
    else:
        path = Path(model) / "config.json"
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    given = told.get("label_names") or dict(told.get("id2label") or {})  # the former is timm's
    ordered = [given[key] for key in sorted(given, key=int)] if isinstance(given, dict) else given
    names = [str(name) for name in ordered]
    count = len(names) or told.get("num_classes") or (told.get("arguments") or {}).get("classes")
    nameless = all(name == f"LABEL_{number}" for number, name in enumerate(names))  # transformers' own stand-ins
    return (() if nameless else tuple(names)), count


def _device() -> str:
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def family_of(source: str | Path) -> str:
    """The family that a folder's config.json tells; a hub id counts as a language model.

    Raises:
        InputError: If the folder holds no readable config.json.
    """
    folder = Path(source)
    if not folder.is_dir():
        if folder.is_absolute() or str(source).startswith("."):
            raise InputError(f"There is no model folder {source}.")
        return "language"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no readable config.json ({cause(error)}); a model folder has one.") from error
    if config.get("lethe_architecture") in RECOMMENDERS:
        return "recommender"
    if "lethe_architecture" in config or "pretrained_cfg" in config:  # the latter is timm's
        return "classifier"
    images = any("ImageClassification" in name for name in config.get("architectures") or ())
    return "classifier" if images else "language"
