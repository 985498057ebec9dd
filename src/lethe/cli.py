"""The command line: one function for each command that `lethe --help` lists.

Heavy imports live inside the commands, so that `lethe --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import lethe
from lethe.errors import InputError
from lethe.signing import keygen, verify

app = typer.Typer(
    name="lethe",
    help="Make a trained model forget on request, and prove how far it forgot.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
FAILED, BAD_USAGE, NOT_REACHED = 1, 2, 3
# What --require accepts, strongest first, and the verdict it stands for.
REQUIRABLE = {"removal": "removal", "consistent": "consistent with removal", "suppression": "suppression"}

Config = Annotated[Path | None, typer.Option("--config", help="YAML file with any of these options.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Option of the method, KEY=VALUE; repeatable.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the request.")]
Forget = Annotated[str | None, typer.Option(help="Records to forget: file, folder, hub name or tiny:WORLD:SPLIT.")]
Retain = Annotated[str | None, typer.Option(help="Records to keep.")]
Holdout = Annotated[str | None, typer.Option(help="Records of the same kind, never trained on.")]
Family = Annotated[str | None, typer.Option(help="language, classifier or recommender; read from the model otherwise.")]
Intent = Annotated[str | None, typer.Option(help="removal, suppression or unsure.")]
Trust = Annotated[bool | None, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]
Where = Annotated[str | None, typer.Option(help="Weights that may move, e.g. lora:rank=8: see `lethe describe where`.")]
Attack = Annotated[list[str] | None, typer.Option(help="NAME:OPTION=VALUE; repeatable. Default: what --budget buys.")]
Control = Annotated[list[str] | None, typer.Option(help="Model trained without the forget set; repeatable.")]
Require = Annotated[str | None, typer.Option(help="removal, consistent or suppression: exit 3 unless reached.")]
Overlap = Annotated[bool | None, typer.Option("--allow-overlap", help="Accept records that stand in two sets.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Make a trained model forget on request, and prove how far it forgot."""
    if version:
        typer.echo(f"lethe {lethe.__version__}")
        raise typer.Exit


@app.command()
def unlearn(
    model: Annotated[str | None, typer.Option(help="Model folder or hub id.")] = None,
    forget: Forget = None,
    retain: Retain = None,
    holdout: Holdout = None,
    method: Annotated[str | None, typer.Option(help="Method, see `lethe list methods`.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Options by a name, e.g. paper: see `lethe describe METHOD`.")
    ] = None,
    settings: Settings = None,
    where: Where = None,
    step: Annotated[str | None, typer.Option(help="Step rule, e.g. sam:rho=0.01: see `lethe describe step`.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the unlearned model.")] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="Model trained without the forget set; audits at once.")
    ] = None,
    family: Family = None,
    seed: Seed = None,
    intent: Intent = None,
    reason: Annotated[str | None, typer.Option(help="Why, in your words; kept in lethe.json.")] = None,
    allow_overlap: Overlap = None,
    trust_remote_code: Trust = None,
    config: Config = None,
) -> None:
    """Make a model forget; writes an ordinary model folder with the manifest lethe.json."""
    chosen, options = _gathered(unlearn, locals())
    options |= {axis: chosen.pop(axis) for axis in ("where", "step") if axis in chosen}
    controls = chosen.pop("control", None)
    _need(chosen, "model", "forget", "method", "out")
    lethe.unlearn(**chosen, options=options)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks and audits
    typer.echo(f"Unlearned model and lethe.json: {chosen['out']}")
    if controls:
        passed = {k: chosen[k] for k in ("forget", "retain", "holdout", "family", "seed", "intent", "trust_remote_code",
                                         "allow_overlap") if k in chosen}  # fmt: skip
        results = lethe.audit(
            chosen["out"], chosen["model"], control=_listed(controls), out=Path(chosen["out"]) / "audit", **passed
        )
        _show(results, Path(chosen["out"]) / "audit")
    else:
        typer.echo("Not audited: run `lethe audit` before you rely on it.")


