"""Ways of looking inside a model that are known to go wrong, written from the descriptions of their defects.

Each stands here to be rejected by test_known_wrong_inside.py.
"""

from typing import Any

import numpy as np
from torch import Tensor

from lethe.scoring.arrays import FloatArray


def lens_with_two_norms(module: Any, states: list[Tensor]) -> list[Tensor]:
    """The code of arXiv 2505.01456: every hidden state goes through the final norm, the last one a second time."""
    return [module.lm_head(module.model.norm(state)) for state in states]


def cka_as_published(a: FloatArray, b: FloatArray) -> float:
    """Linear CKA as published (arXiv 2503.06991 and others): about d / (d + n) for models that share nothing."""
    a, b = a - a.mean(0), b - b.mean(0)
    return float(np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def probe_of_its_own_training_records(states: FloatArray, ridge: float = 0.1) -> FloatArray:
    """A probe that is scored on what it was trained on: it reads anything from states as wide as there are records."""
    scaled = (states - states.mean(0)) / states.std(0)
    kernel = scaled @ scaled.T / scaled.shape[1]
    return np.linalg.solve(kernel + ridge * np.eye(len(kernel)), kernel)


def selectivity_of_the_best_layer_against_one(hits: FloatArray, null: FloatArray) -> float:
    """The best of many layers less the mean layer under random labels: positive where nothing is known."""
    return float(hits.max() - null.mean())


def rising_candidates_alone(extremes: FloatArray, k: int) -> FloatArray:
    """A probability delta read at its upper end only: an answer that is taken back at the last moment is missed."""
    return (extremes[..., 0] < k).any(1).astype(float)
