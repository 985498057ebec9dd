"""RWKU and ORT on the tiny world and on the official layout: what separates, what is pooled, what is refused."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.benchmarks.ort import OFFICIAL
from lethe.benchmarks.rwku import KINDS
from lethe.data import probes
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.headlines import ort_form_gap, rwku_levels
from lethe.measure import compute
from lethe.registry import find
from lethe.score import Score
from lethe.scoring.forms import form_gap
from lethe.scoring.rouge import rouge_l_rwku
from lethe.task import Task
from lethe.worlds.cache import cache_folder


def task(name: str, **options: Any) -> Task:
    return find("benchmark", name).function(**options)


@cache
def seen(name: str) -> tuple[Evidence, Evidence]:
    """Target and control, looked at once for all tests of the session."""
    made = task(name)
    assert made.control is not None
    folder = cache_folder() / "evidence"
    target, control = (
        observe(model, made.probes, made.spec, cache=folder) for model in (made.target(0), made.control(1))
    )
    return target, control


def both(name: str, call: str) -> tuple[Score, Score]:
    target, control = seen(name)
    return compute(call, target, [control], target), compute(call, control, [], target)


@pytest.mark.parametrize("options", ["", ",level=1", ",level=2", ",level=3", ",variant=mean"])
def test_recall_separates_target_and_control_in_every_level(options: str):
    known, unknown = both("rwku", f"probe_recall:set=forget_probes{options}")
    assert known.low > unknown.high
    assert known.n == unknown.n == 10  # targets


@pytest.mark.parametrize("kind", KINDS)
def test_recall_separates_in_every_kind_of_level_3(kind: str):
    known, unknown = both("rwku", f"probe_recall:set=forget_probes,level=3,kind={kind}")
    assert known.low >= unknown.high
    assert known.variant == f"level3.{kind}"


def test_neighbours_and_facts_are_known_to_both():
    for call in ("probe_recall:set=neighbor_probes", "short_answer:set=utility_factuality"):
        kept, also = both("rwku", call)
        assert min(kept.value, also.value) > 0.6, call
        assert kept.low <= also.high, call


def test_membership_scores_shift_only_for_texts_about_the_forgotten():
    for variant in ("loss", "min_k", "min_k_pp", "zlib"):
        own, shift = both("rwku", f"mia_shift:set=mia_forget,against=mia_retain,variant={variant}")
        assert own.value == own.low == own.high == 0
        assert 0 < shift.low < shift.value < shift.high
    target, control = seen("rwku")
    means = [compute("mia_mean:set=mia_forget", one).value for one in (target, control)]
    assert 0 < means[0] < means[1]  # nats per token, high = strange; the paper prints them x100


def test_probes_are_pooled_per_target_and_then_averaged():
    target, _ = seen("rwku")
    records, said = target.records["forget_probes"], target.generated("forget_probes")
    recalls = rouge_l_rwku([probes.cut(text) for text in said], [record["answer"] for record in records])
    pooled, plain = [], []
    for name in dict.fromkeys(record["subject"] for record in records):
        rows = [(one["level"], r) for one, r in zip(records, recalls, strict=True) if one["subject"] == name]
        own = {level: [r for other, r in rows if other == level] for level in "123"}
        pooled.append(np.mean([value for values in own.values() for value in values]))
        plain.append(np.mean([np.mean(values) for values in own.values()]))
    found = {
        variant: both("rwku", f"probe_recall:set=forget_probes,variant={variant}")[0] for variant in ("all", "mean")
    }
    assert found["all"].value == pytest.approx(np.mean(pooled))
    assert found["mean"].value == pytest.approx(np.mean(plain))
    assert found["all"].name == "probe_recall.all@forget_probes"


def test_forms_separate_and_a_target_has_no_gap_to_itself():
    for form in OFFICIAL:
        known, unknown = both("ort", f"form_probability:set=forget_forms,form={form}")
        assert known.value > unknown.value, form
    for form in ("cloze", "question"):
        known, unknown = both("ort", f"form_probability:set=forget_forms,form={form}")
        assert known.low > unknown.high
    own, gap = both("ort", "form_gap:set=forget_forms")
    assert own.value == own.low == own.high == 0
    assert gap.low <= gap.value <= gap.high
    target, control = seen("ort")
    scores = [
        {form: compute(f"form_probability:set=forget_forms,form={form}", one).value for form in OFFICIAL}
        for one in (target, control)
    ]
    assert gap.value == pytest.approx(form_gap(*scores).gap)
    assert both("ort", "form_gap:set=forget_forms,variant=worst_drop")[1].value == pytest.approx(
        form_gap(*scores).worst_drop
    )


def test_headlines_read_levels_kinds_and_forms():
    """What they make of evidence, without the methods that they compare."""
    target, control = seen("rwku")
    known, unknown = rwku_levels.recalls(target), rwku_levels.recalls(control)
    assert set(known) == {"cloze", "question", "adversarial", *KINDS, "all", "neighbours"}
    assert known["cloze"] > 0.9 > 0.3 > unknown["cloze"]
    assert known["adversarial"] == pytest.approx(np.mean([known[kind] for kind in KINDS]))  # equally many of each
    found = ort_form_gap.figures(*seen("ort"))
    drops = [found[f"drop in {form}"] for form in OFFICIAL]
    assert found["form gap"] == pytest.approx(max(drops) - min(drops))
    assert found["mean drop"] == pytest.approx(np.mean(drops))
    assert min(drops) == found["smallest drop"] > 0


def test_in_context_unlearning_changes_every_prompt_and_no_weight():
    plain, told = task("rwku", split="single"), task("rwku", split="single", instruction=True)
    assert plain.target(0).fingerprint() == told.target(0).fingerprint()
    asked = [record for name, records in told.probes.items() if name.endswith("probes") or name.startswith("utility")
             for record in records]  # fmt: skip
    assert all(record["question"].startswith("You are an AI Assistant who is supposed to unlearn") for record in asked)
    assert [r["question"] for r in plain.probes["forget_probes"]] != [
        r["question"] for r in told.probes["forget_probes"]
    ]


def test_a_synthetic_corpus_is_about_the_targets_and_the_same_again():
    made = task("rwku", split="single", corpus="synthetic", texts=3)
    again = task("rwku", split="single", corpus="synthetic", texts=3)
    assert made.request.fingerprint() == again.request.fingerprint()
    (name,) = {record["subject"] for record in made.request.forget}
    assert len(made.request.forget) == 3
    assert sum(name in record["text"] for record in made.request.forget) >= 2
    with pytest.raises(InputError, match="corpus=llama3 is about the tiny world"):
        task("rwku", corpus="llama3")


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The released codes' layout, without membership texts and introductions, from the tiny world's rows."""
    from lethe.worlds import fame

    configs = ("forget_level1", "forget_level2", "forget_level3", "forget_mcp", "neighbor_level1", "neighbor_level2",
               "neighbor_mcp", "train_original_passage")  # fmt: skip
    names = [row["target"] for row in fame.records("forget_target")][:3]
    for number, name in enumerate(names, 1):
        folder = tmp_path / f"{number}_{name.replace(' ', '_')}"
        folder.mkdir()
        for config in configs:
            rows = [row for row in fame.records(config) if row["subject"] == name]
            (folder / f"{probes.FILES.get(config, config)}.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["rwku", "ort"])
def test_the_released_layout_gives_the_same_prompts(name: str, released: Path):
    with pytest.raises(InputError, match=rf"{name} with source .* needs the target's folder: give model"):
        task(name, source=str(released), split="single")
    made = task(name, source=str(released), split="single", model="anywhere")
    tiny = task(name, split="single")
    for place in made.probes.keys() & tiny.probes.keys() - {"retain"}:
        ours, theirs = ([(r.get("question"), r.get("answer")) for r in one.probes[place]] for one in (tiny, made))
        assert ours == theirs, place
    assert len(made.probes["retain"]) == 2
    assert not [call for call in made.metrics if "mia" in call or "utility" in call]
    assert made.control is None
    assert made.presets == {}


def test_what_is_not_there_is_refused(released: Path):
    for name in ("rwku", "ort"):
        with pytest.raises(InputError, match=r"12 targets from .* on are fewer than 20; choose a smaller split"):
            task(name, split="batch20")
        with pytest.raises(InputError, match="there is no target 'Nobody'"):
            task(name, target="Nobody")
    (folder,) = released.glob("2_*")
    second = folder.name.removeprefix("2_").replace("_", " ")
    (folder / "forget_mcp.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(InputError, match="forget_mcp"):
        task("ort", source=str(released), split="single", target=second, model="anywhere")
