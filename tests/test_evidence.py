"""The evidence cache: what hits, what is observed again, and what is said where it cannot be kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.models import tiny

from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.worlds.cache import cached_model

PROBES = {"forget": tiny.QUESTIONS[:3], "retain": tiny.QUESTIONS[3:6]}
SPEC = Spec(max_new_tokens=4)


def same(one: Evidence, other: Evidence) -> bool:
    tokens = all(np.array_equal(one.tokens[name], other.tokens[name]) for name in one.tokens)
    return tokens and one.generations == other.generations and one.records == other.records


def test_evidence_is_observed_once_and_then_read(tmp_path: Path):
    model = tiny.language()
    first = observe(model, PROBES, SPEC, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    written = (folder / "evidence.safetensors").stat().st_mtime_ns
    assert same(observe(model.copy(), PROBES, SPEC, cache=tmp_path), first)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "evidence.safetensors").stat().st_mtime_ns == written


def test_a_changed_chat_template_is_another_observation(tmp_path: Path):
    """The weights are the same, the prompts are not."""
    model = tiny.language()
    plain = observe(model, PROBES, SPEC, cache=tmp_path)
    model.tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    chat = observe(model, PROBES, SPEC, cache=tmp_path)
    assert chat.model == plain.model
    assert not same(chat, plain)
    assert len(list(tmp_path.iterdir())) == 2


def test_distributions_take_no_more_memory_than_granted():
    """As many of the first records of each set as fit; what is kept is the same as without a limit."""
    model = tiny.language()
    whole = observe(model, PROBES, SPEC)
    sizes = [rows.nbytes for rows in whole.distribution("forget")]
    room = 2 * (sizes[0] + sizes[1]) / 2**20  # each of two sets has half
    some = observe(model, PROBES, replace(SPEC, memory=room))
    assert [len(whole.distribution(name)) for name in PROBES] == [3, 3]
    assert len(some.distribution("forget")) == 2
    for name in PROBES:
        kept = some.distribution(name)
        assert sum(rows.nbytes for rows in kept) <= room * 2**20 / 2
        assert all(np.array_equal(a, b) for a, b in zip(kept, whole.distribution(name), strict=False))
    assert not observe(model, PROBES, replace(SPEC, memory=0.0)).distributions


def shortened(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


@pytest.mark.parametrize(
    "damage",
    [
        shortened("evidence.safetensors", 100),
        shortened("evidence.safetensors", 0),
        shortened("evidence.json", 20),
        lambda folder: (folder / "evidence.json").write_text("{}"),
        lambda folder: (folder / "evidence.json").write_bytes(b"\xff"),
        lambda folder: (folder / "evidence.json").write_text("[]"),
        lambda folder: (folder / "evidence.safetensors").unlink(),
    ],
)
def test_damaged_evidence_is_observed_again(tmp_path: Path, damage: Callable[[Path], object]):
    model = tiny.language()
    first = observe(model, PROBES, SPEC, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    damage(folder)
    assert same(observe(model, PROBES, SPEC, cache=tmp_path), first)
    assert same(Evidence.load(folder), first)  # and the cache is whole again


def test_a_cache_below_a_file_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a part of that path is a file; choose another folder"):
        observe(tiny.language(), PROBES, SPEC, cache=tmp_path / "file" / "cache")
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="a part of that path is a file; choose another folder"):
        cached_model("m", {"seed": 0}, lambda folder: pytest.fail("nothing may be trained in vain"))