@app.command()
def audit(
    model: Annotated[str | None, typer.Option(help="The unlearned model's folder.")] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning.")] = None,
    control: Control = None,
    forget: Forget = None,
    retain: Retain = None,
    holdout: Holdout = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
    attack: Attack = None,
    budget: Annotated[str | None, typer.Option(help="Attacks to pay for: quick, standard or thorough.")] = None,
    require: Require = None,
    family: Family = None,
    seed: Seed = None,
    intent: Intent = None,
    scope: Annotated[str | None, typer.Option(help="sample, entity, topic, capability or copyright.")] = None,
    threat: Annotated[
        str | None, typer.Option(help="Who must not get it back: api, logits, weights or insider.")
    ] = None,
    basis: Annotated[str | None, typer.Option(help="Why the request must be met: a law, a contract.")] = None,
    deadline: Annotated[str | None, typer.Option(help="By when, YYYY-MM-DD.")] = None,
    allow_overlap: Overlap = None,
    trust_remote_code: Trust = None,
    sign: Annotated[Path | None, typer.Option(help="Private key, see `lethe keygen`; writes audit.json.sig.")] = None,
    sequence: Annotated[Path | None, typer.Option(help="Run of `lethe bench sequence`: gives O1 to O8.")] = None,
    config: Config = None,
) -> None:
    """Attack an unlearned model and say how far it forgot; writes report.html, report.md, results.json, audit.json."""
    chosen, _ = _gathered(audit, locals())
    _need(chosen, "model", "original", "forget", "out")
    required = chosen.pop("require", None)
    if required is not None and required not in REQUIRABLE:
        raise InputError(f"--require {required}: choose one of {', '.join(REQUIRABLE)}.")
    chosen["control"] = _listed(chosen.get("control") or ())
    chosen["attacks"] = _listed(chosen.pop("attack", None) or ()) or None
    from lethe.runs.environment import return_memory

    return_memory()
    results = lethe.audit(**chosen)
    _show(results, Path(chosen["out"]))
    if required and not _reaches(results, required):
        typer.echo(f"The verdict does not reach {required}.", err=True)
        raise typer.Exit(NOT_REACHED)


