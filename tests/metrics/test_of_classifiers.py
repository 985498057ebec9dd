"""Metrics of unlearned classifiers on small evidence with known answers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest import approx

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.recipe import Recipe
from lethe.train import Term, train

SETS = {"forget": 40, "retain": 60, "holdout": 40, "test": 50}
SPEC = Spec(distributions=tuple(SETS), untrained=("forget",))


def records(name: str, rows: int) -> list[dict]:
    rng = np.random.default_rng([rows, len(name)])
    return [
        {"id": f"{name}{i}", "features": rng.normal(size=4).astype("float32"), "label": int(rng.integers(3))}
        for i in range(rows)
    ]


PROBES = {name: records(name, rows) for name, rows in SETS.items()}


def model(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(MLP(inputs=4, classes=3, width=16))


@pytest.fixture(scope="module")
def seen() -> list[Evidence]:
    return [observe(model(seed), PROBES, SPEC) for seed in range(3)]


def value(call: str, evidence: Evidence, controls: list[Evidence]) -> float:
    return compute(call, evidence, controls).value


def test_the_untrained_network_is_the_same_for_all_and_none_of_them(seen: list[Evidence]):
    first, second = (one.of_untrained("forget") for one in seen[:2])
    assert (first == second).all()
    assert first.shape == (40, 1, 3)
    assert np.exp(first).sum(axis=2) == approx(1, abs=1e-5)
    for one in seen:
        assert not np.allclose(one.distribution("forget"), first)
    other = observe(model(0), PROBES, replace(SPEC, seed=1)).of_untrained("forget")
    assert not np.allclose(other, first)


def test_the_untrained_network_is_kept_with_the_evidence(seen: list[Evidence], tmp_path: Path):
    seen[0].save(tmp_path / "kept")
    assert (Evidence.load(tmp_path / "kept").of_untrained("forget") == seen[0].of_untrained("forget")).all()
    with pytest.raises(InputError, match=r"'retain'.*Spec\.untrained"):
        seen[0].of_untrained("retain")


def test_zrf_of_the_untrained_network_itself_is_1(seen: list[Evidence]):
    blank = seen[0].of_untrained("forget")
    rows = seen[0].texts("forget")
    twin = replace(seen[0], distributions={**seen[0].distributions, **{i: blank[n] for n, i in enumerate(rows)}})
    assert value("zrf", twin, []) == approx(1, abs=1e-6)
    assert value("zrf:variant=reference", twin, []) == approx(1, abs=1e-6)
    assert value("zrf", seen[0], []) < value("zrf:variant=reference", seen[0], []) < 1


def test_unlearning_accuracy_is_what_accuracy_leaves(seen: list[Evidence]):
    assert value("unlearning_accuracy", seen[0], []) == approx(1 - value("accuracy", seen[0], []))


def test_average_gap_is_that_of_its_four(seen: list[Evidence]):
    own, *others = seen
    found = compute("average_gap", own, others)
    calls = ("unlearning_accuracy", "accuracy:set=retain", "accuracy:set=test", "mia_efficacy")
    by_hand = [abs(value(c, own, []) - np.mean([value(c, one, []) for one in others])) for c in calls]
    assert found.items == approx(by_hand)
    assert found.value == approx(np.mean(by_hand))
    assert list(found.detail) == ["UA", "RA", "TA", "MIA"]
    assert math.isnan(found.low)
    with pytest.raises(InputError, match="never saw the forget set"):
        compute("average_gap", own)


def test_nomus_is_told_with_all_that_it_hides(seen: list[Evidence]):
    found = compute("nomus", seen[0])
    told = found.detail
    assert found.value == approx(0.5 * told["U"] + 0.5 * (1 - 2 * abs(told["m"] - 0.5)))
    assert told["m"] == value("mia_loss", seen[0], [])
    assert told["U"] == value("accuracy:set=test", seen[0], [])
    assert told["random classifier"] == approx(1 / 6 + 0.5)
    lower = np.median(seen[0].nll("forget")) <= np.median(seen[0].nll("holdout"))
    assert told["forget loss"] == ("lower" if lower else "higher")


def test_distances_to_the_control_are_of_one_order(seen: list[Evidence]):
    own, *others = seen
    for call in ("js", "activation_distance"):
        both = value(call, own, others)
        assert both == approx(np.mean([value(call, own, [one]) for one in others]))
        assert value(call, own, [own]) == approx(0, abs=1e-6)


def test_the_two_attacks_point_in_opposite_directions(seen: list[Evidence]):
    """A forget set that looks like the retain set, and one that looks like nothing seen."""
    own = seen[0]
    rows = {name: own.texts(name) for name in SETS}
    flat, sharp = np.log([[0.34, 0.33, 0.33]]), np.log([[0.98, 0.01, 0.01]])

    def looks(forget: np.ndarray) -> Evidence:
        kept = (
            dict.fromkeys(rows["retain"], sharp)
            | dict.fromkeys(rows["holdout"], flat)
            | dict.fromkeys(rows["forget"], forget)
        )
        return replace(own, distributions=kept)

    for forget, members in ((sharp, 1), (flat, 0)):
        assert value("mia_member_rate", looks(forget), []) == members
        assert value("mia_efficacy:variant=entropy", looks(forget), []) == 1 - members
        assert value("mia_efficacy:variant=probabilities", looks(forget), []) == 1 - members


def test_interclass_confusion_comes_with_swapped_labels_and_goes_with_them():
    """The whole test: two classes swapped in the forget set; what learnt that confuses them everywhere."""
    rng = np.random.default_rng(0)
    centres = 2 * np.eye(4)[:3]

    def drawn(name: str, rows: int, swapped: bool) -> list[dict]:
        classes = rng.integers(2 if swapped else 3, size=rows)
        return [
            {"id": f"{name}{i}", "features": (centres[c] + rng.normal(scale=0.4, size=4)).astype("float32"),
             "label": int(1 - c if swapped else c)}
            for i, c in enumerate(classes)
        ]  # fmt: skip

    forget, retain, test = drawn("f", 60, True), drawn("r", 60, False), drawn("t", 90, False)

    def confused(rows: list[dict]) -> float:
        trained = model(3)
        train(trained, [Term("train", trained.encode(rows), own_loss)], Recipe(lr=1e-2, epochs=15))
        seen = observe(trained, {"forget": forget, "test": test}, Spec(distributions=("test",)))
        return value("interclass_confusion", seen, [])

    assert confused([*forget, *retain]) > 0.2
    assert confused(retain) < 0.05


def test_interclass_confusion_counts_swaps_alone(seen: list[Evidence]):
    labels = [record["label"] for record in PROBES["test"]]
    said = [int(np.argmax(rows[0])) for rows in seen[0].distribution("test")]
    own = [(a, b) for a, b in zip(said, labels, strict=True) if b in (1, 2)]
    found = compute("interclass_confusion:classes=1,2", seen[0])
    assert found.value == approx(np.mean([a != b and a in (1, 2) for a, b in own]))
    assert (found.n, found.name) == (len(own), "interclass_confusion.1-2@test")
    assert value("interclass_confusion:classes=2,1", seen[0], []) == found.value
    for classes in ("1,1", "1", "7,8"):
        with pytest.raises(InputError):
            compute(f"interclass_confusion:classes={classes}", seen[0])


def test_several_labels_of_a_record_are_one_item():
    """Every metric that makes sense of them takes the mean over a record's labels; the others say that they cannot."""
    probes = {
        name: [
            {"id": r["id"], "features": r["features"], "labels": [r["label"] % 2, i % 2]} for i, r in enumerate(rows)
        ]
        for name, rows in PROBES.items()
    }
    torch.manual_seed(0)
    own, other = (
        observe(Classifier(MLP(inputs=4, classes=2, width=16, multi_label=True)), probes, SPEC) for _ in range(2)
    )
    for call in ("zrf", "js", "activation_distance", "unlearning_accuracy", "mia_efficacy:variant=entropy"):
        assert compute(call, own, [other]).n == 40
    p, q = (np.exp(np.array(one.distribution("forget"))) for one in (own, other))
    assert compute("activation_distance", own, [other]).items == approx(np.linalg.norm(p - q, axis=2).mean(axis=1))
    assert compute("nomus", own).detail["random classifier"] == approx(0.75)
    for call in ("mia_efficacy:variant=modified_entropy", "interclass_confusion"):
        with pytest.raises(InputError, match="label"):
            compute(call, own)
