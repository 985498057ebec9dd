"""Merging: how near does the unlearned model still lie to the one that knows?"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.losses.weights import difference, shift
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Request


@attack(
    needs={"loss"}, paper="2203.05482", requires={"forget"}, check="R6", evidence_class="E3", unit="share",
    budgets={"quick": ("",)},
)  # fmt: skip
def merge(
    model: Model, request: Request, original: Model, *, alphas: tuple[float, ...] = (0.25, 0.5, 0.75)
) -> Iterator[Tampered]:
    """Average the weights with those of the model before unlearning.

    What comes back here was put back in part: a failure says that the unlearned model lies near the original, not that
    it still knows. Resistance says more. Of an ensemble that replaced a single model every constituent is averaged.

    Args:
        alphas: Shares of the original's weights, each above 0 and below 1.

    Raises:
        InputError: If a share is out of range, or the two models are not of one architecture.
    """
    if not alphas or any(not 0 < alpha < 1 for alpha in alphas):
        raise InputError(f"merge: alphas are {alphas}; give shares of the original between 0 and 1.")
    known = original.inner.state_dict()
    for part in _networks(model, known):
        if odd := sorted(part.state_dict().keys() ^ known.keys()):
            raise InputError(f"merge: only one of the two models has {odd[0]!r}; both must have one architecture.")
    for alpha in alphas:
        merged = model.copy()
        for part in _networks(merged, known):
            weights = part.state_dict()
            part.load_state_dict(shift(weights, difference(known, weights), alpha))
        yield Tampered(merged, alpha, request.forget)


def _networks(model: Model, known: Mapping[str, Tensor]) -> list[nn.Module]:
    """What is merged with the original: the model, or every constituent of an ensemble that replaced a single one."""
    parts: Any = getattr(model.inner, "constituents", None)
    return [model.inner] if parts is None or model.inner.state_dict().keys() == known.keys() else list(parts)
