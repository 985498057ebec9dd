"""Claims as `lethe bench headlines` measures them: over seeds, from their files, with an outcome for each."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lethe.errors import InputError
from lethe.registry import Expectation, names
from lethe.report.headlines import headline
from lethe.runs.headlines import Finding, Headlines, Outcome, judge, run_headlines

Command = Callable[..., tuple[int, str, str]]

# Each figure is so far from its bound, or so near it, that three seeds can say what the name says.
CLAIMS = '''
import random
from pathlib import Path

from lethe.registry import headline


def drawn(seed, mean):
    return mean + random.Random(seed).gauss(0, 0.1)


@headline(paper="2404.05868", expects={"ratio": (">=", 2.0), "cost in s": ("<=", 10.0)})
def stands(*, seed: int) -> dict[str, float]:
    """A claim that is well within its bounds.

    What is built, and in which units.
    """
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write(f"{seed} ")
    return {"ratio": drawn(seed, 5.0), "cost in s": drawn(seed + 9, 1.0), "beside": 2.5e-7}


@headline(expects={"ratio": (">=", 2.0)})
def falls(*, seed: int) -> dict[str, float]:
    """A claim that is well outside its bound."""
    return {"ratio": drawn(seed, 1.0)}


@headline(expects={"ratio": (">=", 2.0), "other": (">=", 2.0)})
def open_(*, seed: int) -> dict[str, float]:
    """A claim of which one figure straddles its bound."""
    return {"ratio": drawn(seed, 5.0), "other": 2.0 + (seed - 1) / 10}


@headline(expects={"ratio": (">=", 2.0)})
def breaks(*, seed: int) -> dict[str, float]:
    """A claim that cannot be measured under the seed 1."""
    return {"ratio": 5.0 / (seed - 1)}


@headline(expects={"ratio": (">=", 2.0)})
def forgets(*, seed: int) -> dict[str, float]:
    """A claim that does not give the figure that it expects."""
    return {"ratoi": 5.0}
'''
NAMES = ["stands", "falls", "open_", "breaks", "forgets"]


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of claims: modules and metadata in a folder of the search path."""
    folder = tmp_path / "site"
    metadata = folder / "lethe_claims-0.1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "lethe_claims.py").write_text(CLAIMS, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lethe-claims\nVersion: 0.1\n", encoding="utf-8")
    points = "\n".join(f"{name} = lethe_claims:{name}" for name in [*NAMES, "absent"])
    (metadata / "entry_points.txt").write_text(f"[lethe.headlines]\n{points}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("lethe_claims", None)


def by_name(found: Headlines) -> dict[str, Finding]:
    return {one.name: one for one in found.findings}


def test_every_claim_gets_the_outcome_that_its_intervals_allow(claims: Path, tmp_path: Path):
    found = by_name(run_headlines(tmp_path / "out", only=[*NAMES, "absent"], seeds=3))
    assert {name: one.outcome for name, one in found.items()} == {
        "stands": "holds", "falls": "does not hold", "open_": "not shown", "breaks": "failed", "forgets": "failed",
        "absent": "failed",
    }  # fmt: skip
    ratio, cost, beside = found["stands"].figures
    assert (ratio.n, ratio.outcome, cost.outcome, beside.outcome) == (3, "holds", "holds", "measured")
    assert ratio.low is not None
    assert ratio.mean is not None
    assert ratio.low < ratio.mean < 5.5
    assert found["stands"].said == "What is built, and in which units."
    assert found["breaks"].failures == {"1": "ZeroDivisionError: float division by zero"}
    assert found["breaks"].figures[0].values == (-5.0, 5.0)
    assert "gives no figure 'ratio'" in found["forgets"].failures["0"]
    assert "cannot be loaded" in found["absent"].failures["2"]


def test_what_has_its_file_is_not_measured_again_until_the_source_changes(claims: Path, tmp_path: Path):
    calls = claims / "calls"
    whole = run_headlines(tmp_path / "a", only=["stands"], seeds=3)
    assert calls.read_text() == "0 1 2 "
    assert run_headlines(tmp_path / "a", only=["stands"], seeds=3) == whole
    assert calls.read_text() == "0 1 2 "
    (tmp_path / "a" / "headlines" / "stands-seed1.json").write_text("{", encoding="utf-8")  # damaged
    (tmp_path / "a" / "headlines" / "stands-seed2.json").unlink()  # not reached before the kill
    assert run_headlines(tmp_path / "a", only=["stands"], seeds=3) == whole
    assert calls.read_text() == "0 1 2 1 2 "
    (claims / "lethe_claims.py").write_text(CLAIMS + "# edited\n", encoding="utf-8")
    run_headlines(tmp_path / "a", only=["stands"], seeds=1)
    assert calls.read_text() == "0 1 2 1 2 0 "


def test_one_seed_shows_nothing(claims: Path, tmp_path: Path):
    (one,) = run_headlines(tmp_path, only=["stands"], seeds=1).findings
    assert one.outcome == "not shown"
    assert one.figures[0].low is None


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (("holds", "failed"), "2 claims over 3 seeds: 1 holds, 1 failed."),
        (
            ("holds",) * 6 + ("does not hold",) * 4 + ("not shown",) * 2 + ("measured", "failed", "failed"),
            "15 claims over 3 seeds: 6 hold, 4 do not, 2 are not shown, 1 is measured, 2 failed.",
        ),
        (("does not hold", "not shown"), "2 claims over 3 seeds: 1 does not hold, 1 is not shown."),
        (("does not hold", "does not hold"), "2 claims over 3 seeds: 2 do not hold."),
        (("holds", "does not hold"), "2 claims over 3 seeds: 1 holds, 1 does not."),
        ((), "0 claims over 3 seeds: none."),
    ],
)
def test_the_headline_is_a_sentence_of_one_claim_and_of_many(outcomes: tuple[Outcome, ...], said: str):
    found = tuple(Finding(f"claim{i}", "", "", "", "", (), (), one) for i, one in enumerate(outcomes))
    assert headline(Headlines(found, 3, {})) == said


