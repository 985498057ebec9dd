"""A request for deletion from a saved recommender: users, items and interactions, end to end from files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.models import tiny
from typer.testing import CliRunner

import lethe
from lethe.cli import app
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.models import load
from lethe.registry import find
from lethe.request import Record
from lethe.runs.rankings import lists_of, users_of

TRAINED = {(row["user"], row["item"]) for row in tiny.interactions()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model folder, and beside it requests for a user, for an item and for one interaction."""
    user, item = tiny.interactions()[0]["user"], tiny.interactions()[5]["item"]
    other = next(pair for pair in sorted(TRAINED) if pair[0] != user and pair[1] != item)
    (tmp_path / "requests.tsv").write_text(f"user\titem\n{user}\t\n\t{item}\n{other[0]}\t{other[1]}\n")
    return tiny.recommender().save(tmp_path / "model")


def asked(path: Path) -> set[tuple[int, int]]:
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {(u, i) for u, i in TRAINED for user, item in rows if user in ("", str(u)) and item in ("", str(i))}


def test_a_saved_model_forgets_by_a_file_of_requests(saved: Path, tmp_path: Path):
    request, out = tmp_path / "requests.tsv", tmp_path / "out"
    call = ["unlearn", "--model", str(saved), "--forget", str(request), "--method", "reverse_bpr", "--out", str(out)]
    done = CliRunner().invoke(app, [*call, "--set", "epochs=1", "--set", "lr=0.01"])
    assert done.exit_code == 0, done.output
    gone = asked(request)
    assert 0 < len(gone) < len(TRAINED)
    left = load(out)
    assert {tuple(pair) for pair in left.net.edges.T.tolist()} == TRAINED - gone  # pyright: ignore[reportAttributeAccessIssue]
    manifest = json.loads((out / "lethe.json").read_text())
    assert (manifest["request"]["forget"], manifest["request"]["retain"]) == (len(gone), len(TRAINED) - len(gone))

    # The audit reads the same request from the same file, and draws pairs that never were.
    task = find("benchmark", "records").function(model=str(saved), forget=str(request))
    assert {(row["user"], row["item"]) for row in task.request.forget} == gone
    assert [row["id"] for row in task.request.forget] == [f"u{u}-i{i}" for u, i in _pairs(task.request.forget)]
    assert not {*_pairs(task.request.holdout)} & TRAINED
    assert task.request.holdout
    told = users_of(task)
    lists = lists_of(task, observe(left, task.probes, task.spec))
    assert set(lists) == {str(one["user"]) for one in told}
    retained = {*_pairs(task.request.retain)}
    assert not any((int(user), item) in retained for user, items in lists.items() for item in items)


def _pairs(records: Sequence[Record]) -> list[tuple[int, int]]:
    return [(row["user"], row["item"]) for row in records]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user\n77\n", "row 1: user 77 is in none of the interactions"),
        ("user\titem\n0\t0\n0\t0\n", "row 2: user 0 and item 0 stand in row 1 as well"),
        ("item\tmodality\n1\timage\n", "image"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(content: str, said: str, saved: Path):
    (saved.parent / "bad.tsv").write_text(content)
    with pytest.raises(InputError, match=said):
        lethe.unlearn(saved, saved.parent / "bad.tsv", method="retrain", out=saved.parent / "out")
    assert not (saved.parent / "out").exists()
