"""The face world: drawn portraits whose label, an age class, says nothing of who is shown.

A stand-in for MUFAC (arXiv 2311.02240), whose photographs may not be passed on. What stays the same in all pictures of
one person comes from the population; pose, light and expression come from the picture. Every person carries every label
equally often, so label and identity are independent by construction. In each album some labels are swapped: they can
only be learnt by heart, which is what makes membership visible. They are swapped for people never trained on, too, so
that an attack sees membership and not the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds.population import FORGET_SHARES, Face, Person, Population

if TYPE_CHECKING:
    from lethe.models.nets import SmallCNN

Array = np.ndarray

AGES = ("child", "adult", "middle-aged", "old")
PHOTOS = 16  # per person, equally many of each age
SWAPPED = 3  # labels per album that changed places, where the world is noisy
SIZE = 24  # pixels
# People whom no other world names.
STRANGERS = {"test": range(98, 128), "validation": range(128, 134)}

RETAIN = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
GROUPS = {  # split -> group of the population
    "train": "authors",
    "forget": "forget10",
    "retain": "retain90",
    "unseen": "held_out",
    **{name: name for name in FORGET_SHARES},
    **{name: name for name in RETAIN.values()},
}

# Fields of `lethe.train.Recipe`: the target gets all its training labels right, the swapped ones included.
RECIPE: dict[str, Any] = {
    "lr": 6e-3,
    "epochs": 70,
    "batch_size": 64,
    "optimizer": "adamw",
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 5.0,
}

_SKIN = np.array([[0.96, 0.82, 0.71], [0.80, 0.58, 0.42], [0.42, 0.28, 0.20]])
_HAIR = np.array([[0.08, 0.06, 0.05], [0.36, 0.20, 0.09], [0.66, 0.30, 0.12], [0.90, 0.76, 0.42]])
_GREY = np.array([0.82, 0.82, 0.84])
_LIPS = np.array([0.65, 0.22, 0.22])
_WHITE, _DARK = np.full(3, 0.95), np.full(3, 0.12)


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split of `{"id", "identity", "split", "label", "image" (3, 24, 24) float32 in [0, 1]}`.

    Args:
        split: train (all authors), forget01/05/10 and retain99/95/90 (as in the authors world), forget (= forget10),
            retain (= retain90), unseen and validation (people held out, labelled like train) or test (strangers, no
            label swapped).
        seed: seed of the population and of every picture.

    Raises:
        InputError: if there is no such split.
    """
    if split not in STRANGERS and split not in GROUPS:
        raise InputError(f"no split {split!r} in the faces world, choose one of {', '.join([*GROUPS, *STRANGERS])}")
    population = Population(seed)
    if split in STRANGERS:
        people: Sequence[Person] = [population.people[number] for number in STRANGERS[split]]
    else:
        people = population.group(GROUPS[split])
    part = split if split in ("unseen", *STRANGERS) else "train"
    return [record for person in people for record in _album(person, seed, part)]


def network(seed: int) -> SmallCNN:
    """The untrained network of this world."""
    import torch

    from lethe.models.nets import SmallCNN

    torch.manual_seed(seed)
    return SmallCNN(channels=3, classes=len(AGES), size=SIZE)


def _album(person: Person, seed: int, part: str) -> list[dict[str, Any]]:
    """All pictures of one person; they do not depend on the split that asks for them."""
    rng = np.random.default_rng([seed, 4, int(person.id[1:])])
    ages = np.arange(PHOTOS) % len(AGES)
    labels = ages.copy()
    # Labels change places within the album, among different ages: each is wrong, and all stay equally frequent.
    swapped = [int(rng.choice(np.flatnonzero(ages == age))) for age in rng.permutation(len(AGES))[:SWAPPED]]
    if part != "test":
        labels[swapped] = ages[np.roll(swapped, 1)]
    images = draw(person.face, (ages + rng.uniform(0.15, 0.85, PHOTOS)) / len(AGES), rng)
    mark = {"identity": person.id, "split": part}
    return [
        {"id": f"{person.id}-photo{number:02d}", **mark, "label": int(labels[number]), "image": images[number]}
        for number in range(PHOTOS)
    ]


