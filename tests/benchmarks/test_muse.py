"""MUSE: the official files, the published prompts and cuts, folds that follow one another, and what is refused."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import approx

from lethe.benchmarks.muse import PRESETS, criteria, muse
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.headlines import muse_scaling, muse_sequence
from lethe.measure import compute
from lethe.models.language import LanguageModel
from lethe.registry import find
from lethe.runs.bench import make_plan
from lethe.runs.cells import Cell, Plan, method_row
from lethe.scoring.muse import check_sequence
from lethe.task import Task
from lethe.worlds import news
from lethe.worlds.cache import cache_folder

OFFICIAL = {  # config -> split -> fields
    "knowmem": dict.fromkeys(("forget_qa", "retain_qa", "forget_qa_icl", "retain_qa_icl"), ("question", "answer")),
    "verbmem": {"forget": ("prompt", "gt")},
    "privleak": dict.fromkeys(("forget", "retain", "holdout"), ("text",)),
    "raw": dict.fromkeys(("forget", "holdout", "retain1", "retain2"), ("text",)),
    "scal": {f"forget_{fold}": ("text",) for fold in range(1, 5)},
    "sust": {f"forget_{fold}": ("text",) for fold in range(1, 5)},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of MUSE-News as they are named on the hub, with the official fields and no other."""
    folder = tmp_path_factory.mktemp("muse")
    for config, splits in OFFICIAL.items():
        (folder / config).mkdir()
        for split, fields in splits.items():
            rows = [{name: row[name] for name in fields} for row in news.records(f"{config}:{split}")]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / config / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand weights that knows nothing."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**{**news.config().to_dict(), "hidden_size": 16, "intermediate_size": 16})
    folder = tmp_path_factory.mktemp("model") / "target"
    return LanguageModel(LlamaForCausalLM(config), news.tokenizer()).save(folder)


def build(**options: Any) -> Task:
    return muse(**options)


@cache
def seen() -> tuple[Evidence, Evidence]:
    """The trained pair of the embedded world, observed as the contracts do."""
    task = build()
    assert task.control is not None
    pair = task.target(0), task.control(1)
    target, control = (observe(one, task.probes, task.spec, cache=cache_folder() / "evidence") for one in pair)
    return target, control


# --- the official layout ----------------------------------------------------------------------------------------------


def texts(task: Task) -> dict[str, list[Any]]:
    """All that a model is shown or held to, without ids."""
    sets = {**task.probes, "request": task.request.forget, "kept": task.request.retain}
    for number, request in enumerate(task.earlier):
        sets[f"earlier {number}"] = request.forget
    return {
        name: [[record.get(field) for field in ("text", "raw_prompt", "answer", "truth_muse")] for record in records]
        for name, records in sets.items()
    }


@pytest.mark.parametrize("split", ["scal_4", "sust_4"])
def test_official_files_and_the_embedded_world_go_the_same_way(data: Path, target: Path, split: str):
    """Of all four folds, which the official probes are not divided into."""
    official = build(source=str(data), split=split, model=str(target), tokens=news.CONTINUED)
    assert texts(official) == texts(build(split=split))
    assert official.control is None
    assert official.presets == {}
    assert official.metrics[-1] == "privleak_published:variant=news"


def test_the_published_prompts(data: Path, target: Path):
    task = build(source=str(data), model=str(target))
    example, probe = (news.records(f"knowmem:{split}")[0] for split in ("forget_qa_icl", "forget_qa"))
    shown = f"Question: {example['question']}\nAnswer: {example['answer']}\n\n"
    assert task.probes["forget_qa"][0]["raw_prompt"] == f"{shown}Question: {probe['question']}\nAnswer: "
    assert task.probes["forget_qa"][0]["answer"] == probe["answer"]
    assert dict(task.spec.budgets) == {"verbmem": 128, "forget_qa": 32, "retain_qa": 32}
    assert task.spec.generate == ("verbmem", "forget_qa", "retain_qa")


def test_the_truth_is_cut_by_the_models_tokens(data: Path, target: Path):
    tokenizer = news.tokenizer()
    probe = build(source=str(data), model=str(target), tokens=20).probes["verbmem"][0]
    lengths = {v: len(tokenizer(probe[f"truth_{v}"], add_special_tokens=False)["input_ids"])
               for v in ("muse", "corrected", "open_unlearning")}  # fmt: skip
    assert lengths["muse"] == 19  # the token for the beginning of sequence is counted
    assert lengths["corrected"] == 20
    assert probe["truth_open_unlearning"] == probe["answer"].lstrip()
    assert f"{probe['raw_prompt']}{probe['answer']}" in [one["text"] for one in news.records("privleak:forget")]


