"""Redirecting a concept against training on one form."""

import time
from typing import Any

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import forms

TRAINED = {"GA": ("ga", {}), "NPO": ("npo", {"retain": "none"})}
STEPS = (2, 4, 6, 8, 10, 12, 15, 20, 30, 50)
RATE = 3e-4


@headline(
    paper="2506.07795",
    expects={
        **{f"drop of {name} in statements": (">=", 0.5) for name in ("ROCR", *TRAINED)},
        "seconds per edit of ROCR": ("<=", 1.0),
        "form gap of GA over ROCR": (">=", 1.0),
        "form gap of NPO over ROCR": (">=", 1.0),
        "largest neighbour drop of ROCR": ("<=", 0.05),
    },
)
def rocr_forms(*, seed: int) -> dict[str, float]:
    """Redirecting a concept forgets it in every form, training on statements mostly in statements.

    World: twenty people x four facts in three forms (statement, question, choice); a four-layer model knows all 240
    texts. One person is forgotten by ROCR, and from that person's four statements by GA and NPO without retain term,
    each trained until it drops the statements as much as ROCR does (the first number of steps of a ladder; a seed in
    which none does is refused).
    Measured: per form the share of the answers' probability that is gone, on the forgotten person; the form gap is the
    largest less the smallest of the three; the neighbour drop is that of the nineteen others, largest over the forms;
    seconds are those of one call without the retain texts' statistics, which are kept from one edit to the next.
    """
    target = forms.model(seed)
    person = forms.people(seed=0)[seed % forms.PEOPLE].id
    own = {form: forms.records(form, only=[person]) for form in forms.FORMS}
    others = {form: forms.records(form, without=[person]) for form in forms.FORMS}
    request = Request(own["statement"], [r for some in others.values() for r in some], seed=seed, allow_overlap=True)

    redirected, seconds = _redirected(target, request)
    drops = forms.drops(target, redirected, own)
    found = {"seconds per edit of ROCR": seconds, **_figures("ROCR", drops, forms.drops(target, redirected, others))}
    for name, (method, options) in TRAINED.items():
        trained = _trained(target, request, method, options, drops["statement"])
        found |= _figures(name, forms.drops(target, trained, own), forms.drops(target, trained, others))
        found[f"form gap of {name} over ROCR"] = found[f"form gap of {name}"] / found["form gap of ROCR"]
    return found


def _redirected(target: Model, request: Request) -> tuple[Model, float]:
    """The edited model and the seconds that a second request would take."""
    import tempfile
    from pathlib import Path

    rocr = find("method", "rocr").function
    with tempfile.TemporaryDirectory() as folder:
        rocr(target, request, cache=Path(folder))
        start = time.perf_counter()
        edited = rocr(target, request, cache=Path(folder))
        return edited, time.perf_counter() - start


def _trained(target: Model, request: Request, method: str, options: dict[str, Any], wanted: float) -> Model:
    """The first model of the ladder that drops the statements as much."""
    run, most = find("method", method).function, 0.0
    for steps in STEPS:
        trained = run(target, request, **options, lr=RATE, steps=steps, batch_size=4)
        most = max(most, forms.drops(target, trained, {"statement": list(request.forget)})["statement"])
        if most >= wanted:
            return trained
    raise InputError(
        f"{method} drops the statements by {most:.3f} in {STEPS[-1]} steps at most and ROCR by {wanted:.3f}, so seed "
        f"{request.seed} compares different losses: add steps to the ladder."
    )


def _figures(name: str, own: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    return {
        **{f"drop of {name} in {form}s": drop for form, drop in own.items()},
        f"form gap of {name}": forms.gap(own),
        f"worst form of {name}": min(own.values()),
        f"largest neighbour drop of {name}": max(others.values()),
    }
