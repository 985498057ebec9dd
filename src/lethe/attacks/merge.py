"""Merging: how near does the unlearned model still lie to the one that knows?"""

from collections.abc import Iterator

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
    it still knows. Resistance says more.

    Args:
        alphas: Shares of the original's weights, each above 0 and below 1.

    Raises:
        InputError: If a share is out of range, or the two models are not of one architecture.
    """
    if not alphas or any(not 0 < alpha < 1 for alpha in alphas):
        raise InputError(f"merge: alphas are {alphas}; give shares of the original between 0 and 1.")
    weights, known = model.inner.state_dict(), original.inner.state_dict()
    if set(weights) != set(known):
        odd = sorted(set(weights) ^ set(known))[0]
        raise InputError(f"merge: only one of the two models has {odd!r}; both must have one architecture.")
    direction = difference(known, weights)
    for alpha in alphas:
        merged = model.copy()
        merged.inner.load_state_dict(shift(weights, direction, alpha))
        yield Tampered(merged, alpha, request.forget)