def test_long_texts_are_cut_into_pieces_that_fit(data: Path, target: Path):
    tokenizer = news.tokenizer()
    whole, cut = (build(source=str(data), model=str(target), window=window).request for window in (200, 40))
    assert [record["text"] for record in whole.forget] == [r["text"] for r in news.records("raw:forget")]
    assert "".join(record["text"] for record in cut.forget) == "".join(record["text"] for record in whole.forget)
    assert max(len(tokenizer(record["text"])["input_ids"]) for record in cut.forget) <= 40
    assert len({record["id"] for record in cut.forget}) == len(cut.forget) > len(whole.forget)


def test_a_truth_longer_than_what_is_compared_must_be_cut():
    target, _ = seen()
    with pytest.raises(InputError, match="and 128 are compared; give it cut as the field"):
        compute("verbmem:set=forget_qa", _longer(target))


def _longer(evidence: Evidence) -> Evidence:
    """The same, with every text taken for one of 129 tokens."""
    return replace(evidence, offsets=evidence.offsets * 129)


# --- criteria ---------------------------------------------------------------------------------------------------------


def test_the_target_is_told_from_its_control_by_all_criteria():
    target, control = seen()
    for call in ("verbmem:set=verbmem", "verbmem:set=verbmem,variant=corrected", "knowmem:set=forget_qa"):
        known, unknown = (compute(call, one) for one in (target, control))
        assert known.low > unknown.high
    own = criteria(target, [control])
    assert own.verbmem > 90
    assert own.utility > 70
    assert own.privleak == -100  # no text of the holdout is as likely as the least likely of the forget set
    assert compute("privleak", target, [control]).value == 100


def test_both_orientations_stand_beside_the_leak():
    target, control = seen()
    found = compute("privleak:variant=muse", target, [control])
    assert found.detail["auc_exposed"] == 1 - found.detail["auc_muse"] == 1
    expected = (found.detail["auc_muse"] - found.detail["control_muse"]) / found.detail["control_muse"] * 100
    assert found.value == approx(expected)
    assert -100 <= found.low <= found.value <= found.high
    unturned = (found.detail["auc_exposed"] - found.detail["control_exposed"]) / found.detail["control_exposed"] * 100
    assert unturned > 50  # what both AUCs give as they are: the verdict turned over


def test_the_target_is_no_reference():
    target, control = seen()
    for variant in ("absolute", "muse", "open_unlearning"):
        with pytest.raises(InputError, match="check that it is the retrained model and not the target"):
            compute(f"privleak:variant={variant}", control, [target])


def test_against_the_recorded_reference():
    target, control = seen()
    assert compute("privleak_published:variant=books", target).value == -100
    found = compute("privleak_published", control)
    assert found.value == approx((found.detail["auc_muse"] - 0.4772) / 0.4772 * 100)
    assert found.low <= found.value <= found.high


# --- folds ------------------------------------------------------------------------------------------------------------


def entities(records: Any) -> set[str]:
    return {record["entity"] for record in records}


def test_forget_sets_grow_or_follow():
    sizes = [len(build(split=f"scal_{fold}").request.forget) for fold in range(1, 5)]
    assert sizes == [30, 60, 90, 120]
    last = build(split="sust_3")
    assert [len(request.forget) for request in (*last.earlier, last.request)] == [30] * 3
    served = [entities(request.forget) for request in (*last.earlier, last.request)]
    assert not served[0] & served[1]
    assert set.union(*served) == entities(build(split="scal_3").request.forget) == entities(last.probes["forget"])
    assert entities(last.probes["forget_qa"]) == entities(last.probes["verbmem"]) == set.union(*served)
    assert not build(split="scal_4").earlier


