"""Which record is in which model: the bookkeeping that a detection run stands or falls with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lethe.errors import InputError

SEED = 2024  # TDDBench's


@dataclass(frozen=True)
class Pools:
    """Rows of a subject, and who was trained on them.

    `pool` (P,) are the rows that targets and reference models draw from, `shadow` (S,) the others. `audited` (A,) are
    the places in the pool that are scored; `members` (T, A) says which of them each target was trained on, and `inside`
    (A, R) which each reference model was.
    """

    pool: np.ndarray
    shadow: np.ndarray
    audited: np.ndarray
    targets: np.ndarray  # (T, P) bool
    controls: np.ndarray  # (T, P) bool: the targets without what is to be forgotten; no rows where nothing is
    references: np.ndarray  # (R, P) bool
    shadow_members: np.ndarray  # (S,) bool: what the one shadow model was trained on

    @property
    def rows(self) -> np.ndarray:
        """Rows of the subject that are scored, (A,)."""
        return self.pool[self.audited]

    @property
    def members(self) -> np.ndarray:
        """Which audited records each target was trained on, (T, A) bool."""
        return self.targets[:, self.audited]

    @property
    def inside(self) -> np.ndarray:
        """Which audited records each reference model was trained on, (A, R) bool."""
        return self.references[:, self.audited].T


def draw(size: int, *, targets: int, references: int, seed: int = 0, forget: float = 0.0) -> Pools:
    """Cut the records into two pools of one size, and draw the members of every model.

    Every target is trained on a random half of its pool. Reference models come in pairs that share the pool between
    them, so each record is in exactly half of them. With `forget`, as many records of the pool are members of every
    target as are held out of every one, and no reference model saw either: the two sides of an unlearning audit.

    Args:
        size: Number of records.
        targets: Target models.
        references: Reference models; an even number.
        seed: Seed of all draws, on top of TDDBench's 2024.
        forget: Share of the pool that every target holds and that is to be forgotten, 0 to 0.25; 0 audits the pool.

    Raises:
        InputError: If a count is too small or odd, or the share out of range.
    """
    if targets < 1 or references < 2 or references % 2:
        raise InputError(f"{targets} targets and {references} references; give 1 or more, and 2 or more in pairs.")
    if not 0 <= forget <= 0.25:
        raise InputError(f"forget is {forget}; it is a share of the pool from 0 to 0.25.")
    rng = np.random.default_rng([SEED, seed])
    order = rng.permutation(size)
    pool, shadow = np.sort(order[: size // 2]), np.sort(order[size // 2 :])
    count = round(forget * len(pool))
    if forget and count < 10:
        raise InputError(f"forget={forget} leaves {count} records to forget; give a share of at least 10 records.")
    chosen = rng.permutation(len(pool))
    lost, held = chosen[:count], chosen[count : 2 * count]
    rest = np.sort(chosen[2 * count :])
    sides = np.stack([_half(len(pool), rest, rng) for _ in range(targets)])
    with_forgotten = sides.copy()
    with_forgotten[:, lost] = True
    pairs = [_half(len(pool), rest, rng) for _ in range(references // 2)]
    everyone = np.isin(np.arange(len(pool)), rest)
    return Pools(
        pool=pool,
        shadow=shadow,
        audited=np.sort(np.concatenate([lost, held])) if count else np.arange(len(pool)),
        targets=with_forgotten,
        controls=sides if count else sides[:0],
        references=np.stack([side for half in pairs for side in (half, everyone & ~half)]),
        shadow_members=_half(len(shadow), np.arange(len(shadow)), rng),
    )


def _half(size: int, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[rng.permutation(among)[: len(among) // 2]] = True
    return mask
