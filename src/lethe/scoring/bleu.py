"""Sentence BLEU as ConceptVectors uses it (arXiv 2406.11614): four orders, smoothing method 3, whitespace tokens."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray

ORDERS = 4


def bleu(outputs: Sequence[str], truths: Sequence[str]) -> FloatArray:
    """BLEU-4 of each output against one truth, `(N,)` in 0..1.

    Smoothing method 3 of Chen and Cherry (2014): the i-th order without a match counts 1 / (2^i n) for its n n-grams.
    Without a common word, or with an empty output, it is 0. It is not symmetric: precision is of the output's n-grams,
    and outputs shorter than the truth are penalised.

    Args:
        outputs: what is judged, N texts.
        truths: what it is held against, N texts.

    Raises:
        InputError: the two lists differ in length.
    """
    if len(outputs) != len(truths):
        raise InputError(f"bleu: {len(outputs)} outputs but {len(truths)} truths; give one truth per output.")
    return np.array([_sentence(output.split(), truth.split()) for output, truth in zip(outputs, truths, strict=True)])


def _sentence(output: Sequence[str], truth: Sequence[str]) -> float:
    if not set(output) & set(truth):
        return 0.0
    logs, missed = 0.0, 0
    for order in range(1, ORDERS + 1):
        said, meant = _grams(output, order), _grams(truth, order)
        matched, count = (said & meant).total(), max(1, said.total())
        missed += matched == 0
        logs += np.log(matched / count if matched else 1 / (2**missed * count)) / ORDERS
    brevity = min(0.0, 1 - len(truth) / len(output))
    return float(np.exp(logs + brevity))


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