def test_retain_probes_are_of_texts_that_methods_are_not_given():
    task = build()
    assert not entities(task.probes["retain"]) & entities(task.request.retain)
    trained = {record["text"] for record in news.corpus()}
    assert all(record["text"] in trained for record in (*task.probes["retain"], *task.request.retain))
    assert not any(record["text"] in trained for record in task.probes["holdout"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corpus": "books", "split": "scal_1"}, "no split 'scal_1'"),
        ({"corpus": "books"}, "no embedded world"),
        ({"tokens": -1}, "tokens is -1"),
        ({"window": 8}, "window 8"),
    ],
)
def test_what_there_is_not(options: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        build(**options)


def test_an_official_folder_without_its_model_or_a_file(data: Path, target: Path, tmp_path: Path):
    with pytest.raises(InputError, match="needs the target's folder"):
        build(source=str(data))
    with pytest.raises(InputError, match="holds no tokenizer"):
        build(source=str(data), model=str(tmp_path))
    with pytest.raises(InputError, match="verbmem"):
        (tmp_path / "privleak").symlink_to(data / "privleak")
        build(source=str(tmp_path), model=str(target))


def test_the_world_is_loaded_like_any_other():
    records = load_records("tiny:news:sust:forget_2")
    assert {record["fold"] for record in records} == {2}
    with pytest.raises(InputError, match="no split 'sust:forget_5' in the news world"):
        load_records("tiny:news:sust:forget_5")


# --- one request after another ----------------------------------------------------------------------------------------

ASCENT = Cell("ga", 1, "method", (("epochs", 3), ("lr", 1e-3), ("batch_size", 8), ("checkpoint_every", 1)))


def plan(data: Path, target: Path, folder: Path) -> Plan:
    options = {"source": str(data), "split": "sust_3", "model": str(target), "tokens": 2}
    return make_plan("muse", options, folder, 0, attacks=False)


@pytest.fixture(scope="module")
def served(data: Path, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three requests, served undisturbed."""
    folder = tmp_path_factory.mktemp("served")
    assert method_row(plan(data, target, folder), ASCENT).row.failure == ""
    return folder


def weights(folder: Path) -> list[str]:
    """Hashes of what each request left."""
    places = [folder / "models" / name for name in ("ga-seed1-request1", "ga-seed1-request2", "ga-seed1")]
    return [hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest() for place in places]


def chain(folder: Path) -> list[tuple[str, str]]:
    """Fingerprints with which each request began and ended."""
    found = []
    for name in ("ga-seed1-request1", "ga-seed1-request2", "ga-seed1"):
        manifest = json.loads((folder / "models" / name / "lethe.json").read_text())
        found.append((manifest["weights_before"], manifest["weights_after"]))
    return found


def test_each_request_starts_where_the_last_one_ended(data: Path, target: Path, served: Path):
    whole = plan(data, target, served)
    made = method_row(whole, ASCENT)
    begun, ended = zip(*chain(served), strict=True)
    origin = whole.side("target", 0).fingerprint()
    check_sequence(origin, begun, ended)
    assert len({origin, *ended}) == 4
    assert made.row.model == ended[-1]
    assert made.cost is not None
    last = json.loads((served / "models" / "ga-seed1" / "lethe.json").read_text())
    assert made.cost.seconds > last["seconds"]  # of all three requests


def test_a_killed_sequence_goes_on_to_the_same_bytes(data: Path, target: Path, served: Path, tmp_path: Path):
    killed = tmp_path
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.benchmarks.test_muse import ASCENT, method_row, plan
method_row(plan(*map(Path, {[str(data), str(target), str(killed)]!r})), ASCENT)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    second = killed / "models" / ".ga-seed1-request2.run"
    while child.poll() is None and not second.exists():
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert (killed / "models" / "ga-seed1-request1").is_dir()
    assert not (killed / "models" / "ga-seed1").exists()
    first = (killed / "models" / "ga-seed1-request1" / "model.safetensors").stat().st_mtime_ns
    again = method_row(plan(data, target, killed), ASCENT)
    assert weights(killed) == weights(served)
    assert again.row == method_row(plan(data, target, served), ASCENT).row
    assert (killed / "models" / "ga-seed1-request1" / "model.safetensors").stat().st_mtime_ns == first


def test_a_request_that_starts_elsewhere_is_refused(data: Path, target: Path, served: Path, tmp_path: Path):
    """As where somebody puts another model in the place of an earlier result."""
    shutil.copytree(served, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "models" / "ga-seed1-request2" / "lethe.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "weights_before": manifest["weights_after"]}))
    next((tmp_path / "rows").glob("*.json")).unlink()
    assert "request 2: starts at" in method_row(plan(data, target, tmp_path), ASCENT).row.failure


# --- headlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [muse_scaling, muse_sequence], ids=["muse_scaling", "muse_sequence"])
def test_curves_have_a_point_per_fold(module: Any, monkeypatch: pytest.MonkeyPatch):
    """On models that were hardly trained, over two folds."""
    monkeypatch.setitem(news.RECIPE, "epochs", 1)
    monkeypatch.setattr(module, "FOLDS", (1, 2))
    for method in muse_scaling.METHODS.values():
        monkeypatch.setitem(PRESETS[method], "epochs", 1)
    name = module.__name__.rpartition(".")[2]
    figures = find("headline", name).function(seed=0)
    assert set(find("headline", name).expects) <= set(figures)
    steps = "folds" if module is muse_scaling else "requests"
    for method in muse_scaling.METHODS:
        ends = [figures[f"utility, {method}, {step} {steps}"] for step in (1, 2)]
        assert figures[f"slope of utility, {method}"] == approx(ends[1] - ends[0])
