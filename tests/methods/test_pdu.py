"""Primal-dual unlearning: when its retain weight moves, and that it does under the defaults."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models import tiny

from lethe.errors import InputError
from lethe.methods.pdu import pdu
from lethe.registry import find

MODEL, REQUEST = tiny.classifier(), tiny.request("classifier")


def weights(folder: Path, **options: Any) -> list[float]:
    """The retain term's weight at every step."""
    pdu(MODEL, REQUEST, folder=folder, **options)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["weight of retain"] for row in rows if "weight of retain" in row]


def test_by_default_the_weight_moves_after_one_epoch_by_the_bound(tmp_path: Path):
    low, high = (weights(tmp_path / f"{bound:g}", bound=bound) for bound in (0.0, 9.0))
    steps = len(low) // 10  # per epoch: ten of them
    assert set(low[: steps + 1]) == set(high[: steps + 1]) == {100.0}
    assert low[-1] > 100.0 > high[-1]


def test_a_run_that_ends_within_the_warm_up_is_refused(tmp_path: Path):
    before = MODEL.fingerprint()
    for options in ({"epochs": 1}, {"epochs": 5, "warmup_epochs": 5}, {"steps": 4, "batch_size": 1}):
        with pytest.raises(InputError, match=r"ends within the warm-up .* dual_rate=0"):
            pdu(MODEL, REQUEST, **options)
    assert MODEL.fingerprint() == before
    assert set(weights(tmp_path, epochs=1, dual_rate=0.0)) == {100.0}
    assert len(weights(tmp_path / "more", steps=6, batch_size=1)) == 6


def test_the_papers_settings_leave_the_weight_time_to_move():
    paper = find("method", "pdu").presets["paper"]
    assert paper["epochs"] > paper["warmup_epochs"] == 5
