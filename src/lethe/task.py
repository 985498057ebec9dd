"""What a benchmark hands to the runner: a request, what to look at, and the models to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lethe.data.derived import with_derived
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
    beside: tuple[str, ...] = ()  # further metrics; what the records do not allow of them is left out


# Attacks on membership beside those that every benchmark measures: they read further texts, gradients or a reference.
FURTHER = (
    "window_min_k", "min_k.ou", "min_k_pp.ou", "lowercase", "neighbourhood", "recall", "grad_norm", "grad_norm.ou",
    "grad_norm.global", "reference", "reference.ratio",
)  # fmt: skip


def with_membership(task: Task, attacks: Sequence[str], **options: Any) -> Task:
    """A task that measures further membership attacks, with what they read.

    Args:
        task: The task; its probes hold forget and holdout.
        attacks: Names out of `FURTHER`, or "all".
        options: Those of `lethe.data.derived.with_derived`: neighbours, shots, masked, seed.

    Raises:
        InputError: On an unknown attack, or where there is no holdout set.
    """
    for name in attacks:
        if name != "all" and name not in FURTHER:
            raise InputError(f"There is no further membership attack {name!r}; all, or of {', '.join(FURTHER)}.")
    chosen = FURTHER if "all" in attacks else tuple(dict.fromkeys(attacks))
    if not chosen:
        return task
    calls = [_membership(name) for name in chosen]
    last = max((i for i, call in enumerate(task.metrics) if call.startswith("membership")), default=-1) + 1
    sloped = ("forget", "holdout") if any(name.startswith("grad_norm") for name in chosen) else ()
    return replace(
        task,
        probes=with_derived(task.probes, chosen, **options),
        metrics=(*task.metrics[:last], *calls, *task.metrics[last:]),
        spec=replace(task.spec, gradients=tuple(dict.fromkeys((*task.spec.gradients, *sloped)))),
    )


def _membership(name: str) -> str:
    attack, _, form = name.partition(".")
    if attack == "reference":
        return f"membership_reference:variant={form or 'difference'}"
    return f"membership:variant={name}"


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