app.command()(verify)
app.command()(keygen)


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="Benchmark (or several: a,b), see `lethe list benchmarks`; headlines, calibrate or thresholds."
        ),
    ],
    only: Annotated[list[str] | None, typer.Option(help="Headline, see `lethe list headlines`; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(help="tiny, hub, or a path with the official data.")] = None,
    split: Annotated[str | None, typer.Option(help="Split, e.g. forget10.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated methods; default: all with a preset.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per method.")] = None,
    controls: Annotated[int | None, typer.Option(help="Controls with different seeds.")] = None,
    attacks: Annotated[bool | None, typer.Option("--attacks/--no-attacks", help="Attack every model.")] = None,
    model: Annotated[str | None, typer.Option(help="Target model's folder (source hub or PATH).")] = None,
    control: Control = None,
    settings: Settings = None,
    from_logs: Annotated[Path | None, typer.Option(help="Recorded logs, scored without a model.")] = None,
    models: Annotated[int | None, typer.Option(help="calibrate: models on either side, 30 by default.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results and report.")] = None,
    config: Config = None,
) -> None:
    """Compare methods on a benchmark with controls, attacks and intervals.

    `lethe bench headlines` measures the claims of papers (--only, --seeds), `lethe bench calibrate` what every metric
    and attack is worth (--models), `lethe bench thresholds` how often the audit errs (--models), `lethe bench tddbench`
    21 ways to detect training records (--source, --set), `lethe bench ulira` attacks what methods make of shadow models
    (--methods, --set shadows=N), `lethe bench sequence` serves requests one after another (--methods, --set
    benchmark=NAME --set requests=N), and with --from-logs recorded logs of tofu or tddbench are scored (--control
    NAME).
    """
    chosen, options = _gathered(bench, locals())
    chosen.pop("name")
    _need(chosen, "out")
    from lethe.studies import shown

    if (study := shown(name, chosen, options)) is not None:
        _print(study.table)
        typer.echo(f"Page: {study.page}")
        _failed(study.failures)
        return
    if "only" in chosen:
        raise InputError(f"--only chooses among headlines; for the benchmark {name} give --methods.")
    if isinstance(chosen.get("methods"), str):
        from lethe.runs.config import calls

        chosen["methods"] = calls(chosen["methods"])
    chosen["control"] = _listed(chosen.get("control") or ())
    results = lethe.bench(name, options=options, **chosen)
    _show(results, Path(chosen["out"]))
    _failed([(row.id, row.failure) for found in results.benchmarks for row in found.rows if row.failure])


def _failed(rows: Sequence[tuple[str, str]]) -> None:
    """What failed, on standard error; everything else stands in the report."""
    for name, why in rows:
        typer.echo(f"failed: {name}: {why}", err=True)
    if rows:
        raise typer.Exit(FAILED)


@app.command()
def tune(
    method: Annotated[str, typer.Argument(help="Method, see `lethe list methods`.")],
    benchmark: Annotated[str | None, typer.Option(help="Benchmark; tofu by default.")] = None,
    source: Annotated[str | None, typer.Option(help="tiny, hub, or a path with the official data.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to search on, e.g. forget05; never the reported one.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials in all, earlier ones included; 20 by default.")] = None,
    space: Annotated[
        list[str] | None, typer.Option(help="Range of an option, NAME=LOW:HIGH[:log] or NAME=ONE|OTHER; repeatable.")
    ] = None,
    settings: Settings = None,
    model: Annotated[str | None, typer.Option(help="Target model's folder (source hub or PATH).")] = None,
    control: Control = None,
    controls: Annotated[int | None, typer.Option(help="Controls with different seeds; 2 by default.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the search and of the embedded world; 1 by default.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for best.yaml and the search.")] = None,
    config: Config = None,
) -> None:
    """Search a method's options on a validation split; writes best.yaml, a --config of `lethe unlearn`.

    Searched are lr, epochs and the method's own decimals. The rule: of all trials that leave at most 0.2 of what the
    target knows of the forget set beyond the controls, keep at least 0.9 of its utility, and whose KL to the control on
    the retain set is at most 0.1 nats per token above its own, the one with the smallest KL to the control on the
    forget set. Exit code 3 where no trial is admitted.
    """
    chosen, options = _gathered(tune, locals())
    _need(chosen, "split", "out")
    from lethe.report import trials_table
    from lethe.runs.config import parse_settings

    chosen["space"] = parse_settings(_listed(chosen.get("space") or ()), "--space")
    chosen["control"] = _listed(chosen.get("control") or ())
    found = lethe.tune(chosen.pop("method"), **chosen, options=options, watch=_watched)
    _print(trials_table(found))
    if found.chosen is None:
        typer.echo("No trial is admitted by the rule: give more trials, or another --space.", err=True)
        raise typer.Exit(NOT_REACHED)
    typer.echo(f"{found.preset}\nAs a --config of `lethe unlearn`: {Path(chosen['out']) / 'best.yaml'}")


def _watched(trial: Any) -> None:
    told = (
        trial.failure
        or f"forget {trial.forget:.3f}, retain {trial.retain:.3f}, utility {trial.utility:.3f}, left {trial.left:.2f}"
    )
    typer.echo(f"trial {trial.number}: {told}", err=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results and report.")] = Path("out/demo"),
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Three embedded worlds, three model families: train, unlearn, attack, audit, report."""
    _show(lethe.demo(out, workers=workers), out)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folder with results.json; several are joined.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the joined results and their report.")] = None,
) -> None:
    """Write the report of a run again from its results.json, or one of several runs that measured the same thing."""
    from lethe.report.join import write_again

    results = write_again(folders, out)
    _show(results, out or folders[0])


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, metrics, attacks, benchmarks, headlines, models, where, steps or retain.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What there is: id, family, intent, level, paper and one line each."""
    from lethe.runs.catalogue import catalogue, listing

    rows = catalogue(kind)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(listing(rows))


@app.command()
def describe(
    name: Annotated[
        str, typer.Argument(help="A method, metric, attack, benchmark or headline; or an axis: where, step, retain.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Everything about one name: what it does, its file, all options with defaults and units."""
    from lethe.runs.catalogue import describe, description

    facts = describe(name)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print(description(facts))


def main() -> None:
    """Entry point of the `lethe` command: 0 done, 1 failed, 2 bad usage, 3 required verdict not reached."""
    # Bars and notices of the libraries below would drown the command's own words; worker processes inherit both.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.simplefilter("ignore", FutureWarning)
    try:
        app()
    except InputError as error:
        typer.echo(f"lethe: {error}", err=True)
        sys.exit(BAD_USAGE)
    except KeyboardInterrupt:
        typer.echo("lethe: stopped; the same command continues where it was.", err=True)
        sys.exit(130)


def _gathered(command: Callable[..., Any], given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A command's parameters over those of its --config file, and the method's options (--set) apart."""
    from lethe.runs.config import converted, merged, parse_settings, read_config

    own = dict(given)
    config, settings = own.pop("config"), own.pop("settings", None)
    file = read_config(config, [name for name in [*own, "set"] if name != "name"]) if config else {}
    options = file.pop("set", None) or {}
    if not isinstance(options, dict):
        raise InputError(f"{config}: `set` must hold a mapping of options to values.")
    options = {str(key): value for key, value in options.items()}
    if isinstance(file.get("methods"), list):  # as the command line has them
        file["methods"] = ",".join(map(str, file["methods"]))
    return merged(converted(file, command, str(config)), own), {**options, **parse_settings(settings or ())}


def _need(chosen: dict[str, Any], *names: str) -> None:
    missing = [f"--{name}" for name in names if name not in chosen]
    if missing:
        raise InputError(f"{', '.join(missing)} missing: give it on the command line or in the --config file.")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _reaches(results: Any, required: str) -> bool:
    accepted = list(REQUIRABLE.values())[: list(REQUIRABLE).index(required) + 1]
    verdicts = [row.verdict for benchmark in results.benchmarks for row in benchmark.rows if row.role == "method"]
    return bool(verdicts) and all(verdict is not None and verdict.reached in accepted for verdict in verdicts)


def _show(results: Any, folder: Path) -> None:
    from lethe.report import attackers_table, intake_of, terminal_table

    asked = intake_of(results.config)
    for benchmark in results.benchmarks:
        _print(terminal_table(benchmark))
        if asked is not None:
            _print(attackers_table(benchmark, asked))
    typer.echo(f"Report: {folder / 'report.html'}")


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)
