"""The commands as a user gives them: what they write, how they end, and what they say when something is wrong."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.runs.conftest import Desk

from lethe.auditing.case import TITLES

Command = Callable[..., tuple[int, str, str]]


def unlearn_arguments(desk: Desk, out: Path, *more: str) -> list[str]:
    return ["unlearn", "--model", desk.target, *desk.sets(), "--method", "npo", "--set", "lr=1e-3", "--set", "epochs=3",
            "--out", str(out), *more]  # fmt: skip


def test_help_answers_in_half_a_second():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "lethe", "--help"], capture_output=True, text=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        assert "unlearn" in done.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5  # processor time: a busy machine is not our fault


def test_unlearn_writes_an_ordinary_folder_with_a_manifest(desk: Desk, lethe: Command, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lethe.models import load

    code, out, err = lethe(*unlearn_arguments(desk, tmp_path / "u", "--reason", "asked by letter"))
    assert (code, err) == (0, "")
    assert "lethe audit" in out  # a user is told that nothing is proven yet
    AutoModelForCausalLM.from_pretrained(tmp_path / "u")
    AutoTokenizer.from_pretrained(tmp_path / "u")
    manifest = json.loads((tmp_path / "u" / "lethe.json").read_text())
    assert manifest["weights_after"] == load(tmp_path / "u").fingerprint()
    assert manifest["weights_before"] == load(desk.target).fingerprint() != manifest["weights_after"]
    assert manifest["options"]["beta"] == 0.1
    assert manifest["options"]["lr"] == 1e-3
    assert manifest["request"]["forget"] == 15
    assert manifest["request"]["reason"] == "asked by letter"
    assert 0 < manifest["changed_weights"] <= manifest["total_weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["u"]  # no checkpoint, no temporary folder is left


def test_a_preset_stands_below_what_is_given_and_is_named_in_the_manifest(desk: Desk, lethe: Command, tmp_path: Path):
    from lethe.registry import find

    paper = dict(find("method", "npo").presets["paper"])
    arguments = unlearn_arguments(desk, tmp_path / "u", "--preset", "paper")
    assert lethe(*arguments)[0] == 0
    manifest = json.loads((tmp_path / "u" / "lethe.json").read_text())
    assert manifest["preset"] == "paper"
    assert manifest["options"]["lr"] == 1e-3 != paper["lr"]
    assert manifest["options"]["beta"] == paper["beta"]
    assert manifest["options"]["weight_decay"] == paper["weight_decay"]
    assert "preset: paper" in (tmp_path / "u" / "README.md").read_text()
    assert "did you mean 'paper'" in one_line(*lethe(*arguments[:-1], "papre", "--out", str(tmp_path / "v")))


def test_the_same_command_gives_the_same_weights(desk: Desk, lethe: Command, tmp_path: Path):
    for name in ("a", "b"):
        assert lethe(*unlearn_arguments(desk, tmp_path / name, "--seed", "7"))[0] == 0
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_config_file_says_the_same_as_options(desk: Desk, lethe: Command, tmp_path: Path):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {desk.target}\nforget: {desk.records('forget')}\nretain: {desk.records('retain')}\n"
        f"allow-overlap: true\nmethod: npo\nset: {{lr: 1.0e-3, epochs: 3}}\nout: {tmp_path / 'a'}\n"
    )
    assert lethe("unlearn", "--config", str(config))[0] == 0
    assert lethe(*unlearn_arguments(desk, tmp_path / "b"))[0] == 0
    assert (
        load_file(tmp_path / "a" / "model.safetensors").keys() == load_file(tmp_path / "b" / "model.safetensors").keys()
    )
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert lethe("unlearn", "--config", str(config), "--set", "epochs=4", "--out", str(tmp_path / "c"))[0] == 0
    assert json.loads((tmp_path / "c" / "lethe.json").read_text())["options"]["epochs"] == 4


@pytest.mark.filterwarnings("ignore:.*no room")  # in so small a context, told by attacks that add to prompts
def test_audit_judges_reports_and_ends_with_three_below_what_is_required(desk: Desk, lethe: Command, tmp_path: Path):
    assert lethe(*unlearn_arguments(desk, tmp_path / "u"))[0] == 0
    audit = ["audit", "--model", str(tmp_path / "u"), "--original", desk.target, "--control", desk.control_1,
             "--control", desk.control_2, *desk.sets(), "--holdout", desk.records("holdout"), "--budget", "quick",
             "--out", str(tmp_path / "audit")]  # fmt: skip
    code, out, _ = lethe(*audit)
    assert code == 0
    assert "report.html" in out
    results = json.loads((tmp_path / "audit" / "results.json").read_text())
    rows = {row["id"]: row for row in results["benchmarks"][0]["rows"]}
    assert {row["role"] for row in rows.values()} == {"target", "control", "method"}
    verdict = next(row["verdict"] for row in rows.values() if row["role"] == "method")
    assert verdict["reached"] != "removal"  # jailbreaks and probes were not made, so it cannot be
    assert [check["id"] for check in verdict["checks"]] == list(TITLES)
    assert all(check["reason"] for check in verdict["checks"] if check["outcome"] == "NOT TESTED")
    check = {check["id"]: check for check in verdict["checks"]}
    assert check["O8"]["outcome"] == "PASS"  # lethe.json was there, and fits
    assert "Budget quick: " in verdict["sentence"]
    told = {one["attack"]: one["reason"] for one in verdict["left_out"]}
    assert told["benign_finetune"] == "too dear for the budget quick; standard pays for it"
    assert "experts" in told["reroute"]
    assert not [one for one in verdict["left_out"] if one["failed"]]
    tried = {one["attack"] for row in rows.values() for one in row["recoveries"]}
    assert {"relearn", "quantize", "merge", "prune", "paraphrase", "jailbreak"} <= tried
    passes = results["benchmarks"][0]["passes"]
    assert passes["reused"] == sum(one["reused"] for row in rows.values() for one in row["recoveries"]) > 0
    assert all((tmp_path / "audit" / name).stat().st_size for name in ("report.html", "report.md", "cost.json"))
    code, _, err = lethe(*audit, "--require", "removal")
    assert code == 3
    assert "does not reach removal" in err


def test_the_untouched_model_is_audited_as_not_forgotten(desk: Desk, lethe: Command, tmp_path: Path):
    models = ["--model", desk.target, "--original", desk.target]
    models += ["--control", desk.control_1, "--control", desk.control_2]
    code, *_ = lethe(
        "audit", *models, *desk.sets(), "--out", str(tmp_path / "a"), "--attack", "quantize:bits=8",
        "--budget", "quick", "--require", "suppression",
    )  # fmt: skip
    assert code == 3
    row = json.loads((tmp_path / "a" / "results.json").read_text())["benchmarks"][0]["rows"][-1]
    assert row["verdict"]["reached"] == "not forgotten"


def test_a_manifest_that_does_not_fit_its_weights_is_refused(desk: Desk, lethe: Command, tmp_path: Path):
    assert lethe(*unlearn_arguments(desk, tmp_path / "u"))[0] == 0
    weights = load_file(tmp_path / "u" / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + 0.1
    save_file(weights, tmp_path / "u" / "model.safetensors", metadata={"format": "pt"})
    code, _, err = lethe("audit", "--model", str(tmp_path / "u"), "--original", desk.target, *desk.sets(),
                         "--out", str(tmp_path / "a"))  # fmt: skip
    assert code == 2
    assert "not those that lethe.json vouches for" in err
    assert not (tmp_path / "a" / "results.json").exists()


def test_every_listing_is_json_and_text(lethe: Command):
    for kind in ("methods", "metrics", "attacks", "benchmarks", "models", "where", "steps", "retain"):
        code, out, _ = lethe("list", kind, "--json")
        assert code == 0
        rows = json.loads(out)
        assert rows
        assert all(row["id"] and row["summary"] for row in rows)
        assert rows[0]["id"] in lethe("list", kind)[1]
    facts = json.loads(lethe("describe", "npo", "--json")[1])
    assert Path(facts["file"]).name == "npo.py"
    assert all(option["help"] for option in facts["options"])
    assert facts["presets"]["paper"]["lr"] < 1e-3
    assert "preset paper: " in lethe("describe", "npo")[1]
    steps = {choice["id"]: choice for choice in json.loads(lethe("describe", "step", "--json")[1])["choices"]}
    assert steps["sam"]["cost"].startswith("Cost: 2 forward and backward passes of the forget terms")
    assert [(option["name"], option["default"]) for option in steps["sam"]["options"]] == [("rho", 0.01)]
    text = lethe("describe", "where")[1]
    assert "saliency" in text
    assert "Share of the coordinates that may move" in " ".join(text.split())


def one_line(code: int, out: str, err: str) -> str:
    assert code == 2
    assert "Traceback" not in err
    assert err.startswith("lethe: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--method", "npoo"], "did you mean 'npo'"),
        (["--set", "bet=1"], "did you mean 'beta'"),
        (["--set", "beta=much"], "must be float"),
        (["--set", "where=lora:rnak=8"], "did you mean 'rank'"),
        (["--set", "retain=nl"], "nll"),
        (["--method", "scrub"], "classifier"),
        (["--method", "finetune", "--step", "sam"], "forget term"),
        (["--forget", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--model", "/nowhere"], "/nowhere"),
        (["--intent", "removl"], "removal"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    desk: Desk, lethe: Command, tmp_path: Path, change: list[str], said: str
):
    err = one_line(*lethe(*unlearn_arguments(desk, tmp_path / "u", *change)))
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_bad_config_files(lethe: Command, tmp_path: Path):
    config = tmp_path / "run.yaml"
    config.write_text("metod: npo\n")
    assert "did you mean 'method'" in one_line(*lethe("unlearn", "--config", str(config)))
    config.write_text("- npo\n")
    assert "mapping" in one_line(*lethe("unlearn", "--config", str(config)))
    config.write_bytes(b"method: \xff\n")
    assert "UTF-8" in one_line(*lethe("unlearn", "--config", str(config)))
    assert "--model" in one_line(*lethe("unlearn"))


@pytest.mark.parametrize(
    ("command", "line", "said"),
    [
        ("unlearn", "trust_remote_code: perhaps", "'trust_remote_code' must be bool, not 'perhaps'"),
        ("unlearn", "seed: 1.5", "'seed' must be int, not 1.5"),
        ("unlearn", "seed: true", "'seed' must be int, not True"),
        ("unlearn", "method: 5", "'method' must be str, not 5"),
        ("unlearn", "out: [a]", "'out' must be str, not ['a']"),
        ("unlearn", "forget: {file: a}", "'forget' must be str"),
        ("unlearn", "set: {1: 2}", "'1'"),
        ("audit", "attack: [5]", "'attack' must be str, not 5"),
        ("audit", "control: {a: b}", "'control' must be str"),
        ("bench", "methods: 5", "'methods' must be str, not 5"),
        ("bench", "methods: [5]", "method '5'"),
        ("bench", "seeds: many", "'seeds' must be int, not 'many'"),
    ],
)
def test_values_of_a_config_file_are_checked(
    desk: Desk, lethe: Command, tmp_path: Path, command: str, line: str, said: str
):
    config = tmp_path / "run.yaml"
    usual = {
        "unlearn": {"model": desk.target, "forget": desk.records("forget"), "method": "npo", "out": str(tmp_path)},
        "audit": {"model": desk.target, "original": desk.target, "forget": desk.records("forget"), "out": "a"},
        "bench": {"out": str(tmp_path / "bench")},
    }[command]
    lines = [f"{key}: {value}" for key, value in usual.items() if key != line.partition(":")[0]]
    config.write_text("\n".join([*lines, line]))
    assert said in one_line(*lethe(command, *(["tofu"] if command == "bench" else []), "--config", str(config)))


def test_values_of_a_config_file_have_the_types_of_the_command_line(tmp_path: Path):
    from lethe.cli import audit, bench, unlearn
    from lethe.runs.config import converted

    file = {"trust_remote_code": "false", "allow_overlap": "yes", "out": "a", "seed": "3", "retain": None}
    assert converted(file, unlearn, "run.yaml") == {
        "trust_remote_code": False, "allow_overlap": True, "out": Path("a"), "seed": 3,
    }  # fmt: skip
    assert converted({"seeds": "3", "attacks": "no"}, bench, "run.yaml") == {"seeds": 3, "attacks": False}
    one = converted({"attack": "relearn:steps=5,10,lr=0.1", "control": ["a", "b"]}, audit, "run.yaml")
    assert one == {"attack": ("relearn:steps=5,10,lr=0.1",), "control": ("a", "b")}


def broken(desk: Desk, tmp_path: Path, change: Callable[[Path], None]) -> str:
    folder = tmp_path / "broken"
    shutil.copytree(desk.target, folder)
    change(folder)
    return str(folder)


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[-1]
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def short_context(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4}))


@pytest.mark.parametrize(
    ("change", "said"),
    [(with_nan, "NaN"), (pickled, "safetensors only"), (truncated, "not a loadable"), (short_context, "context of 4")],
)
def test_broken_models_are_refused(
    desk: Desk, lethe: Command, tmp_path: Path, change: Callable[[Path], None], said: str
):
    model = broken(desk, tmp_path, change)
    err = one_line(*lethe(*unlearn_arguments(desk, tmp_path / "u"), "--model", model))
    assert said in err
    assert not (tmp_path / "u").exists()


def test_the_functions_are_callable_in_any_order():
    program = (
        "import lethe; lethe.bench; import lethe.runs.bench; assert callable(lethe.audit) and callable(lethe.unlearn)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
