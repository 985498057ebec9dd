"""What a benchmark hands to the runner: a request, what to look at, and the models to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.models import load
from lethe.models.base import Model
from lethe.request import Record, Request

Sides = tuple[Callable[[int], Model], Callable[[int], Model] | None]  # the target, and the controls counted from 1


@dataclass(frozen=True)
class Task:
    """One benchmark on one split.

    Metrics, methods and attacks are named in the form `name:option=value,...`. `knowledge` is the metric (on the
    forget set, higher = more is known) by which attacks measure recovery; `utility` the one number that stands for what
    must stay. `target(seed)` and `control(seed)` train or load the two sides; they may be slow and are cached by the
    runner. `presets` hold the options under which a method works at this size.
    """

    name: str
    family: str
    request: Request
    probes: Mapping[str, Sequence[Record]]
    metrics: tuple[str, ...]
    knowledge: str
    utility: str
    target: Callable[[int], Model]
    control: Callable[[int], Model] | None
    spec: Spec = field(default_factory=Spec)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attacks: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()  # methods that serve as floors: noise, refusal
    earlier: tuple[Request, ...] = ()  # requests that a method serves one after another before `request`
    note: str = ""  # what a reader must know of the protocol, one sentence


def sides_on_disk(who: str, model: str, control: Sequence[str], **options: Any) -> Sides | None:
    """Target and controls from their folders; None where no folder is given.

    Args:
        who: The benchmark, for the message.
        model: Folder of the target model, or "".
        control: Folders of models trained without the forget set.
        options: Passed to `lethe.models.load`.

    Raises:
        InputError: If there are controls without a target.
    """
    if not model:
        if control:
            raise InputError(f"{who}: control models were given without the target's folder; give model as well.")
        return None

    def side(folder: str) -> Model:
        return load(folder, **options)

    return lambda _: side(model), (lambda number: side(control[number - 1])) if control else None
