"""Image files become float arrays; a folder of them becomes rows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def read_image(source: Any, *, folder: Path = Path(), size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image to (3, H, W) float32 in [0, 1], upright, without transparency.

    Args:
        source: A path, the file's bytes, or {"bytes", "path"} as the hub stores it.
        folder: Where a relative path starts; a file that is not there is looked for one level below, because data
            sets often list bare names next to a folder of images.
        size: Side, or (height, width), in pixels: scaled to cover it, then cut at the centre; default: as it is.

    Raises:
        InputError: If the file is missing, not an image, truncated, suspiciously large, or has 16 bits per channel.
    """
    from PIL import Image, ImageOps

    if isinstance(source, Mapping):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, (bytes, bytearray)):
        name, data = "the image", bytes(source)
    elif isinstance(source, (str, Path)):
        path = _find(folder, Path(source))
        name = str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    else:
        raise InputError(f"is a {type(source).__name__}; give an image file's path or bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            deep = picture.mode[0] in "IF"
            picture = picture.convert("RGB")
            if size is not None:
                height, width = (size, size) if isinstance(size, int) else size
                picture = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
    except Exception as error:  # Pillow's decoders raise whatever their format's code raises
        raise InputError(f"{name}: is not a whole image ({error}); get the file again") from error
    if deep:
        raise InputError(f"{name}: has more than 8 bits per channel; save it with 8")
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)


def image_rows(folder: Path) -> list[dict[str, Any]]:
    """One row per image of a folder with one subfolder per class, in the order of the names.

    Raises:
        InputError: If there is no image, or images stand outside of the class folders.
    """
    files = [
        path
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.parent.name.startswith(".")
    ]
    if files:
        return [{"image": str(path.relative_to(folder)), "label": path.parent.name} for path in files]
    if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
        raise InputError(f"{folder}: its images have no labels; put them into one subfolder per class.")
    raise InputError(f"{folder}: holds neither a table nor images in class subfolders; check the path.")


def _find(folder: Path, path: Path) -> Path:
    if path.is_absolute() or (folder / path).exists():
        return folder / path
    below = sorted(folder.glob(f"*/{path.name}")) if path.name == str(path) else []
    if len(below) > 1:
        raise InputError(f"{path}: stands in more than one folder below {folder}; write the folder into the path")
    return below[0] if below else folder / path
