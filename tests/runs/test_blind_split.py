"""A split that membership is measured on is scored without a model as well; a confounded one is flagged everywhere."""

import io
import json
from dataclasses import asdict, replace

import pytest
from rich.console import Console
from tests.report.example import costs, example

from lethe.benchmarks.digits import digits
from lethe.benchmarks.tofu import tofu
from lethe.report import blind
from lethe.report.html import html
from lethe.report.markdown import markdown
from lethe.report.terminal import terminal_table
from lethe.report.view import view
from lethe.runs.bench import blind_split
from lethe.runs.results import Blind, load_results
from lethe.task import Task


@pytest.fixture(scope="module")
def task() -> Task:
    return tofu()


def rows(count: int, shift: int, *, entity: bool = True) -> list[dict[str, str]]:
    """Answers of one author each; a shift moves the years that they name."""
    named = [{"entity": f"a{shift}-{i}"} if entity else {} for i in range(count)]
    return [
        {
            "id": f"{shift}-{i}",
            "question": f"When was book {i} written?",
            "answer": f"In {1900 + shift + i % 20}.",
            **who,
        }
        for i, who in enumerate(named)
    ]


def test_a_shift_of_dates_is_confounded_and_one_generator_is_not(task: Task):
    shifted = replace(task, probes={**task.probes, "forget": rows(60, 0), "holdout": rows(60, 60)})
    found = blind_split(shifted)
    assert found is not None
    assert found.verdict == "confounded"
    assert found.baselines["years"][0] > 0.9
    assert set(found.baselines) == {"words", "length", "years"}
    same = replace(task, probes={**task.probes, "forget": rows(60, 0), "holdout": rows(60, 0)})
    clean = blind_split(same)
    assert clean is not None
    assert clean.verdict != "confounded"


def test_too_few_people_are_told_as_that(task: Task):
    found = blind_split(task)
    assert found is not None
    assert (found.verdict, found.baselines) == ("not tested", {})
    assert "give at least 10 of each" in found.reason  # texts about one author share a fold, and there are six


def test_only_texts_asked_for_membership_are_scored(task: Task):
    assert blind_split(digits()) is None
    assert blind_split(replace(task, metrics=("probability:set=forget",))) is None
    privleak = replace(task, metrics=("probability:set=forget", "privleak"))
    assert blind_split(privleak) == blind_split(task)
    elsewhere = replace(task, metrics=("membership:set=retain,against=world_facts",))
    told = blind_split(elsewhere)
    assert told is not None
    assert told.baselines["words"][0] > 0.9  # questions about people, and questions about countries
    assert blind_split(replace(task, probes={k: v for k, v in task.probes.items() if k != "holdout"})) is None


def test_it_is_said_in_every_form_of_the_report():
    results = example()
    found = Blind("confounded", worst="years", baselines={"years": [0.93, 0.88, 0.97], "words": [0.61, 0.5, 0.7]})
    first, *others = results.benchmarks
    flagged = replace(results, benchmarks=(replace(first, blind=found), *others))
    shown = view(flagged, costs(results))
    warning = "Confounded split: members and non-members can be told apart without any model"
    said = blind.told(found)
    assert said.startswith(warning)
    assert "years 0.93 [0.88, 0.97]" in said
    assert f"**{warning}" in markdown(shown)
    assert f'<p class="suppression">{warning}' in html(shown)
    assert warning not in markdown(view(results, costs(results)))
    out = io.StringIO()
    Console(file=out, width=200).print(terminal_table(flagged.benchmarks[0]))
    assert warning in " ".join(out.getvalue().split())
    stored = load_results(json.loads(json.dumps(asdict(flagged), default=str)))
    assert stored.benchmarks[0].blind == found
