"""The figures carry the names that are expected of the headline, on a quarter of its facts; nothing is claimed."""

from dataclasses import replace

import pytest

from lethe.headlines import sam_transformer as claim
from lethe.registry import find


def test_a_shorter_headline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "FACTS", 16)
    monkeypatch.setattr(claim, "FORGET", 8)
    monkeypatch.setattr(claim, "STEPS", 40)
    monkeypatch.setattr(claim, "LEARNING", replace(claim.LEARNING, steps=60))
    monkeypatch.setattr(claim, "RELEARNING", replace(claim.RELEARNING, steps=4))
    figures = claim.sam_transformer(seed=3)
    assert set(find("headline", "sam_transformer").expects) <= set(figures)
    assert figures["facts known before, accuracy"] == 1
    assert figures["forget accuracy of the control"] < 0.3  # it never met them
    assert figures["forget accuracy, the larger of both"] <= claim.FORGOTTEN
    assert 0 < figures["steps, NPO"] < claim.STEPS
