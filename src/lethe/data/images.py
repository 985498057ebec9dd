"""Image files become float arrays; a folder of them becomes rows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError, cause

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def read_image(
    source: Any, *, folders: Sequence[Path] = (Path(),), size: int | tuple[int, int] | None = None
) -> np.ndarray:
    """Decode an image to (3, H, W) float32 in [0, 1], upright, without transparency.

    Args:
        source: A path, the file's bytes, or {"bytes", "path"} as the hub stores it.
        folders: Where a relative path may start.
        size: Side, or (height, width), in pixels: scaled to cover it, then cut at the centre; default: as it is.

    Raises:
        InputError: If the file is missing or in several of the folders, not an image, truncated, suspiciously large,
            animated, or has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps

    if isinstance(source, Mapping):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, (bytes, bytearray)):
        name, data = "the image", bytes(source)
    elif isinstance(source, (str, Path)):
        name, data = str(source), _bytes_of(source, folders)
    else:
        raise InputError(f"is a {type(source).__name__}; give an image file's path or bytes")
    height, width = (size, size) if isinstance(size, int) else size or (1, 1)
    if height < 1 or width < 1:
        raise InputError(f"has no size {size}; pass at least 1 pixel")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data))
            # A telephone's MPO holds the picture and a preview of it, no motion.
            frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
            picture = ImageOps.exif_transpose(opened)
            deep = picture.mode[0] in "IF"
            picture = picture.convert("RGB")
            if size is not None:
                picture = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
    except Exception as error:  # Pillow's decoders raise whatever their format's code raises
        raise InputError(f"{name}: is not a whole image ({error}); get the file again") from error
    if frames > 1:
        raise InputError(f"{name}: has {frames} frames; save the one that is meant as an image of its own")
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


def _bytes_of(source: str | Path, folders: Sequence[Path]) -> bytes:
    try:
        found = list(dict.fromkeys(path for folder in folders if (path := folder / source).is_file()))
        if len(found) == 1:
            return found[0].read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no path at all, as with a null byte
        raise InputError(f"{source}: cannot be read ({cause(error)}); check the path") from error
    if found:
        raise InputError(f"{source}: stands in {found[0].parent} and {found[1].parent}; write the folder into the path")
    raise InputError(f"{source}: there is no such file; check the path")
