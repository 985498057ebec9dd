"""ORT's probability of an answer in one form of question."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import did_you_mean, metric
from lethe.score import Score, score_of_items
from lethe.scoring import forms


@metric(families={"language"}, needs={"logits"}, paper="2506.07795", variants=("target_mean",))
def form_probability(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", form: str = ""
) -> Score:
    """Geometric mean of the answer's token probabilities, 0 to 1, averaged per target, then over targets.

    The end-of-sequence token is left out, as in ORT. With one target the interval is over its items.

    Args:
        set: Probe set whose records hold `kind`, the form, and `entity`, the target.
        form: Only the probes of this form, such as cloze; empty takes every one.

    Raises:
        InputError: If no probe has that form.
    """
    found = by_form(evidence, set)
    if form and form not in found:
        known = ", ".join(found) or "none"
        raise InputError(f"form_probability: {set!r} has no form {form!r}{did_you_mean(form, found)}; it has {known}.")
    chosen = [found[form]] if form else list(found.values())
    targets = [
        np.concatenate([one[name] for one in chosen if name in one])
        for name in dict.fromkeys(name for one in chosen for name in one)
    ]
    items = targets[0] if len(targets) == 1 else [target.mean() for target in targets]
    direction = "control" if set.startswith(("forget", "holdout")) else "higher"
    return score_of_items(
        "form_probability", items, variant=".".join(["target_mean"] + [form] * bool(form)), set=set,
        direction=direction, range=(0, 1), targets=len(targets), probes=sum(map(len, targets)),
    )  # fmt: skip


def by_form(evidence: Evidence, name: str) -> dict[str, dict[str, np.ndarray]]:
    """The answers' probabilities by form and target."""
    logp = [
        values if "raw_prompt" in record or len(values) == 1 else values[:-1]
        for values, record in zip(evidence.per_token(name), evidence.records[name], strict=True)
    ]
    probabilities = forms.form_probability(logp)
    kinds, subjects = ([str(one or "") for one in evidence.column(name, key)] for key in ("kind", "entity"))
    found: dict[str, dict[str, list[float]]] = {}
    for kind, subject, value in zip(kinds, subjects, probabilities, strict=True):
        found.setdefault(kind, {}).setdefault(subject, []).append(float(value))
    return {form: {one: np.array(values) for one, values in targets.items()} for form, targets in found.items()}
