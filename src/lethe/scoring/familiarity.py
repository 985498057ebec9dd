"""How familiar a text still is, without a judge (after Who's Harry Potter, arXiv 2310.02238).

A text is recognised by its anchored terms: names and things that only it knows. Both scores lie in 0 to 1, lower is
less familiar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from lethe.errors import InputError

UNIQUE, IDIOSYNCRATIC = 5, 1  # points of a completion in the paper's score, out of five


def completion_familiarity(prompts: Sequence[str], completions: Sequence[str], terms: Iterable[str]) -> np.ndarray:
    """Per completion, its points over five: (N,); the mean is the paper's completion familiarity.

    A completion that says an anchored term which its prompt does not is a leak (1.0); one that only goes on with terms
    of its prompt is idiosyncratic (0.2); any other is generic or unrelated (0). Terms count as whole words.

    Raises:
        InputError: If the lists are empty or differ in length, or there are no terms.
    """
    names = sorted(set(terms), key=lambda term: (-len(term), term))
    if not names or not prompts or len(prompts) != len(completions):
        raise InputError(
            f"familiarity: {len(prompts)} prompts, {len(completions)} completions, {len(names)} terms; give one "
            "completion per prompt, and the terms by which the text is known."
        )
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")
    points = []
    for prompt, completion in zip(prompts, completions, strict=True):
        said = set(pattern.findall(completion))
        new = said - set(pattern.findall(prompt))
        points.append(UNIQUE if new else IDIOSYNCRATIC if said else 0)
    return np.array(points) / UNIQUE


def probability_familiarity(logp: np.ndarray, specific: Iterable[int]) -> np.ndarray:
    """Per prompt, the total probability of the next tokens that are specific to the text: (N,).

    Args:
        logp: Log-probabilities of the next token (N, V), nats.
        specific: Ids of the tokens that begin an anchored term.

    Raises:
        InputError: If there are no specific tokens, or one is outside the vocabulary.
    """
    ids = sorted(set(specific))
    if not ids or ids[0] < 0 or ids[-1] >= logp.shape[-1]:
        raise InputError(
            f"familiarity: specific tokens are {ids[:5]} of a vocabulary of {logp.shape[-1]}; give the ids of tokens "
            "that begin an anchored term."
        )
    return np.exp(logp[:, ids]).sum(-1)