@pytest.mark.parametrize(
    ("expected", "low", "high", "outcome"),
    [
        ((">=", 2.0), 2.0, 3.0, "holds"), ((">=", 2.0), 1.9, 3.0, "not shown"),
        ((">=", 2.0), 1.0, 1.9, "does not hold"),
        ((">=", 2.0), 1.0, 2.0, "not shown"), (("<=", 2.0), 1.0, 2.0, "holds"), (("<=", 2.0), 1.0, 2.1, "not shown"),
        (("<=", 2.0), 2.1, 3.0, "does not hold"), (("<=", 2.0), None, None, "not shown"),
    ],
)  # fmt: skip
def test_an_interval_must_lie_wholly_on_one_side(expected: Expectation, low: float, high: float, outcome: str):
    assert judge(expected, low, high) == outcome


def test_the_command_writes_the_page_and_ends_with_one_where_a_claim_failed(
    claims: Path, lethe: Command, tmp_path: Path
):
    code, out, err = lethe("bench", "headlines", "--only", "stands", "--only", "breaks", "--seeds", "3", "--workers",
                           "1", "--out", str(tmp_path / "out"))  # fmt: skip
    assert code == 1
    assert "stands" in out
    assert "failed: breaks, seed 1: ZeroDivisionError" in err
    page = (tmp_path / "out" / "headlines.md").read_text(encoding="utf-8")
    assert "1 holds, 1 failed" in page
    assert "seed 1 failed: ZeroDivisionError: float division by zero" in page
    assert "| ratio | 5" in page
    assert "≥ 2" in page
    html = (tmp_path / "out" / "headlines.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "https://arxiv.org/abs/2404.05868" in html
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [one["outcome"] for one in results["findings"]] == ["holds", "failed"]
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    lethe("bench", "headlines", "--only", "stands", "--only", "breaks", "--seeds", "3", "--workers", "1", "--out",
          str(tmp_path / "out"))  # fmt: skip
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "stand"], "no headline 'stand', did you mean 'stands'?"),
        (["--seeds", "0"], "seeds is 0"),
        (["--workers", "0"], "workers is 0"),
        (["--source", "tiny"], "takes no --source"),
        (["--set", "lr=1"], "takes no --set"),
        (["--no-attacks"], "takes no --attacks"),
    ],
)
def test_mistakes(claims: Path, lethe: Command, tmp_path: Path, arguments: list[str], said: str):
    code, _, err = lethe("bench", "headlines", *arguments, "--out", str(tmp_path / "out"))
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not (tmp_path / "out").exists()


def test_only_is_for_headlines(lethe: Command, tmp_path: Path):
    code, _, err = lethe("bench", "tofu", "--only", "npo", "--out", str(tmp_path / "out"))
    assert code == 2
    assert "give --methods" in err


def test_no_benchmark_is_called_headlines():
    assert "headlines" not in names("benchmark")


def test_a_mistaken_seed_count_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        run_headlines("nowhere", seeds=-1)
