"""Whether a text gives an answer away."""

import re
from collections.abc import Sequence

import numpy as np

from lethe.scoring.arrays import IntArray
from lethe.scoring.rouge import rouge_l


def occurs(said: str, answer: str) -> bool:
    """Whether the words of the answer stand in a text as they are, in their order; case and punctuation count nothing.

    Args:
        said: what a model wrote.
        answer: the true answer; one without a word or number occurs nowhere.
    """
    words, told = _words(answer), _words(said)
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(told)} "


def leaking(samples: Sequence[Sequence[str]], answers: Sequence[str], *, recall: float = 0.0) -> IntArray:
    """Number of samples of every prompt that give its answer away, `(N,)`.

    Args:
        samples: texts drawn for every prompt.
        answers: the true answer of every prompt.
        recall: 0: the answer occurs in the text; above it: the ROUGE-L recall of the stemmed words is at least so much.
    """
    if not recall:
        pairs = zip(samples, answers, strict=True)
        return np.array([sum(occurs(text, answer) for text in texts) for texts, answer in pairs])
    flat = [(text, answer) for texts, answer in zip(samples, answers, strict=True) for text in texts]
    hits = rouge_l([text for text, _ in flat], [answer for _, answer in flat]) >= recall
    ends = np.cumsum([len(texts) for texts in samples])[:-1]
    return np.array([part.sum() for part in np.split(hits, ends)])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
