"""Can members be told from non-members without any model? Then no attack on a model proves anything on that split.

A membership benchmark whose members and non-members differ in date, length or subject rewards an attack for reading the
text alone (arXiv 2402.07841, 2406.16201). Every split is therefore scored blind as well.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray
from lethe.scoring.intervals import Interval
from lethe.scoring.roc import auc, auc_interval

LIMIT = 0.6  # an AUC above this marks a split as confounded
FOLDS = 5
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")


class Blind(NamedTuple):
    """AUC of a classifier that never saw the model, out of fold, with its bootstrap interval."""

    auc: float
    interval: Interval

    @property
    def verdict(self) -> str:
        """confounded: above .6 and surely above chance; clean: surely at most .6; undecided: too few records to say."""
        if self.auc > LIMIT and self.interval.low > 0.5:
            return "confounded"
        return "clean" if self.interval.high <= LIMIT else "undecided"


class Split(NamedTuple):
    """What every blind classifier made of a split, by its name; `worst` names the one that tells most."""

    baselines: dict[str, Blind]
    members: int
    nonmembers: int

    @property
    def worst(self) -> str:
        """Name of the classifier with the highest AUC."""
        return max(self.baselines, key=lambda name: self.baselines[name].auc)

    @property
    def confounded(self) -> bool:
        """Whether any of them tells members from non-members: then membership AUCs on this split mean nothing."""
        return any(blind.verdict == "confounded" for blind in self.baselines.values())

    @property
    def verdict(self) -> str:
        """The gravest of the baselines' verdicts."""
        found = {blind.verdict for blind in self.baselines.values()}
        return next(verdict for verdict in ("confounded", "undecided", "clean") if verdict in found)


def _words(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(lowercase=True, token_pattern=r"(?u)\w+", ngram_range=(1, 2), sublinear_tf=True)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise InputError(
            "blind baseline: the texts hold no word; give the texts that the model was scored on."
        ) from error


def _lengths(texts: Sequence[str]) -> FloatArray:
    return _scaled([[len(text), len(text.split()), len(text) / max(1, len(text.split()))] for text in texts])


def _years(texts: Sequence[str]) -> FloatArray:
    years = [[int(year) for year in _YEAR.findall(text)] for text in texts]
    middle = float(np.mean([year for found in years for year in found])) if any(years) else 0.0
    return _scaled([[len(found), float(np.mean(found or [middle])), max(found, default=middle)] for found in years])


BASELINES: Mapping[str, Callable[[Sequence[str]], Any]] = {"words": _words, "length": _lengths, "years": _years}


def blind_baselines(
    members: Sequence[str], nonmembers: Sequence[str], *, seed: int = 0, groups: Sequence[object] | None = None
) -> Split:
    """Score a membership split without a model: bag of words, length, and years named in the texts.

    Logistic regression, five stratified folds; every record is scored by a classifier that did not see it, and ranked
    within its fold, since scores of several classifiers do not compare.

    Args:
        members: the texts taken for members.
        nonmembers: the texts taken for non-members.
        seed: seed of the folds and of the interval.
        groups: who each text is about, members first; texts of one group share a fold, or the classifier would know a
            person's other texts by the name in them.

    Raises:
        InputError: fewer than 10 texts (or groups) on a side, or groups that do not pair up.
    """
    texts = [*members, *nonmembers]
    labels = np.repeat([1, 0], [len(members), len(nonmembers)])
    owners = np.arange(len(texts)) if groups is None else _numbered(groups, len(texts))
    few = min(len(set(owners[labels == side].tolist())) for side in (0, 1))
    if few < 2 * FOLDS:
        raise InputError(f"blind baseline: only {few} texts or groups on a side; give at least {2 * FOLDS} of each.")
    found = {}
    for name, features in BASELINES.items():
        scores = _out_of_fold(features(texts), labels, owners, seed)
        own, other = scores[labels == 1], scores[labels == 0]
        found[name] = Blind(auc(own, other), auc_interval(own, other, seed=seed))
    return Split(found, len(members), len(nonmembers))


def _out_of_fold(features: Any, labels: Any, owners: Any, seed: int) -> FloatArray:
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    scores = np.zeros(len(labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(np.zeros(len(labels)), labels, owners):
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000).fit(features[train], labels[train])
        scores[test] = rankdata(model.decision_function(features[test])) / (len(test) + 1)
    return scores


def _numbered(groups: Sequence[object], texts: int) -> Any:
    if len(groups) != texts:
        raise InputError(f"blind baseline: {len(groups)} groups for {texts} texts; name one for every text.")
    known = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([known[group] for group in groups])


def _scaled(rows: Sequence[Sequence[float]]) -> FloatArray:
    values = np.array(rows, dtype=np.float64)
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)
