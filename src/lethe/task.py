"""What a benchmark hands to the runner: a request, what to look at, and the models to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lethe.evidence import Spec
from lethe.request import Record, Request

if TYPE_CHECKING:
    from lethe.models.base import Model


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
    note: str = ""  # what a reader must know of the protocol, one sentence
