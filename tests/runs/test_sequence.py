"""Requests one after another: closed forms of the lines, a real chain, its kill and its damage, and the command."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.attacks import tiny

from lethe.data.content import digest
from lethe.errors import InputError
from lethe.findings import Check
from lethe.report.sequence import headline, write_sequence
from lethe.request import Request
from lethe.runs.bench import make_plan
from lethe.runs.division import By, parts, request_of, sized
from lethe.runs.sequence import Costs, Served, name_of, read, run_sequence, save
from lethe.runs.sequence_lines import Frame, cost_line, last_return, lines, matrix
from lethe.runs.servings import Again, Course, Expense, Levels, Step
from lethe.task import Task

Command = Callable[..., tuple[int, str, str]]
RECIPE = "lr=3e-3,epochs=30,batch_size=32,schedule=cosine"
METHODS = ("grad_diff:lr=2e-3,epochs=10,batch_size=20", f"retrain:{RECIPE}")
KNOWN, CONTROL = (1.0, 1.0, 1.0), Levels(((0.0,) * 4,) * 3, (0.0,) * 3, 1.0)
TARGET = Levels(((1.0,) * 4,) * 3, KNOWN, 1.0)


def levels(*values: float, utility: float = 1.0) -> Levels:
    return Levels(tuple((value,) * 4 for value in values), values, utility)


def course(*states: Levels, kind: str = "sequence", order: Sequence[tuple[int, ...]] = (), **more: object) -> Course:
    steps = [
        Step(served, one, f"w{at}", f"w{at + 1}", 5, 2**20, 4, 9, restored=True, vouched=True)
        for at, (served, one) in enumerate(zip(order or [(i,) for i in range(len(states))], states, strict=True))
    ]
    return Course(kind, "npo", "npo", 1, tuple(steps), **more)  # pyright: ignore[reportArgumentType]


THREE = course(levels(0.1, 1, 1), levels(0.1, 0.1, 1), levels(0.1, 0.1, 0.1))


def line(name: str, *courses: Course, noise: float | None = None) -> Check:
    found = lines(courses, TARGET, [CONTROL, CONTROL], {} if noise is None else {"retain": noise}, 100)
    return next(check for check in found if check.id == name)


def test_the_worked_matrix_of_the_checklist():
    two = course(levels(0.1, 1), levels(0.4, 0.1))
    assert matrix(two).tolist() == [[0.1, 1.0], [0.4, 0.1]]
    assert last_return(two) == pytest.approx(0.3)
    found = lines([two], levels(1, 1), [levels(0, 0)], {}, 100)[0]
    assert (found.id, found.outcome, found.threshold) == ("O1", "FAIL", 0.2)
    assert found.value == pytest.approx(0.3)
    assert "request 1 returned most [0.30, 0.30]" in found.reason


def test_columns_follow_the_order_in_which_requests_were_served():
    turned = course(levels(1, 1, 0.2), levels(0.3, 1, 0.2), levels(0.3, 0.4, 0.2), order=[(2,), (0,), (1,)])
    assert matrix(turned).tolist() == [[0.2, 1, 1], [0.2, 0.3, 1], [0.2, 0.3, 0.4]]


def test_shares_are_read_between_controls_and_target_and_what_the_target_never_knew_has_none():
    frame = Frame.of(levels(0.9, 0.12), [levels(0.1, 0.1), levels(0.2, 0.1)])
    shares = frame.shares(levels(0.525, 0.1))
    assert shares[0] == pytest.approx(0.5)
    assert np.isnan(shares[1])
    assert frame.left(levels(0.525, 0.1)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("states", "outcome", "said"),
    [
        ([levels(0.1, 1, 1), levels(0.1, 0.1, 1), levels(0.1, 0.1, 0.1)], "PASS", "3 of 3 requests"),
        ([levels(0.1, 1, 1), levels(0.3, 0.1, 1), levels(0.35, 0.1, 0.1)], "FAIL", "request 1 returned most"),
        ([levels(-0.9, 1, 1), levels(-0.5, 0.1, 1), levels(0.1, 0.1, 0.1)], "PASS", "request 1 returned most"),
        ([levels(0.8, 1, 1), levels(0.8, 0.8, 1), levels(1, 0.8, 0.1)], "NOT TESTED", "no earlier request was"),
        ([levels(0.1, 1, 1), levels(0.1, 0.1, 1), levels(0, 0, 0, utility=0.4)], "FAIL", "utility is below 90%"),
    ],
)  # fmt: skip
def test_a_return_is_of_what_was_forgotten_and_of_knowledge(states: list[Levels], outcome: str, said: str):
    found = line("O1", course(*states))
    assert found.outcome == outcome
    assert said in found.reason


@pytest.mark.parametrize(("left", "outcome"), [(0.15, "PASS"), (0.5, "FAIL")])
def test_order_and_batch_are_compared_by_where_they_end(left: float, outcome: str):
    turned = course(levels(1, 1, 0.1), levels(0.1, 1, 0.1), levels(left, left, left), kind="order",
                    order=[(2,), (0,), (1,)])  # fmt: skip
    assert line("O2", THREE, turned).outcome == outcome
    assert line("O2", THREE, turned).value == pytest.approx(left - 0.1)
    batch = course(levels(left, left, left), kind="batch", order=[(0, 1, 2)])
    assert line("O3", THREE, batch).outcome == outcome
    assert {line(name, THREE).outcome for name in ("O2", "O3", "O5", "O6")} == {"NOT TESTED"}


def test_a_broken_model_is_the_same_in_every_order_and_that_passes_nothing():
    ruined = [levels(0.1, 1, 1), levels(0.1, 0, 1, utility=0.2), levels(0, 0, 0, utility=0.0)]
    chain, turned = course(*ruined), course(*ruined, kind="order")
    again = Again(levels(0, 0, 0, utility=0.0), {"retain": 0.0}, 0.1)
    assert line("O2", chain, turned).outcome == "NOT TESTED"
    assert "broken either way" in line("O2", chain, turned).reason
    assert line("O6", replace(chain, again=again), noise=0.1).outcome == "NOT TESTED"
    sound = course(levels(0, 0, 0), kind="batch", order=[(0, 1, 2)])
    assert (line("O3", chain, sound).outcome, line("O3", chain, sound).by) == ("FAIL", "utility")


@pytest.mark.parametrize(("drift", "outcome"), [(0.03, "PASS"), (0.01, "FAIL")])
def test_repeating_may_change_what_another_seed_changes(drift: float, outcome: str):
    again = Again(levels(0.1, 0.1, 0.05), {"retain": 0.02}, 0.1)
    assert line("O6", replace(THREE, again=again), noise=drift).outcome == outcome
    assert line("O6", replace(THREE, again=again)).value == pytest.approx(0.05)  # one control has no spread


def test_every_size_counts_and_so_does_the_utility():
    def size(share: float, left: float, kept: float) -> Course:
        return course(Levels(((left,),), (left,), kept), kind="size", share=share)

    assert line("O5", THREE, size(0.05, 0.1, 1.0), size(0.2, 0.2, 0.95)).outcome == "PASS"
    assert line("O5", THREE, size(0.05, 0.1, 1.0), size(0.2, 0.6, 0.95)).value == pytest.approx(0.6)
    assert line("O5", THREE, size(0.05, 0.1, 0.8)).outcome == "FAIL"


def test_the_worst_seed_decides_and_a_failed_chain_leaves_all_untested():
    bad = replace(course(levels(0.1, 1, 1), levels(0.6, 0.1, 1), levels(0.7, 0.1, 0.1)), seed=2)
    found = line("O1", THREE, bad)
    assert (found.outcome, found.tried) == ("FAIL", 2)
    assert "2 seeds: mean 0.300" in found.reason
    silent = [replace(course(levels(0.8, 1, 1), levels(0.8, 0.8, 1), levels(1, 0.8, 0.1)), seed=n) for n in (3, 4)]
    assert line("O1", THREE, *silent).outcome == "NOT TESTED"
    assert line("O1", *silent).outcome == "NOT TESTED"
    assert line("O1", THREE, *silent, bad).outcome == "FAIL"
    broken = replace(THREE, kind="order", steps=(), failure="it broke")
    assert {check.outcome for check in lines([THREE, broken], TARGET, [CONTROL], {}, 9)} == {"NOT TESTED"}


def test_lost_states_and_broken_chains_are_told():
    lost = replace(THREE, steps=(*THREE.steps[:2], replace(THREE.steps[2], restored=False, vouched=False)))
    assert (line("O7", lost).outcome, line("O7", lost).value) == ("FAIL", 1)
    assert line("O8", lost).outcome == "FAIL"
    assert line("O8", replace(THREE, intact="request 2: starts elsewhere")).reason == "request 2: starts elsewhere"


def test_cost_is_told_per_request_and_without_a_retraining_not_at_all():
    spent = [[Expense(1.0, 10, 5), Expense(3.0, 20, 5)]]
    found = cost_line(spent, Expense(10.0, 30, 9), 4)
    assert (found.outcome, found.value) == ("PASS", pytest.approx(0.1))
    assert cost_line(spent, Expense(0.5, 30, 9), 4).outcome == "FAIL"
    assert cost_line(spent, None, 4).outcome == "NOT TESTED"


def people(request: Request) -> Task:
    return Task("toy", "classifier", request, {}, (), "", "", lambda _: tiny.classifier().target, None)


def test_everything_of_one_entity_is_asked_for_at_once_and_later_requests_are_kept_until_their_turn():
    task = people(tiny.classifier().request)
    asked = parts(task, 3, "entity")
    assert [sorted({record["identity"] for record in one}) for one in asked] == [[0, 1], [2], [3]]
    assert [len(one) for one in parts(task, 20, "record")] == [2] * 20
    second = request_of(task, asked, (0,), (1,))
    held = {record["id"] for record in second.retain}
    assert [record["id"] for record in second.forget] == [record["id"] for record in asked[1]]
    assert {record["id"] for record in asked[2]} <= held
    assert not held & {record["id"] for record in (*asked[0], *asked[1])}


@pytest.mark.parametrize(("requests", "by"), [(5, "entity"), (41, "record"), (-1, "record")])
def test_too_many_requests_are_refused(requests: int, by: By):
    with pytest.raises(InputError, match=r"requests is .*; the forget set has"):
        parts(people(tiny.classifier().request), requests, by)


def test_a_share_of_all_takes_whole_entities_and_then_from_what_was_to_stay():
    task = people(tiny.classifier().request)
    assert len(sized(task, 0.05, "entity").forget) == 10
    large = sized(task, 0.5, "entity")
    assert len(large.forget) == 80
    assert not {r["id"] for r in large.forget} & {r["id"] for r in large.retain}
    with pytest.raises(InputError, match="sizes holds 1"):
        sized(task, 1.0, "entity")


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The options of the benchmark `records` for the classifier world."""
    folder, world = tmp_path_factory.mktemp("classifier"), tiny.classifier()
    world.target.save(folder / "target")
    for number, control in enumerate(world.controls, 1):
        control.save(folder / f"control-{number}")
    for name in ("forget", "retain", "holdout"):
        rows = [{**r, "features": np.asarray(r["features"]).tolist()} for r in getattr(world.request, name)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sets = {name: str(folder / f"{name}.jsonl") for name in ("forget", "retain", "holdout")}
    controls = tuple(str(folder / f"control-{n}") for n in range(1, len(world.controls) + 1))
    return {"model": str(folder / "target"), "control": controls, "family": "classifier", "allow_overlap": True, **sets}


def run(options: dict[str, object], out: Path, methods: Sequence[str] = METHODS) -> tuple[Served, Costs]:
    found, costs = run_sequence(
        out, benchmark="records", options=options, methods=methods, requests=4, orders=2, batches=(2,), sizes=(0.05,),
    )  # fmt: skip
    save(found, costs, out)
    return found, costs


@pytest.fixture(scope="module")
def finished(on_disk: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sequence")
    run(on_disk, out)
    return out


def test_retraining_brings_nothing_back_whatever_the_order_and_repeating_it_changes_nothing(finished: Path):
    found, costs = read(finished)
    retrained = {check.id: check for check in found.checks[METHODS[1]]}
    print({name: (check.value, check.reason) for name, check in retrained.items()})
    assert {check.outcome for check in retrained.values()} == {"PASS"}
    assert [retrained[name].value for name in ("O1", "O2", "O3", "O6")] == pytest.approx([0] * 4, abs=0.05)
    (chain,) = found.of(METHODS[1], "sequence")
    shares = matrix(chain, Frame.of(found.target, found.controls))
    assert np.tril(shares).max() < 0.5 < shares[np.triu_indices(4, 1)].min()  # not asked yet, and so still known
    assert costs.retraining is None
    assert costs.checks[METHODS[1]][0].outcome == "NOT TESTED"  # records of one's own come without a recipe


def test_every_state_starts_where_the_one_before_ended_and_names_what_it_forgot(finished: Path):
    found, costs = read(finished)
    for chain in found.courses:
        assert not chain.failure
        assert len(costs.steps[name_of(chain)]) == len(chain.steps)
        assert [step.before for step in chain.steps[1:]] == [step.after for step in chain.steps[:-1]]
        assert {one.before for one in found.of(chain.label, "sequence")[0].steps[:1]} == {chain.steps[0].before}
    states = sorted((finished / "models").glob("*/step*/lethe.json"))
    assert len(states) == 8  # of the sequences alone; other chains keep nothing
    manifest = json.loads(states[1].read_text(encoding="utf-8"))
    assert [name.split("-")[0] for name in manifest["forget_ids"]] == ["1"] * 10
    rows = [r for r in tiny.classifier().request.forget if r["identity"] == 1]
    assert manifest["forget_ids"] == [record["id"] for record in rows]
    assert len(manifest["request"]["forget_sha256"]) == len(digest(rows))


def test_a_killed_run_goes_on_where_it_was_and_ends_in_the_same_bytes(on_disk: dict[str, object], tmp_path: Path):
    run(on_disk, tmp_path / "whole", METHODS[:1])
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    again = tmp_path / "killed"
    (folder,) = (again / "models").iterdir()
    for name in ("step3", "step4", "again"):
        shutil.rmtree(folder / name)
    for path in (again / "chains").iterdir():
        if "1+2+3+4" in path.name:
            path.unlink()
    stands = (folder / "step2" / "lethe.json").stat().st_mtime_ns
    run(on_disk, again, METHODS[:1])
    assert (folder / "step2" / "lethe.json").stat().st_mtime_ns == stands
    assert (again / "results.json").read_bytes() == (tmp_path / "whole" / "results.json").read_bytes()


def test_a_state_that_was_changed_on_disk_is_not_restored(on_disk: dict[str, object], tmp_path: Path, finished: Path):
    shutil.copytree(finished, tmp_path / "run")
    one, other = ((tmp_path / "run" / "models").glob(f"grad_diff*/step{n}/*.safetensors") for n in (2, 3))
    shutil.copy(next(one), next(other))
    for path in (tmp_path / "run" / "chains").glob("grad_diff*1+2+3+4.json"):
        path.unlink()
    found, _ = run(on_disk, tmp_path / "run")
    checks = {check.id: check for check in found.checks[METHODS[0]]}
    assert (checks["O7"].outcome, checks["O7"].value) == ("FAIL", 1)


def test_a_method_that_fails_leaves_its_lines_untested_and_hides_no_other(on_disk: dict[str, object], tmp_path: Path):
    found, costs = run(on_disk, tmp_path, ["grad_diff:lr=1e30,epochs=2", METHODS[0]])
    assert {check.outcome for check in found.checks["grad_diff:lr=1e30,epochs=2"]} == {"NOT TESTED"}
    assert any(check.outcome != "NOT TESTED" for check in found.checks[METHODS[0]])
    page = write_sequence(found, costs, tmp_path)
    assert "lower lr (now 1e+30)" in page.read_text(encoding="utf-8")


def test_the_page_tells_every_line(finished: Path):
    found, costs = read(finished)
    page = write_sequence(found, costs, finished)
    text, short = (page.with_suffix(end).read_text(encoding="utf-8") for end in (".html", ".md"))
    ids = [f"O{n}" for n in range(1, 9)]
    for name in ids:
        assert f"<strong>{name} " in text
        assert f"| {name} |" in short
    assert text.count('class="heat"') == 2
    assert headline(found) in short
    written = page.read_bytes()
    assert write_sequence(found, costs, finished).read_bytes() == written


def test_an_audit_takes_the_lines_of_the_run_that_ended_with_its_model(
    lethe: Command, on_disk: dict[str, object], finished: Path, tmp_path: Path
):
    (last,) = (finished / "models").glob("grad_diff*/step4")
    words = ["--original", str(on_disk["model"]), "--allow-overlap", "--attack", "quantize:bits=8", "--out",
             str(tmp_path), "--sequence", str(finished)]  # fmt: skip
    words += [word for name in ("forget", "retain") for word in (f"--{name}", str(on_disk[name]))]
    code, _, err = lethe("audit", "--model", str(last), *words)
    assert code == 0, err
    (row,) = (one for one in json.loads((tmp_path / "results.json").read_text())["benchmarks"][0]["rows"]
              if one["role"] == "method")  # fmt: skip
    found = {check["id"]: check["outcome"] for check in row["verdict"]["checks"]}
    run = {check.id: check.outcome for check in read(finished)[0].checks[METHODS[0]]}
    assert {name: found[name] for name in run} == run
    code, _, err = lethe("audit", "--model", str(last.with_name("step3")), *words)
    assert code == 2
    assert "no sequence ends with the audited model" in err


@pytest.mark.parametrize("file", ["results.json", "cost.json"])
def test_a_damaged_run_is_refused(finished: Path, tmp_path: Path, file: str):
    for name in ("results.json", "cost.json"):
        shutil.copy(finished / name, tmp_path)
    (tmp_path / file).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path)


def test_the_command(lethe: Command, on_disk: dict[str, object], tmp_path: Path):
    sets = [word for key, value in on_disk.items() if key not in ("model", "control")
            for word in ("--set", f"{key}={value}")]  # fmt: skip
    sets += ["--model", str(on_disk["model"]), "--set", "benchmark=records", "--set", "requests=2"]
    sets += ["--set", "orders=1", "--workers", "1"]
    code, out, err = lethe(
        "bench", "sequence", "--out", str(tmp_path), "--methods", METHODS[0], "--workers", "1", *sets
    )
    assert (code, err.count("failed")) == (0, 0)
    assert "sequence.html" in out
    found, _ = read(tmp_path)
    assert (len(found.asked), found.labels, len(found.controls)) == (2, [METHODS[0]], 0)
    (checked,) = found.checks.values()
    assert {check.id for check in checked if check.outcome == "NOT TESTED"} >= {"O2", "O5"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "benchmark=digits"], "Name the methods"),
        (["--set", "benchmark=digits", "--methods", "npo", "--set", "requests=999"], "forget set has"),
        (["--set", "benchmark=digits", "--methods", "npo", "--set", "requets=2"], "no option 'requets'"),
        (["--set", "benchmark=digits", "--methods", "npo", "--set", "by=person"], "by"),
        (["--set", "benchmark=digits", "--methods", "npo", "--set", "requests=2", "--set", "orders=3"], "have 2"),
        (["--set", "benchmark=digits", "--methods", "npo", "--set", "batches=9"], "batches holds 9"),
        (["--models", "3"], "takes no --models"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_compute(lethe: Command, tmp_path: Path, words: list[str], said: str):
    code, _, err = lethe("bench", "sequence", "--out", str(tmp_path), *words)
    assert code == 2
    assert said in err


def test_a_benchmark_with_requests_of_its_own_keeps_them():
    request = tiny.classifier().request
    first = replace(request, forget=request.forget[:10])
    task = replace(people(replace(request, forget=request.forget[10:])), earlier=(first,))
    assert [len(one) for one in parts(task, 0, "entity")] == [10, 30]
    with pytest.raises(InputError, match="2 requests of its own"):
        parts(task, 4, "entity")


def test_a_plan_of_the_study_attacks_nothing(on_disk: dict[str, object], tmp_path: Path):
    plan = make_plan("records", on_disk, tmp_path, 2, attacks=False)
    assert plan.attack_calls() == ()
