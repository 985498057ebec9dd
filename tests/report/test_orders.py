"""The order by distance beside the orders of papers' scores, on rows whose every place is known."""

from pathlib import Path

import pytest

from lethe.report.orders import order_of, ranks, write_orders
from lethe.runs.results import BenchmarkResult, Results, Role, Row
from lethe.score import Score

# forget accuracy falls in the order of the list, distance rises: UA ranks the farthest first
METHODS = {"retrain": 0.1, "near": 0.2, "middle": 0.4, "far": 0.8, "farther": 1.6, "farthest": 3.2}


def row(name: str, seed: int, distance: float, accuracy: float, role: Role = "method") -> Row:
    values = {
        ("distance", "kl", "forget"): distance, ("distance", "kl", "retain"): distance / 10,
        ("accuracy", "top1", "forget"): accuracy,
    }  # fmt: skip
    scores = tuple(
        Score(metric, variant, probes, value, value, value, 10, "control", (0, 9))
        for (metric, variant, probes), value in values.items()
    )
    return Row(f"{name}-seed{seed}", role, name, seed, {}, name, 0, scores)


def result(rows: list[Row]) -> BenchmarkResult:
    return BenchmarkResult(
        "toy", "classifier", "", "tiny", "", {}, "accuracy.top1@test", "accuracy.top1@forget", "distance.kl@forget",
        ("distance.kl@forget",), (), tuple(rows),
    )  # fmt: skip


def rows(upside_down: bool = True) -> list[Row]:
    accuracies = [0.9 - 0.1 * place for place in range(len(METHODS))]
    found = accuracies if upside_down else accuracies[::-1]
    return [
        row(name, seed, distance * (1 + 0.01 * seed), accuracy)
        for (name, distance), accuracy in zip(METHODS.items(), found, strict=True)
        for seed in (1, 2, 3)
    ]


def test_places_from_the_best_with_equals_sharing_theirs():
    assert ranks([0.3, 0.9, 0.3], higher=True) == [2.5, 1, 2.5]
    assert ranks([0.3, 0.9, 0.1], higher=False) == [2, 3, 1]


def test_a_score_that_ranks_upside_down_has_tau_minus_one_and_says_who_stands_too_high():
    order = order_of(result(rows()))
    assert order is not None
    assert [line.label for line in order.lines] == list(METHODS)
    assert [score.title for score in order.scores] == ["UA"]
    assert [line.places for line in order.lines] == [(str(place),) for place in (6, 5, 4, 3, 2, 1)]
    assert order.agreement == ("−1.00 [−1.00, −1.00]",)
    assert "places higher than the distance does: farthest by 5, farther by 3" in order.apart[0]
    assert "places lower: retrain by 5, near by 3" in order.apart[0]
    assert "ranks 5 of 5 models above an exact retraining" in order.apart[0]


def test_a_score_that_agrees_has_tau_one_and_nobody_stands_apart():
    order = order_of(result(rows(upside_down=False)))
    assert order is not None
    assert order.agreement == ("1.00 [1.00, 1.00]",)
    assert order.apart == ("UA ranks nothing above an exact retraining.",)


def test_destroying_the_retain_set_is_a_distance_too():
    broken = row("wrecked", 1, 0.0, 0.0)
    scores = tuple(
        Score(
            s.metric, s.variant, s.set, 99.0 if s.name == "distance.kl@retain" else s.value, 0, 0, 1, "control", (0, 99)
        )
        for s in broken.scores
    )
    order = order_of(result([*rows(), Row(broken.id, "floor", "wrecked", 1, {}, "w", 0, scores)]))
    assert order is not None
    assert order.lines[-1].label == "wrecked (floor)"


def test_few_methods_or_no_scores_make_no_page(tmp_path: Path):
    few = [one for one in rows() if one.method in ("retrain", "near", "far")]
    assert order_of(result(few)) is None
    assert write_orders(Results("t", "lethe bench toy", (result(few),), {}, {}), tmp_path) is None
    page = write_orders(Results("t", "lethe bench toy", (result(rows()),), {"python": "3"}, {"seeds": 3}), tmp_path)
    assert page is not None
    assert "| *tau with the distance* | | | −1.00 [−1.00, −1.00] |" in page.read_text()


@pytest.mark.parametrize("missing", ["distance.kl@retain", "accuracy.top1@forget"])
def test_a_row_without_a_score_is_not_ranked_by_it(missing: str):
    found = rows()
    found[0] = Row(
        found[0].id,
        "method",
        "retrain",
        1,
        {},
        "",
        0,
        tuple(score for score in found[0].scores if score.name != missing),
    )
    order = order_of(result(found))
    assert order is not None
    kept = [line.label for line in order.lines]
    assert ("retrain" in kept) == (missing == "accuracy.top1@forget")
