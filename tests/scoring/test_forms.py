"""ORT's form probability, and the gap between forms that a claim of form independence needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import forms
from lethe.scoring.aggregate import relative_difference


def test_form_probability_is_a_geometric_mean():
    assert forms.form_probability([np.log([0.9, 0.1])]) == approx(0.3)  # not .5, not .09


def test_items_are_averaged_before_targets():
    assert forms.form_score([[0.2, 0.4], [0.9]]) == approx(0.6)
    assert forms.form_score([[0.2, 0.4], [0.9]]) != approx(np.mean([0.2, 0.4, 0.9]))


BEFORE = {"cloze": 0.8, "question": 0.5, "choice": 0.4}


def test_gap_of_a_method_that_forgets_one_form_only():
    found = forms.form_gap(BEFORE, {"cloze": 0.08, "question": 0.4, "choice": 0.4})
    assert found.drops == approx({"cloze": 0.9, "question": 0.2, "choice": 0.0})
    assert (found.gap, found.worst, found.worst_drop) == (approx(0.9), "choice", 0)
    assert -100 * found.drops["cloze"] == approx(relative_difference(0.08, 0.8))


def test_an_even_method_and_an_idle_one_have_no_gap_but_another_worst_drop():
    even = forms.form_gap(BEFORE, {form: score / 10 for form, score in BEFORE.items()})
    idle = forms.form_gap(BEFORE, BEFORE)
    assert even.gap == approx(0)
    assert idle.gap == 0
    assert (even.worst_drop, idle.worst_drop) == (approx(0.9), 0)


def test_a_form_that_got_easier_counts_as_a_negative_drop():
    found = forms.form_gap(BEFORE, {"cloze": 0.4, "question": 0.6, "choice": 0.4})
    assert (found.worst, found.worst_drop, found.gap) == ("question", approx(-0.2), approx(0.7))


@given(st.lists(st.tuples(st.floats(0.1, 1), st.floats(0, 1)), min_size=2, max_size=6), st.floats(0.1, 10))
def test_the_gap_ignores_the_unit(pairs: list[tuple[float, float]], unit: float):
    before, after = ({str(i): pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    scaled = [{form: score * unit for form, score in side.items()} for side in (before, after)]
    assert forms.form_gap(*scaled).gap == approx(forms.form_gap(before, after).gap)
    assert forms.form_gap(before, after).gap >= 0


def test_interval_of_the_gap_resamples_targets():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.5, 0.9, (60, 3))
    after = before * np.array([0.1, 0.5, 0.9]) * rng.uniform(0.8, 1.2, (60, 3))
    low, high = forms.form_gap_interval(before, after, seed=0)
    whole = dict(enumerate(before.mean(axis=0))), dict(enumerate(after.mean(axis=0)))
    gap = forms.form_gap(*({str(k): float(v) for k, v in side.items()} for side in whole)).gap
    assert low < gap < high
    assert high - low < 0.15
    assert forms.form_gap_interval(before, before * 0.5, seed=0) == approx((0, 0), abs=1e-12)


def test_a_field_that_is_a_loss_in_one_file_and_a_probability_in_the_other():
    assert forms.stored_probability([np.log(2.0)], "nll") == approx(0.5)
    assert forms.stored_probability([0.5], "probability") == 0.5
    with pytest.raises(InputError, match="is no probability; say what is stored"):
        forms.stored_probability([0.3, 2.3], "probability")
    with pytest.raises(InputError, match="is no nll"):
        forms.stored_probability([-0.3], "nll")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (BEFORE, {"cloze": 0.1}, "score two or more forms in both"),
        ({"cloze": 0.1}, {"cloze": 0.1}, "score two or more forms in both"),
        (BEFORE | {"choice": 0.0}, BEFORE, "scores 0 in form 'choice'"),
    ],
)
def test_forms_that_cannot_be_compared_are_refused(before: dict[str, float], after: dict[str, float], said: str):
    with pytest.raises(InputError, match=said):
        forms.form_gap(before, after)


def test_no_target_is_refused():
    with pytest.raises(InputError, match="no targets"):
        forms.form_score([])
