"""A shorter run of the headline: its figures carry the names that are expected of it, and the sides share nothing."""

import pytest

from lethe.headlines import membership_epochs as claim
from lethe.registry import find


def test_a_shorter_headline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "SIDE", 16)
    monkeypatch.setattr(claim, "EPOCHS", 25)
    monkeypatch.setattr(claim, "SHAPE", {**claim.SHAPE, "hidden_size": 64, "intermediate_size": 128})
    monkeypatch.setattr(claim, "RECIPE", {**claim.RECIPE, "batch_size": 8})
    figures = claim.membership_epochs(seed=0)
    assert set(find("headline", "membership_epochs").expects) <= set(figures)
    assert figures["AUROC, loss"] > figures["AUROC after one epoch, loss"]
    assert figures["AUROC, reference"] > 0.8


def test_sentences_are_distinct_and_follow_the_seed():
    texts = claim.sentences(60, 0)
    assert len(set(texts)) == 60
    assert texts == claim.sentences(60, 0) != claim.sentences(60, 1)
