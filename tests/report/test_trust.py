"""The trust figure stands beside every metric and attack, and the pass counter in every form of the report."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lethe.report import terminal_table
from lethe.report.html import html
from lethe.report.markdown import markdown
from lethe.report.tables import columns, groups
from lethe.report.trust import NONE, legend, trust
from lethe.report.view import looked, view
from lethe.runs.results import Results

from .example import example

PASSES = {"asked": 1240, "texts": 980, "prompts": 250}


@pytest.fixture
def counted() -> Results:
    results = example()
    return replace(results, benchmarks=(replace(results.benchmarks[0], passes=PASSES), *results.benchmarks[1:]))


def test_every_column_has_a_figure_or_says_that_it_has_none():
    language, classifier, _ = example().benchmarks
    shown = {column.name: column.trust for column in columns(language, groups(language))}
    known = {name for name, told in shown.items() if told != NONE}
    assert {"distance.kl@forget", "probability.answer@forget"} <= known
    assert known == {name for name in shown if trust("language", name)}
    assert shown["model_utility.geometric@utility"] == NONE
    assert {column.trust for column in columns(classifier, groups(classifier))} == {NONE}


def test_reports_print_it_with_what_it_means(counted: Results):
    shown = view(counted, {})
    told = columns(counted.benchmarks[0], groups(counted.benchmarks[0]))[0].trust
    stream = io.StringIO()
    Console(file=stream, width=200).print(terminal_table(counted.benchmarks[0]))
    for text in (markdown(shown), html(shown), " ".join(stream.getvalue().split())):  # a table wraps its caption
        assert told in text
        assert NONE in text
        assert " ".join(legend().split()[:6]) in text
    for text in (markdown(shown), html(shown)):
        figure = trust("language", "relearn")
        assert figure
        assert f"AUC {figure.auc:.2f}" in text.partition("Attacks")[2]


def test_the_pass_counter_is_printed(counted: Results):
    told = "1,240 texts asked for, 980 distinct ones in as many forward passes and 250 generations"
    assert told in looked(PASSES)
    assert "7 backward passes" in looked({**PASSES, "gradients": 7})
    assert looked({}) == ""
    shown = view(counted, {})
    stream = io.StringIO()
    Console(file=stream, width=300).print(terminal_table(counted.benchmarks[0]))
    for text in (markdown(shown), html(shown), " ".join(stream.getvalue().split())):  # a table wraps its caption
        assert told in text
