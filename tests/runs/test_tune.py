"""The search of a method's options: its rule, its split, its ranges, and that a killed one goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from lethe.api import tune
from lethe.auditing.lines import LEFT
from lethe.errors import InputError
from lethe.registry import Option, bind, find
from lethe.runs.config import read_config
from lethe.runs.space import parse_range, space_of
from lethe.runs.tune import BAND, UTILITY, Trial, Tuned, validation_plan

Command = Callable[..., tuple[int, str, str]]

# A class of the digits: a search of some seconds. Its rates reach from nothing forgotten to a broken model.
DIGITS: dict[str, Any] = {
    "benchmark": "digits", "split": "class", "trials": 6, "controls": 1, "workers": 1,
    "space": {"lr": "1e-5:1e-1:log"}, "options": {"steps": 10, "epochs": 1, "retain_weight": 5.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    folder = tmp_path_factory.mktemp("tune")
    return tune("grad_diff", out=folder, **DIGITS), folder


def test_the_rule_chooses_among_what_keeps_the_rest(whole: tuple[Tuned, Path]):
    tuned, _ = whole
    assert [trial.number for trial in tuned.trials] == list(range(6))
    for trial in tuned.trials:
        assert trial.forget is not None
        assert trial.retain is not None
        assert trial.utility is not None
        assert trial.left is not None
        kept = trial.utility >= UTILITY * tuned.target["utility"] and trial.retain <= tuned.target["retain"] + BAND
        assert trial.admitted == (kept and trial.left <= LEFT)
    admitted = {trial.number: trial.forget for trial in tuned.trials if trial.admitted}
    assert 0 < len(admitted) < 6  # the space holds both
    assert tuned.best == min(admitted, key=lambda number: (admitted[number], number))
    assert tuned.target["left"] == 1
    assert "at least 0.9 of its utility" in tuned.rule


def test_nothing_is_searched_on_people_that_tables_report(tmp_path: Path):
    """Splits are nested: those of the reported world share their records, those of another world do not."""
    with pytest.raises(InputError, match=r"All forget records of forget05 also stand in forget10.*--seed than 0"):
        tune("ga", out=tmp_path, split="forget05", seed=0)
    plan = validation_plan("tofu", "forget05", tmp_path, source="tiny", seed=1, controls=1, options={})
    assert plan.task().request.forget


def test_the_first_trial_is_the_benchmarks_preset(whole: tuple[Tuned, Path]):
    preset = find("benchmark", "digits").function(split="class").presets["grad_diff"]
    assert whole[0].trials[0].options["lr"] == preset["lr"]


def test_what_is_chosen_is_a_config_of_unlearn(whole: tuple[Tuned, Path]):
    tuned, folder = whole
    config = read_config(folder / "best.yaml", ["method", "set"])
    assert tuned.chosen is not None
    assert config == {"method": "grad_diff", "set": tuned.chosen.options}
    assert bind(find("method", "grad_diff").function, config["set"]) == tuned.chosen.options
    assert tuned.preset == f'"grad_diff": {json.dumps(tuned.chosen.options)},'
    assert tuned.preset in (folder / "best.yaml").read_text(encoding="utf-8")
    assert json.loads((folder / "tune.json").read_text(encoding="utf-8"))["best"] == tuned.best


def test_a_killed_search_goes_on_with_the_same_trials(whole: tuple[Tuned, Path], tmp_path: Path):
    def stop(trial: Trial) -> None:
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune("grad_diff", out=tmp_path, watch=stop, **DIGITS)
    assert not (tmp_path / "best.yaml").exists()
    seen: list[int] = []
    again = tune("grad_diff", out=tmp_path, watch=lambda trial: seen.append(trial.number), **DIGITS)
    assert seen == [3, 4, 5]
    assert again == whole[0]
    for name in ("best.yaml", "tune.json"):
        assert (tmp_path / name).read_bytes() == (whole[1] / name).read_bytes()


def test_a_trial_that_was_under_way_is_made_again_and_a_torn_one_is_not_counted(tmp_path: Path):
    given = {**DIGITS, "trials": 1}
    tune("grad_diff", out=tmp_path, **given)
    study = optuna.load_study(study_name="lethe", storage=f"sqlite:///{tmp_path / 'search.db'}")
    study.ask()  # killed before its options were drawn
    study.enqueue_trial({"lr": 0.02})
    study.ask({"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)})  # killed while it ran
    trials = tune("grad_diff", out=tmp_path, **{**given, "trials": 3}).trials
    assert [(trial.number, trial.options["lr"]) for trial in trials][:2] == [(0, 1e-3), (2, 0.02)]
    assert len(trials) == 3


def test_options_that_end_in_an_error_are_told_and_no_others(lethe: Command, tmp_path: Path):
    code, out, err = lethe(
        "tune", "ga", "--benchmark", "digits", "--split", "class", "--trials", "2", "--controls", "1", "--workers", "1",
        "--set", "steps=2", "--set", "epochs=1", "--space", "lr=1e29:1e30:log", "--out", str(tmp_path),
    )  # fmt: skip
    assert code == 3
    assert "became nan" in err or "became inf" in err
    assert "No trial is admitted" in err
    assert "0 (no)" in out
    assert not (tmp_path / "best.yaml").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "random"}, "random is the split of digits that tables report"),
        ({"benchmark": "tofu", "split": "forget10"}, "forget10 is the split of tofu that tables report"),
        ({"benchmark": "records"}, "records has no splits"),
        ({"benchmark": "tofo", "split": "forget05"}, "did you mean 'tofu'"),
        ({"controls": 0}, "compares with a control"),
        ({"trials": 0}, "trials is 0"),
        ({"space": {"lrr": "1:2"}}, "no such option, did you mean 'lr'?"),
        ({"space": {"retain_weight": "1:2"}}, "the option is fixed by --set"),
        ({"options": {"lr": "much"}, "space": {}}, "must be float"),
        ({"options": {"preset": "papr"}}, "grad_diff has no preset 'papr'"),
    ],
)
def test_mistakes_cost_no_compute(tmp_path: Path, change: dict[str, Any], said: str):
    with pytest.raises(InputError) as error:
        tune("grad_diff", out=tmp_path, **{**DIGITS, **change})
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_another_search_in_the_folder_is_refused(whole: tuple[Tuned, Path]):
    with pytest.raises(InputError, match="holds another search"):
        tune("grad_diff", out=whole[1], **{**DIGITS, "space": {"lr": "1e-4:1e-1:log"}})


NUMBER, WHOLE, WORD = (Option(name, kind, None, "") for name, kind in (("lr", float), ("epochs", int), ("where", str)))


@pytest.mark.parametrize(
    ("text", "option", "said"),
    [
        ("1", NUMBER, "write LOW:HIGH"), ("1:2:lin", NUMBER, "write LOW:HIGH"), ("2:1", NUMBER, "the smaller first"),
        ("0:1:log", NUMBER, "above 0"), ("1:x", NUMBER, "must be float"), ("1:2.5", WHOLE, "must be int"),
        ("nan:1", NUMBER, "the smaller first"), ("a:b", WORD, "two numbers"),
    ],
)  # fmt: skip
def test_ranges_that_are_none(text: str, option: Option, said: str):
    with pytest.raises(InputError, match=said):
        parse_range(text, option)


def test_ranges_and_choices():
    assert parse_range("1e-5:1e-2:log", NUMBER).text == "1e-05:0.01:log"
    drawn = parse_range("1e-5:1e-2:log", NUMBER)
    assert drawn.rounded(0.0012345) == 0.0012
    assert drawn.rounded(1.0001e-5) == 1e-5
    assert parse_range("1:8", WHOLE).nearest(20) == 8
    assert parse_range("all|lora:rank=8", WORD).choices == ("all", "lora:rank=8")


def test_what_is_searched_by_itself():
    space = space_of(find("method", "npo"), {}, {})
    assert {name: one.text for name, one in space.items()} == {
        "beta": "0.01:1:log", "retain_weight": "0.1:10:log", "lr": "1e-05:0.01:log", "epochs": "1:20:log",
    }  # fmt: skip
    assert "retain_weight" not in space_of(find("method", "npo"), {"retain": "none"}, {})
    assert set(space_of(find("method", "npo"), {"beta": 0.1, "lr": 1.0}, {"epochs": "1:2"})) == {
        "retain_weight",
        "epochs",
    }