def draw(face: Face, age: Array, rng: np.random.Generator, size: int = SIZE) -> Array:
    """Pictures of a face at ages (N,) in [0, 1]: (N, 3, size, size) float32 in [0, 1], in steps of 1/255.

    Pose, light, expression and grain come from `rng`; age changes the proportions, lines and the colour of the hair.
    """
    count = len(age)
    looks = np.clip(age + rng.normal(0, 0.03, count), 0, 1)  # nobody looks exactly their age
    young, worn = np.minimum(looks, 0.5), np.maximum(looks - 0.35, 0)
    x, y = _pose(rng, count, size)
    skin, hair = _mix(_SKIN, face.skin), _mix(_HAIR, face.hair_hue)
    grey = np.clip(1.8 * (looks - 0.5) + rng.normal(0, 0.12, count), 0, 1)
    hair = hair + (_GREY - hair) * grey[:, None]
    width, height = 0.46 + 0.16 * face.width, 0.58 + 0.12 * face.height + 0.12 * young
    eyes = 0.06 - 0.24 * young  # a child's eyes sit low in the face
    smile = 0.8 * (face.mouth_curve - 0.5) + rng.normal(0, 0.15, count)

    canvas = np.ones((count, 3, size, size)) * rng.uniform(0.25, 0.85, (count, 3, 1, 1))
    _paint(canvas, _ellipse(x, y, 0, 1.1, 0.75, 0.4), rng.uniform(0.15, 0.85, (count, 3)))  # clothes
    _paint(canvas, _ellipse(x, y, 0, -0.12, width + 0.10, height + 0.06), hair)
    head = _ellipse(x, y, 0, 0.08, width, height)
    _paint(canvas, head, skin)
    fringe = -0.62 + 0.32 * face.hair_line - 0.2 * worn
    _paint(canvas, head * _edge(_wide(fringe) - y), hair)
    for side in (-1, 1):
        _paint_eye(canvas, face, x - side * (0.17 + 0.10 * face.eye_gap), y - _wide(eyes), young, hair)
    _paint(canvas, _ellipse(x, y, 0, eyes + 0.22, 0.03 + 0.04 * face.nose, 0.10), 0.75 * skin)
    lips = y + _wide(smile) * (x / 0.35) ** 2
    _paint(canvas, _ellipse(x, lips, 0, 0.45, 0.12 + 0.14 * face.mouth_width, 0.045), _LIPS)
    canvas *= 1 - (_wide(0.9 * worn) * _lines(x, y, eyes, width))[:, None]

    light = _wide(rng.uniform(0.75, 1.1, count)) + _wide(rng.uniform(-0.15, 0.15, count)) * x
    picture = np.clip(canvas * light[:, None] + rng.normal(0, 0.03, canvas.shape), 0, 1)
    return (np.round(picture * 255) / 255).astype(np.float32)


def _paint_eye(canvas: Array, face: Face, x: Array, y: Array, young: Array, hair: Array) -> None:
    size = (0.06 + 0.04 * face.eye_size) * (1.35 - 0.6 * young)
    _paint(canvas, _ellipse(x, y, 0, 0, 1.4 * size, size), _WHITE)
    _paint(canvas, _ellipse(x, y, 0, 0, 0.7 * size, 0.8 * size), _DARK)
    _paint(canvas, _ellipse(x, y, 0, -0.14 - 0.04 * face.brow, 0.13, 0.02 + 0.02 * face.brow), 0.8 * hair)
    if face.glasses:
        rim = _ellipse(x, y, 0, 0, 0.19, 0.16) - _ellipse(x, y, 0, 0, 0.14, 0.11)
        _paint(canvas, np.clip(rim, 0, 1), _DARK)


def _lines(x: Array, y: Array, eyes: Array, width: float) -> Array:
    """Where age draws its lines: the forehead, below the eyes, from the nose to the corners of the mouth."""
    found = [_ellipse(x, y, 0, eyes - above, 0.6 * width, 0.022) for above in (0.24, 0.33, 0.42)]
    for side in (-1, 1):
        found.append(_ellipse(x, y, side * 0.22, eyes + 0.13, 0.11, 0.025))
        found.append(_ellipse(x - 0.25 * side - 0.2 * side * (y - 0.3), y, 0, 0.34, 0.025, 0.14))
    return np.max(found, axis=0)


def _pose(rng: np.random.Generator, count: int, size: int) -> tuple[Array, Array]:
    """Coordinates (N, size, size) in the face's own frame, about -1 to 1: shifted, scaled and tilted a little."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    shift, scale = rng.normal(0, 0.04, (2, count)), rng.uniform(0.95, 1.08, count)
    tilt = _wide(rng.normal(0, 0.06, count))
    column = (axis[None, None, :] - _wide(shift[0])) / _wide(scale)
    row = (axis[None, :, None] - _wide(shift[1])) / _wide(scale)
    return np.cos(tilt) * column + np.sin(tilt) * row, np.cos(tilt) * row - np.sin(tilt) * column


def _ellipse(
    x: Array, y: Array, centre_x: float, centre_y: float | Array, radius_x: float | Array, radius_y: float | Array
) -> Array:
    """Soft mask (N, H, W) in [0, 1], about one pixel wide at the rim; centres and radii are numbers or (N,)."""
    across, down = _wide(radius_x), _wide(radius_y)
    distance = np.sqrt(((x - centre_x) / across) ** 2 + ((y - _wide(centre_y)) / down) ** 2)
    return _edge((1 - distance) * np.minimum(across, down))


def _edge(inside: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(40 * inside, -50, 50)))


def _paint(canvas: Array, mask: Array, colour: Array) -> None:
    """Lay a colour, (3,) or (N, 3), over the pictures (N, 3, H, W) where the mask (N, H, W) says."""
    canvas += mask[:, None] * (np.broadcast_to(colour, (len(canvas), 3))[..., None, None] - canvas)


def _wide(value: float | Array) -> Array:
    """A number, or one per picture, against (N, H, W)."""
    return np.reshape(value, (-1, 1, 1))


def _mix(anchors: Array, position: float) -> Array:
    """A colour (3,) between the anchors (A, 3), position in [0, 1]."""
    places = np.linspace(0, 1, len(anchors))
    return np.array([np.interp(position, places, channel) for channel in anchors.T])
