"""What a model's folder says must happen to an image in [0, 1] before the network reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.data.atomic import write_json
from lethe.errors import InputError, cause

FILE = "preprocessor_config.json"
MODES = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # pillow's numbers of the filters that are in use
WHOLE = 384  # pixels; from here on ConvNeXt's processor resizes the whole image and cuts nothing
Size = tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """Size and scale that a network was trained on; records stay as they are, images in [0, 1].

    Args:
        mean: What is taken off every channel; empty for nothing.
        std: What every channel is divided by then; empty for nothing.
        scale: Height and width to resize to, or the length of the shorter side; None keeps the size.
        crop: Height and width that are cut out of the middle; None cuts nothing.
        mode: Interpolation: bilinear, bicubic or nearest.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: Size | int | None = None
    crop: Size | None = None
    mode: str = "bilinear"

    @property
    def size(self) -> Size | None:
        """Height and width that the network is given; None where any will do."""
        scale = None if isinstance(self.scale, int) else self.scale
        return self.crop or scale

    def sized(self, image: Tensor) -> Tensor:
        """An image (C, H, W) at the network's size; one that has it already was prepared and is taken as it is."""
        height, width = image.shape[-2:]
        if self.scale is None or (height, width) == self.size:
            return image
        if isinstance(self.scale, int):
            short = min(height, width)
            target = self.scale * height // short, self.scale * width // short
        else:
            target = self.scale
        smooth: dict[str, Any] = {} if self.mode == "nearest" else {"antialias": True, "align_corners": False}
        scaled = F.interpolate(image[None], target, mode=self.mode, **smooth)[0].clamp(0, 1)
        if self.crop is None:
            return scaled
        top, left = ((have - wanted) // 2 for have, wanted in zip(target, self.crop, strict=True))
        return scaled[:, max(top, 0) :, max(left, 0) :][:, : self.crop[0], : self.crop[1]]

    def normal(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), less the mean and divided by the standard deviation, channel by channel."""
        if not self.mean and not self.std:
            return images
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std

    def write(self, folder: Path) -> None:
        """Leave it in a model's folder in the form of transformers' image processors."""
        told: dict[str, Any] = {
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": bool(self.mean),
            "do_resize": self.scale is not None,
            "do_center_crop": self.crop is not None,
            "resample": next(number for number, mode in MODES.items() if mode == self.mode),
        }
        if self.mean:
            told |= {"image_mean": list(self.mean), "image_std": list(self.std)}
        if self.scale is not None:
            told["size"] = {"shortest_edge": self.scale} if isinstance(self.scale, int) else _sides(self.scale)
        if self.crop is not None:
            told["crop_size"] = _sides(self.crop)
        write_json(folder / FILE, told)


def _sides(size: Size) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def read(folder: str | Path) -> Preprocessing | None:
    """What a folder's preprocessor_config.json says, None where there is none.

    Raises:
        InputError: If the file is unreadable, or says what cannot be done to an image.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return _parsed(told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} does not say how to prepare an image ({cause(error)}); get the folder again."
        ) from error


def _parsed(told: Mapping[str, Any]) -> Preprocessing:
    mean = std = ()
    if told.get("do_normalize", "image_mean" in told):
        mean, std = (tuple(float(value) for value in told[name]) for name in ("image_mean", "image_std"))
        if len(mean) != len(std) or not all(std):
            raise ValueError("image_mean and image_std do not fit each other")
    scale = crop = None
    if told.get("do_resize", "size" in told) and (size := told.get("size")) is not None:
        scale = _scale(size)
        if share := told.get("crop_pct"):  # the form of ConvNeXt's processor, which ResNet's folders name as well
            edge = size if isinstance(size, int) else int(size["shortest_edge"])
            crop, scale = ((edge, edge), int(edge / share)) if edge < WHOLE else (None, (edge, edge))
    if told.get("do_center_crop", False):
        given = told["crop_size"]
        crop = (given, given) if isinstance(given, int) else (int(given["height"]), int(given["width"]))
    number = told.get("resample", 2)
    if number not in MODES:
        raise ValueError(f"the filter {number!r} is not one of {', '.join(map(str, MODES))}")
    return Preprocessing(mean, std, scale, crop, MODES[number])


def _scale(size: Any) -> Size | int:
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])
