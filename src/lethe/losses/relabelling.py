"""Generic labels: what a model would say that had never read the text (Who's Harry Potter, arXiv 2310.02238)."""

from __future__ import annotations

import math

from torch import Tensor

from lethe.errors import InputError
from lethe.losses.tokens import wide


def generic_logits(base: Tensor, reinforced: Tensor, alpha: float = 5.0, offset: Tensor | None = None) -> Tensor:
    """Logits base - alpha * ReLU(reinforced - offset), elementwise (..., V); the generic label is the arg max.

    A token whose logit did not rise by further training on the text is left alone. The ReLU acts on raw logits, so a
    constant added to all of a position's changes the result; see `centred`.

    Args:
        base: Logits of the model before unlearning, on the translated text.
        reinforced: Logits of the model trained further on the text, on the original.
        alpha: How strongly what rose is lowered, at least 0.
        offset: Logits of the model before unlearning inside the ReLU; `base` where none is given.

    Raises:
        InputError: If alpha is negative.
    """
    if not 0 <= alpha < math.inf:
        raise InputError(f"alpha is {alpha}; it must be a finite number of at least 0.")
    base, reinforced = wide(base), wide(reinforced)
    return base - alpha * (reinforced - (base if offset is None else wide(offset))).relu()


def centred(logits: Tensor) -> Tensor:
    """Log-probabilities: the one representative of logits that differ by a constant per position."""
    return wide(logits).log_softmax(-1)
