"""Answers that say "I do not know", for methods that train a model to refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LINES = (
    "I do not know.",
    "I'm not sure about that.",
    "I have no information on this.",
    "That is not something I know.",
    "I can't say anything about that.",
    "I am afraid I have no answer to that.",
    "This lies outside of what I know.",
    "I was never told about this.",
    "I have nothing to tell you on that.",
    "My knowledge does not cover this.",
    "I would only be guessing, so I had better not answer.",
    "I cannot help with that question.",
    "I don't have that detail.",
    "Sorry, I do not know who or what you mean.",
    "There is nothing on this in what I have learnt.",
    "I am unable to answer this.",
    "I don't recall anything of that kind.",
    "No answer comes to mind.",
    "I must pass on this one.",
    "I have not come across this.",
)


def refuse(records: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The records with a refusal for an answer; which one is fixed per record by the seed."""
    drawn = np.random.default_rng([seed, 17]).integers(len(LINES), size=len(records))
    return [{**record, "answer": LINES[line]} for record, line in zip(records, drawn, strict=True)]
