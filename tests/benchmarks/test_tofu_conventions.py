"""TOFU's two conventions: what each code base reads and generates, and that their numbers do not meet in one table."""

import json
from pathlib import Path

import pytest
from tests.models import tiny

from lethe.benchmarks.tofu import tofu
from lethe.errors import InputError
from lethe.worlds import authors

PROMPTS = ["a b c d e f", "a", "b c a"]


def test_a_total_bounds_prompt_and_continuation_together():
    model = tiny.language()
    long = model.generate(PROMPTS, 20)
    for total in (1, 4, 8, 30):
        said = model.generate(PROMPTS, 20, total=total)
        for prompt, text, whole in zip(PROMPTS, said, long, strict=True):
            room = max(0, total - len(model.tokenizer(prompt)["input_ids"]))
            alone = model.generate([prompt], room)[0] if room else ""
            assert text == (whole if room >= 20 else alone)


def folder_of_official_files(place: Path) -> Path:
    """The configs of forget05 in the official layout, one file each, with more rows than TOFU itself reads."""
    records = authors.records("retain95_perturbed")
    many = [{**record, "question": f"{number}: {record['question']}"} for number in range(2) for record in records]
    forget = authors.records("forget05_perturbed")
    sets = {
        "forget05_perturbed": forget, "retain95": records, "retain_perturbed": many[:400],
        "holdout05": authors.records("holdout05"), "real_authors_perturbed": authors.records("real_authors"),
        "world_facts_perturbed": authors.records("world_facts"),
    }  # fmt: skip
    for name, rows in sets.items():
        lines = [json.dumps({k: v for k, v in row.items() if k not in ("id", "entity")}) for row in rows]
        (place / f"{name}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def test_each_convention_reads_its_rows_and_generates_its_tokens(tmp_path: Path):
    source = str(folder_of_official_files(tmp_path))
    own = tofu(source=source, split="forget05", model="nowhere", control=("nowhere",))
    successor = tofu(
        source=source, split="forget05", convention="open-unlearning", model="nowhere", control=("nowhere",)
    )
    assert (len(own.probes["retain"]), len(successor.probes["retain"])) == (300, 400)
    assert (own.spec.total, own.spec.max_new_tokens) == (200, 200)
    assert (successor.spec.total, successor.spec.max_new_tokens) == (0, 200)
    assert own.utility == "model_utility"
    assert successor.utility == "model_utility:variant=ou"
    assert own.note != successor.note
    assert len(tofu(source=source, split="forget05", rows=7, model="x").probes["retain"]) == 7


def test_a_convention_or_a_count_that_is_none_is_refused():
    with pytest.raises(InputError, match="did you mean 'open-unlearning'"):
        tofu(convention="open-unlearnin")
    with pytest.raises(InputError, match="rows is 0; it must be at least 1"):
        tofu(rows=0)


def test_all_splits_of_the_tiny_world_are_there():
    sizes = {split: len(tofu(split=split).probes["forget"]) for split in ("forget01", "forget05", "forget10")}
    assert sizes == {"forget01": 5, "forget05": 15, "forget10": 30}
    for split, name in (("forget01", "holdout01"), ("forget10", "holdout10")):
        assert tofu(split=split).request.holdout == tuple(authors.records(name))
