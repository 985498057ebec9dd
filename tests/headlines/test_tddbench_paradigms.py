"""A shorter run of the headline: its figures carry the names that are expected of it, and shuffling is seen as that."""

import numpy as np
import pytest

from lethe.detection.study import Setting, Study
from lethe.headlines import tddbench_paradigms as claim
from lethe.registry import find


def test_a_shorter_headline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "EPOCHS", (2, 25))
    monkeypatch.setattr(claim, "SETTING", {**claim.SETTING, "targets": 1, "references": 6, "size": 400})
    figures = claim.tddbench_paradigms(seed=0)
    assert set(find("headline", "tddbench_paradigms").expects) <= set(figures)
    assert figures["rise of LiRA's AUROC with epochs"] > 0
    assert figures["AUROC, Model-lira"] == figures["AUROC, Model-lira, 25 epochs"] > figures["AUROC, Metric-loss"]
    assert 0 < figures["largest deviation under shuffled membership"] < 1
    study = Study(Setting(**claim.SETTING, epochs=25))
    member = study.pools.members[0]
    known = {"told": [member.astype(float)]}
    assert claim.mean_area(study, known["told"]) == 1
    assert claim.shuffled(study, known, np.random.default_rng(0)) < 1
