"""Ways of judging representations that are known to go wrong, written from the descriptions of their defects.

Each stands here to be rejected by test_known_wrong_representations.py.
"""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.scoring.arrays import FloatArray
from lethe.scoring.representation import knn_hits
from lethe.scoring.similarity import cka_biased


def knn_of_the_output(evidence: Evidence, name: str) -> float:
    """The extractor released with arXiv 2503.06991: the whole model's output stands in for its representation."""
    return float(knn_hits(evidence.layer(name, "output"), evidence.column(name, "label")).mean())


def mean_of_batches(a: FloatArray, b: FloatArray, batch: int) -> float:
    """A mean of one CKA per batch in the order of the records, of which the last may be of a handful."""
    starts = range(0, len(a), batch)
    return float(np.mean([cka_biased(a[i : i + batch], b[i : i + batch]) for i in starts]))


def normalised_twice(image: np.ndarray, mean: float, spread: float) -> np.ndarray:
    """The data set's transform, before a model that normalises for itself."""
    return ((image - mean) / spread).astype(np.float32)


def superficial_by_accuracy(accuracies: Sequence[float], retrained: Sequence[float]) -> bool:
    """Forgotten because the accuracies are a retrained model's: what arXiv 2503.06991 argues against."""
    return bool(np.abs(np.subtract(accuracies, retrained)).max() > 0.1)


def aligned_in_sample(a: FloatArray, b: FloatArray) -> float:
    """A rotation scored on the records that it was found on."""
    a, b = ((x - x.mean(0)) / np.linalg.norm(x - x.mean(0)) for x in (a, b))
    return float(1 - np.linalg.svd(a.T @ b, compute_uv=False).sum())
