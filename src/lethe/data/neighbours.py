"""Texts that differ from a given one in a single word: what a model that learnt the text by heart likes less."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError


def replaced(text: str, words: Sequence[str], count: int, *, seed: int = 0) -> tuple[str, ...]:
    """Neighbours of a text, each with one word exchanged for one drawn from `words`; white space becomes one space.

    The draws depend on the text and the seed alone, so the same text has the same neighbours in every run. Places are
    taken in turn, in a drawn order.

    Args:
        text: The text.
        words: What may stand in the place of a word.
        count: Number of neighbours.
        seed: Seed of the draws.

    Raises:
        InputError: If the text holds no word, or there is no other word to put in.
    """
    own = text.split()
    if not own:
        raise InputError("neighbours: the text holds no word; leave it out.")
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, number])
    places = rng.permutation(len(own))
    found = []
    for turn in range(count):
        place = int(places[turn % len(own)])
        others = [word for word in words if word != own[place]]
        if not others:
            raise InputError("neighbours: there is no other word to put in; give more words.")
        found.append(" ".join([*own[:place], others[int(rng.integers(len(others)))], *own[place + 1 :]]))
    return tuple(found)
