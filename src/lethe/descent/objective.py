"""The @objective decorator: a pure loss becomes a method with every composable axis as an option.

An objective file says only what is particular to it: which terms are minimised. The decorator adds the other three
axes (retain term, where, step rule) and the recipe to its signature, and runs the one training loop.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from lethe import registry
from lethe.descent import retain as retain_terms
from lethe.descent import steps, where
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import bind, did_you_mean, parse_call
from lethe.request import Request
from lethe.tracking import Log
from lethe.train import Recipe, StepRule, Term, train

Retain = Literal["none", "nll", "kl", "kl_all"]
AXES_HELP = """
    retain: Retain term: none, nll (training loss), kl (to the original model), kl_all (that over prompt and padding).
    retain_weight: Weight of the retain term.
    where: Weights that may move: all, layers:match=REGEX, lora:rank=8,alpha=16, fila:rank=8 (LoRA that starts on what
        the forget set needs), saliency:keep=0.5, expert (of a mixture); `lethe describe where` lists every choice.
    step: Step rule: plain, or sam:rho=0.01 (flat minima of the forget term); `lethe describe step` lists every rule.
    folder: Where checkpoints and the training log go; none keeps neither.
    evaluate: Function of the model (from Python only) that evaluate_every and keep=best ask; lower is better.
    track: Further receivers of the training log: tensorboard, wandb (each needs its extra).
"""


def objective(
    *,
    families: Iterable[str] = (),
    needs: Iterable[str] = ("loss",),
    intent: registry.Intent = "removal",
    level: registry.Level = "parameter",
    paper: str = "",
    requires: Iterable[str] = (),
    retain: Retain | None = "nll",
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    departs: Mapping[str, Any] = MappingProxyType({}),
    **defaults: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Model]]:
    """Turn `function(model, request, *, own options) -> Term | list[Term]` into a method.

    The function receives the copy that will be trained. `retain` is the default of the retain axis, None for objectives
    that bring their own retain terms (the axis is then not offered). `presets` are options by name, "paper" being the
    authors' own; `departs` are values that make another method of it. `defaults` replace the recipe's. A function that
    trains something itself first (a reinforced model) takes `folder` and `checkpoint_every`, too, and is given those of
    the run.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Model]:
        signature = _signature(function, retain, defaults)

        @functools.wraps(function)
        def run(model: Model, request: Request, **given: Any) -> Model:
            settings = {name: p.default for name, p in signature.parameters.items() if p.default is not p.empty}
            settings |= bind(run, given, what=function.__name__)
            if level == "retraining" and settings["where"] != "all":
                raise InputError(
                    f"{function.__name__} draws every weight anew, so where={settings['where']} would leave random "
                    "weights untrained; use where=all."
                )
            return _descend(function, model, request, settings)

        run.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        run.__doc__ = _docstring(function, retain)
        run.__wrapped__ = function
        attach = registry.method(
            families=families, needs=needs, intent=intent, level=level, paper=paper,
            requires={"forget", *requires}, presets=presets, departs=departs,
        )  # fmt: skip
        return attach(run)

    return decorate


def _descend(function: Callable[..., Any], model: Model, request: Request, options: Mapping[str, Any]) -> Model:
    who, options = function.__name__, dict(options)
    recipe_options = {field.name: options.pop(field.name) for field in fields(Recipe)}
    if recipe_options["seed"] is None:
        recipe_options["seed"] = request.seed
    elif recipe_options["seed"] != request.seed:  # its sets have been compared; only the draws change
        request = replace(request, seed=recipe_options["seed"], allow_overlap=True)
    recipe = Recipe(**recipe_options)
    folder, evaluate, track = (options.pop(name) for name in ("folder", "evaluate", "track"))
    identity = repr((who, sorted(options.items()), _contents(options)))
    selector, rule = options.pop("where"), options.pop("step")
    retain, weight = options.pop("retain", "none"), options.pop("retain_weight", 1.0)
    if retain != "none" and not request.retain:
        raise InputError(f"{who} with retain={retain} needs retain records; give some, or retain=none.")
    unlearned = model.copy()
    # What an item shows is data, not weights: it goes before any training, whatever the objective then does.
    unlearned.without([record for record in request.forget if "modality" in record])
    run = {"folder": folder, "checkpoint_every": recipe.checkpoint_every}
    asked = {name: value for name, value in run.items() if name in inspect.signature(function).parameters}
    terms = function(unlearned, request, **options, **asked)
    terms = [terms] if isinstance(terms, Term) else list(terms)
    if retain != "none":
        terms.append(chosen("retain", retain, retain_terms.TERMS)(unlearned, request, weight))
    step_rule = _step_rule(rule, terms, who)
    name, given = parse_call(selector)
    choice = chosen("where", name, where.CHOICES)
    selection = choice(unlearned, request, **bind(choice, given, what=f"where={name}"))
    train(
        unlearned, [*terms, *selection.terms], recipe,
        selection=selection, step_rule=step_rule, folder=folder, evaluate=evaluate, identity=identity,
        log=Log.of_process(folder, who, track),
    )  # fmt: skip
    selection.finish()
    return unlearned


def _contents(options: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the files that options name: a run with another list of refusals is another run."""
    files = {name: Path(value) for name, value in options.items() if isinstance(value, str) and value}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


def _step_rule(text: str, terms: list[Term], who: str) -> StepRule:
    name, given = parse_call(text)
    make = chosen("step", name, steps.RULES)
    if name not in ("plain", "wa") and not any(term.role == "forget" for term in terms):
        raise InputError(f"step={name} acts on the forget term, and {who} has none; use step=plain.")
    return make(**bind(make, given, what=f"step={name}"))


def chosen(axis: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """What a name stands for on an axis (retain, where, step).

    Raises:
        InputError: If nothing has that name, with the nearest that there is.
    """
    if name not in known:
        raise InputError(f"{axis}={name} does not exist{did_you_mean(name, known)}; one of {', '.join(known)}.")
    return known[name]


def _signature(function: Callable[..., Any], retain: Retain | None, defaults: Mapping[str, Any]) -> inspect.Signature:
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    axes: dict[str, tuple[Any, Any]] = {}
    if retain is not None:
        axes |= {"retain": (Retain, retain), "retain_weight": (float, defaults.get("retain_weight", 1.0))}
    axes |= {"where": (str, defaults.get("where", "all")), "step": (str, defaults.get("step", "plain"))}
    recipe = inspect.signature(Recipe, eval_str=True).parameters
    axes |= {name: (p.annotation, defaults.get(name, p.default)) for name, p in recipe.items()}
    axes["seed"] = (int | None, None)
    axes |= {"folder": (Path | None, None), "evaluate": (Callable[[Model], float] | None, None)}
    axes["track"] = (tuple[str, ...], ())
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in axes.items()
    ]
    return inspect.Signature([*(p for p in own if p.name not in axes), *added], return_annotation=Model)


def _docstring(function: Callable[..., Any], retain: Retain | None) -> str:
    own = inspect.getdoc(function) or ""
    recipe_help = registry.argument_help(inspect.getdoc(Recipe) or "")
    axes_help = AXES_HELP.strip("\n").splitlines()
    lines = [line for line in axes_help if retain is not None or not line.strip().startswith("retain")]
    lines += [f"    {name}: {text}" for name, text in recipe_help.items()]
    head, marker, tail = own.partition("Args:\n")
    if not marker:
        return f"{own}\n\nArgs:\n" + "\n".join(lines)
    arguments, gap, rest = tail.partition("\n\n")
    return f"{head}Args:\n{arguments}\n" + "\n".join(lines) + (gap + rest)
