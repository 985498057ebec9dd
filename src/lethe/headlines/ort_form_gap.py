"""Ascent on biographies against redirecting the names, in ORT's forms of question."""

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.benchmarks.ort import forms
from lethe.data.targets import Targets
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.metrics.form_gap import form_gap
from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import fame_model

FORGOTTEN = 4
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "GA": ("ga", {"lr": 5e-4}),
    "NPO": ("npo", {"lr": 1e-3, "beta": 0.1, "retain": "none"}),
}
STEPS = (4, 6, 8, 10, 12, 14, 16, 20, 25, 30, 50)
SPEC = Spec(generate=(), distributions=())


@headline(
    paper="2506.07795",
    expects={
        "form gap of GA over ROCR": (">=", 1.0),
        "form gap of NPO over ROCR": (">=", 1.0),
        "largest neighbour drop of ROCR": ("<=", 0.05),
        "mean drop of ROCR": (">=", 0.2),
    },
)
def ort_form_gap(*, seed: int) -> dict[str, float]:
    """At an equal mean drop, training on biographies forgets less evenly over ORT's forms than redirecting the names.

    World: twelve people asked about in ORT's forms (cloze, question, multiple choice, both of the former spelt letter
    by letter); a four-layer model. Four people are forgotten by ROCR, and from one passage each by GA and NPO without
    retain term, trained for the first number of steps of a ladder at which the mean drop over the forms reaches ROCR's
    (a seed in which none does is refused).
    Measured: the answers' probability (geometric mean over tokens, end of sequence left out) per form, averaged per
    person; a drop is the share of it that is gone; the gap is the largest drop less the smallest; neighbours are the
    works and pupils of the four.
    """
    records = Targets("ort_form_gap", "tiny", seed)
    chosen = records.choose(FORGOTTEN)
    target = fame_model.model((), seed, seed)
    sets = {f"{side}_forms": forms(records, side, chosen) for side in ("forget", "neighbor")}
    request = Request(*records.passages(chosen), seed=seed)
    before = observe(target, sets, SPEC)

    redirected = figures(before, observe(find("method", "rocr").function(target, request), sets, SPEC))
    found = {f"{name} of ROCR": value for name, value in redirected.items()}
    for name in TRAINED:
        trained = _matched(target, request, name, sets, before, redirected["mean drop"])
        found |= {f"{figure} of {name}": value for figure, value in trained.items()}
        found[f"form gap of {name} over ROCR"] = trained["form gap"] / redirected["form gap"]
    return found


def figures(before: Evidence, after: Evidence) -> dict[str, float]:
    """Drop by form, gap, smallest and mean drop, and the neighbours' largest drop."""
    own, others = (form_gap(after, (), before, set=f"{side}_forms") for side in ("forget", "neighbor"))
    drops = own.detail["drops"]
    return {
        **{f"drop in {form}": drop for form, drop in drops.items()},
        "mean drop": sum(drops.values()) / len(drops),
        "form gap": own.value,
        "smallest drop": min(drops.values()),
        "largest neighbour drop": max(others.detail["drops"].values()),
    }


def _matched(
    target: Model, request: Request, name: str, sets: Mapping[str, Sequence[Any]], before: Evidence, wanted: float
) -> dict[str, float]:
    """The figures of the first model of the ladder that drops as much on average."""
    method, options = TRAINED[name]
    most = 0.0
    for steps in STEPS:
        made = find("method", method).function(target, request, **options, steps=steps, batch_size=4)
        found = figures(before, observe(made, sets, SPEC))
        most = max(most, found["mean drop"])
        if found["mean drop"] >= wanted:
            return found
    raise InputError(
        f"{name} drops the forms by {most:.3f} on average in {STEPS[-1]} steps at most and ROCR by {wanted:.3f}, so "
        f"seed {request.seed} compares different losses: add steps to the ladder."
    )
