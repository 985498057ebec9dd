"""The cache of the embedded worlds' models, and a place beside it where everything is built anew."""

import os
from pathlib import Path

import pytest
import torch

from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.worlds.cache import cache_folder, cached_model, elsewhere


def make(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(MLP(inputs=2, classes=2, width=4))


def test_elsewhere_everything_is_built_anew_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "usual"))
    built: list[Path] = []

    def build(folder: Path) -> Classifier:
        built.append(folder)
        return make(0)

    def cached() -> str:
        return cached_model("toy", {"seed": 0}, build, family="classifier").fingerprint()

    usual = cached()
    assert cached() == usual
    assert len(built) == 1
    with pytest.raises(RuntimeError, match="on the way"), elsewhere(tmp_path / "other"):
        assert cache_folder() == tmp_path / "other"
        assert cached() == usual
        raise RuntimeError("on the way")
    assert len(built) == 2
    assert not (tmp_path / "other").exists()
    assert cache_folder() == tmp_path / "usual"
    monkeypatch.delenv("LETHE_CACHE")
    with elsewhere(tmp_path / "other"):
        pass
    assert "LETHE_CACHE" not in os.environ
