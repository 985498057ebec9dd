"""Text overlap between a model's outputs and the truth, one function per published variant.

The four code bases that print "ROUGE-L" mean four different numbers; `VARIANTS` gives each its own name, and numbers of
different names must not share a column. Values are in 0..1 (MUSE and RWKU print them x100).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray

Part = Literal["recall", "precision", "f1"]

_TOKEN = re.compile(r"[a-z0-9]+")


def rouge_l(outputs: Sequence[str], truths: Sequence[str], *, part: Part = "recall", stem: bool = True) -> FloatArray:
    """ROUGE-L over case-folded `[a-z0-9]+` words, `(N,)` in 0..1; lower is better on the forget set.

    The definition of the `rouge_score` package. TOFU reports the stemmed recall, muse_bench the unstemmed F1. Recall
    rewards rambling: any long output that contains the answer scores 1.

    Args:
        outputs: what the model wrote, N texts.
        truths: what is true, N texts.
        part: share of the truth's words ("recall"), of the output's ("precision"), or their harmonic mean ("f1").
        stem: Porter-stem words of more than three letters.

    Raises:
        InputError: the two lists differ in length.
    """
    pairs = [(_words(output, stem), _words(truth, stem)) for output, truth in _paired(outputs, truths)]
    return np.array([_overlap(_lcs_length(output, truth), len(output), len(truth), part) for output, truth in pairs])


def rouge_l_rwku(outputs: Sequence[str], truths: Sequence[str]) -> FloatArray:
    """RWKU's ROUGE-L recall, `(N,)` in 0..1: *unique* words of the union LCS over the truth's unique words.

    The definition of the `rouge` package: sentences split on ".", words on whitespace, case kept, no stemming. An empty
    output is read as the word "NOANSWER" (arXiv 2406.10890).

    Args:
        outputs: what the model wrote, N texts.
        truths: what is true, N texts.

    Raises:
        InputError: the two lists differ in length.
    """
    return np.array([_union_recall(output or "NOANSWER", truth) for output, truth in _paired(outputs, truths)])


def exact_match(outputs: Sequence[str], truths: Sequence[str]) -> FloatArray:
    """1 where the lower-cased, stripped texts are equal, else 0, `(N,)` (Hubble, arXiv 2510.19811).

    Args:
        outputs: what the model wrote, N texts.
        truths: what is true, N texts.

    Raises:
        InputError: the two lists differ in length.
    """
    pairs = _paired(outputs, truths)
    return np.array([float(output.strip().lower() == truth.strip().lower()) for output, truth in pairs])


def ngram_entropy(texts: Sequence[str]) -> FloatArray:
    """Weighted n-gram entropy, `(N,)` bits: `(2/3 H_2 + 4/3 H_3) / 2` over whitespace-separated words.

    Low means degenerate: one word repeated scores 0, as does a text too short to have an n-gram. RWKU prints it x100.

    Args:
        texts: what the model wrote, N texts.
    """
    return np.array([(2 / 3 * _entropy(words, 2) + 4 / 3 * _entropy(words, 3)) / 2 for words in map(str.split, texts)])


VARIANTS: Mapping[str, Callable[[Sequence[str], Sequence[str]], FloatArray]] = {
    "rougeL_recall.stem": partial(rouge_l, part="recall", stem=True),
    "rougeL_recall": partial(rouge_l, part="recall", stem=False),
    "rougeL_precision.stem": partial(rouge_l, part="precision", stem=True),
    "rougeL_precision": partial(rouge_l, part="precision", stem=False),
    "rougeL_f1.stem": partial(rouge_l, part="f1", stem=True),
    "rougeL_f1": partial(rouge_l, part="f1", stem=False),
    "rougeL_recall.rwku": rouge_l_rwku,
    "exact_match.lower": exact_match,
}


def overlap(variant: str, outputs: Sequence[str], truths: Sequence[str]) -> FloatArray:
    """Score every output against its truth by a named variant, `(N,)` in 0..1.

    Args:
        variant: a name in `VARIANTS`, such as "rougeL_recall.stem" (TOFU) or "rougeL_f1" (MUSE).
        outputs: what the model wrote, N texts.
        truths: what is true, N texts.

    Raises:
        InputError: unknown variant, or the two lists differ in length.
    """
    if variant not in VARIANTS:
        raise InputError(f"text overlap: unknown variant {variant!r}; use one of {', '.join(VARIANTS)}.")
    return VARIANTS[variant](outputs, truths)


def _paired(outputs: Sequence[str], truths: Sequence[str]) -> list[tuple[str, str]]:
    if isinstance(outputs, str) or isinstance(truths, str) or len(outputs) != len(truths):
        raise InputError(
            f"text overlap: {len(outputs)} outputs for {len(truths)} truths; give two lists of one text per item."
        )
    return list(zip(outputs, truths, strict=True))


def _words(text: str, stem: bool) -> list[str]:
    words = _TOKEN.findall(text.lower())
    return [_stem(word) if len(word) > 3 else word for word in words] if stem else words


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer().stem


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return _stemmer()(word)


def _lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, one big-integer step per word of b (Hyyrö 2004)."""
    positions: dict[str, int] = {}
    for i, word in enumerate(a):
        positions[word] = positions.get(word, 0) | 1 << i
    everything = (1 << len(a)) - 1
    open_ends = everything  # a cleared bit = the common subsequence grows at that word of a
    for word in b:
        matched = open_ends & positions.get(word, 0)
        open_ends = ((open_ends + matched) | (open_ends - matched)) & everything
    return len(a) - open_ends.bit_count()


def _overlap(common: int, n_output: int, n_truth: int, part: Part) -> float:
    if common == 0:
        return 0.0
    if part == "f1":
        return 2 * common / (n_output + n_truth)
    return common / (n_truth if part == "recall" else n_output)


def _union_recall(output: str, truth: str) -> float:
    said, meant = ([part.split() or [""] for part in text.split(".") if part] for text in (output, truth))
    common = {word for truth_words in meant for words in said for word in _lcs_words(truth_words, words)}
    unique = {word for words in meant for word in words}
    return len(common) / len(unique) if unique else 0.0


def _lcs_words(truth: Sequence[str], output: Sequence[str]) -> list[str]:
    """One longest common subsequence, with the tie-break of the `rouge` package (it decides which words are unique)."""
    table = [[0] * (len(output) + 1) for _ in range(len(truth) + 1)]
    for i, word in enumerate(truth):
        for j, other in enumerate(output):
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else max(table[i][j + 1], table[i + 1][j])
    i, j, words = len(truth), len(output), []
    while i and j:
        if truth[i - 1] == output[j - 1]:
            i, j = i - 1, j - 1
            words.append(truth[i])
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words


def _entropy(words: Sequence[str], n: int) -> float:
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if not counts:
        return 0.0
    share = np.array(list(counts.values())) / counts.total()
    return float(-(share * np.log2(share)).sum()) + 0.0  # + 0.0: a single n-gram must not print as -0
