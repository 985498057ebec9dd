"""The headline's world is what it says, and its figures carry the names that are expected of it; two of its runs."""

import pytest

from lethe.headlines import sam_recovery as claim
from lethe.registry import find


def test_a_shorter_headline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "RUNS", 2)
    figures = claim.sam_recovery(seed=0)
    card = find("headline", "sam_recovery")
    assert set(card.expects) <= set(figures)
    assert figures["items known before, least of all runs"] == 1
    for name in claim.RULES:
        assert figures[f"kept, {name}"] == 1
        assert figures[f"left, {name}"] < 0.25  # chance is 0.125
        assert figures[f"sharpness, {name}"] > 0
    assert figures["recovery after NPO less what was left"] > 0.05
    assert figures["recovery after NPO over that after SAM, rho 0.6"] > 1


def test_an_untrained_network_knows_nothing_and_seeds_differ():
    (model, request), (other, _) = claim.setting(0), claim.setting(1)
    assert claim.accuracy(model, [*request.forget, *request.retain]) < 0.3
    assert model.fingerprint() != other.fingerprint()
    assert claim.setting(0)[0].fingerprint() == model.fingerprint()
