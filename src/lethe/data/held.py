"""What an attacker holds of the forget set: an attack is chosen on one part of the records and judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from lethe.errors import InputError

T = TypeVar("T")


def held_and_others(records: Sequence[T], share: float, seed: int, what: str) -> tuple[list[T], list[T]]:
    """The attacker's records, drawn by the seed, and all others, both in their original order.

    Args:
        records: The forget set.
        share: Share of the records that the attacker holds, 0 to 1.
        seed: Seed of the draw.
        what: Name of the attack, for the message.

    Raises:
        InputError: If the share leaves no record on one of the two sides.
    """
    count = round(share * len(records))
    if not 0 < count < len(records):
        raise InputError(
            f"{what}: a share of {share:g} of {len(records)} forget records leaves {count} to the attacker and "
            f"{len(records) - count} to look at; both sides need at least one."
        )
    drawn = set(torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))[:count].tolist())
    held = [record for row, record in enumerate(records) if row in drawn]
    return held, [record for row, record in enumerate(records) if row not in drawn]
