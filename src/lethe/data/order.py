"""Which rows a training step sees: functions of the seed alone, so that every process and every resumed run agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from lethe.errors import InputError

POOL = 8  # batches among which rows are sorted by length


def mix(*parts: int) -> int:
    """One 63-bit seed out of several integers (a multiplicative hash: neighbouring parts give unrelated seeds)."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = ((state ^ (part & (2**64 - 1))) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 29
    return state >> 1


def plan(
    lengths: Mapping[str, Sequence[int]],
    active: Callable[[int], Sequence[str]],
    size: int,
    seed: int,
    epochs: int,
    steps: int | None = None,
) -> list[tuple[int, dict[str, list[int]]]]:
    """(epoch, rows of each set) for every step of a run.

    Args:
        lengths: Length of every row, per set.
        active: The sets that take part in an epoch. One epoch is one pass over the first of them; from the others as
            many batches are drawn.
        size: Rows of each set per step.
        seed: Seed of every draw.
        epochs: Number of epochs.
        steps: Number of steps, in place of the epochs'.

    Raises:
        InputError: If the steps cannot be reached because no set takes part any more.
    """
    drawn = {name: stream(rows, size, mix(seed, 13, number)) for number, (name, rows) in enumerate(lengths.items())}
    planned: list[tuple[int, dict[str, list[int]]]] = []
    epoch = idle = 0
    while epoch < epochs if steps is None else len(planned) < steps:
        names = active(epoch)
        if names:
            leading = bucketed(lengths[names[0]], size, mix(seed, 7, epoch))
            planned += [(epoch, {names[0]: rows} | {n: next(drawn[n]) for n in names[1:]}) for rows in leading]
        idle = 0 if names else idle + 1
        if idle > 1000:
            raise InputError(f"After {len(planned)} of {steps} steps no training term is active any more; give fewer.")
        epoch += 1
    return planned[:steps]


def bucketed(lengths: Sequence[int], size: int, seed: int) -> list[list[int]]:
    """Every row once, shuffled, in batches of similar length; the last one may be short."""
    rng = torch.Generator().manual_seed(seed)
    batches = _cut(torch.randperm(len(lengths), generator=rng).tolist(), lengths, size)
    return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]


def stream(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Full batches of similar length without end: one shuffled pass after the other.

    What does not fill a batch is carried into the next pass, so over k passes every row is drawn k times. With fewer
    rows than `size`, each batch holds them all.
    """
    size = min(size, len(lengths))
    carried: list[int] = []
    for turn in itertools.count():
        rng = torch.Generator().manual_seed(mix(seed, turn))
        order = carried + torch.randperm(len(lengths), generator=rng).tolist()
        full = len(order) // size * size
        carried = order[full:]
        batches = _cut(order[:full], lengths, size)
        yield from (batches[i] for i in torch.randperm(len(batches), generator=rng).tolist())


def shares(rows: int, accumulate: int, rank: int, processes: int) -> list[tuple[list[int], bool]]:
    """One process's positions in a batch of `rows`, as micro-batches; equally many on every process.

    Forward passes of sharded models are collective, so a process without a position of its own takes part with a
    borrowed one (False), which must count nothing.
    """
    pieces = min(accumulate, math.ceil(rows / processes))
    own = range(rank, rows, processes)
    cut = [list(own[piece::pieces]) for piece in range(pieces)]
    return [(piece, True) if piece else ([0], False) for piece in cut]


def _cut(order: list[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Batches of neighbours in length; sorting within pools keeps which rows meet a matter of chance."""
    batches = []
    for start in range(0, len(order), size * POOL):
        rows = sorted(order[start : start + size * POOL], key=lengths.__getitem__)
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    return batches
