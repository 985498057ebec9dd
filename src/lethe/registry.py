"""Cards for everything that can be added by one file, and how a name finds its file.

A method, metric, attack, benchmark or headline is a function in a file of the same name below ``lethe.methods``
(``metrics``, ``attacks``, ...), or the object of an installed package's entry point in the group of that name. The
decorators here only attach a `Card`; nothing is imported until it is asked for. The function's signature is its
configuration: `bind` checks and converts user input against it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from lethe.errors import InputError

KINDS = ("method", "metric", "attack", "benchmark", "headline")
Intent = Literal["removal", "suppression", "hybrid", "control"]
Level = Literal["data", "parameter", "representation", "decoding", "input", "output", "retraining"]
BUDGETS = ("quick", "standard", "thorough")  # of an audit, from the smallest

Expectation = tuple[Literal[">=", "<="], float]


@dataclass(frozen=True)
class Card:
    """What is known of a registered function without calling it."""

    kind: str
    name: str
    function: Callable[..., Any]
    families: tuple[str, ...] = ()  # empty: every family that has the abilities
    needs: frozenset[str] = frozenset()  # abilities of the model (see `lethe.models.base.Model`)
    intent: str = ""  # what the authors claim; what is observed stands in the audit
    level: str = ""
    paper: str = ""
    requires: frozenset[str] = frozenset()  # parts of the request that may not be empty, e.g. "retain"
    variants: tuple[str, ...] = ()
    check: str = ""  # attacks: the line of the audit's checklist that they answer, e.g. "R3"
    evidence_class: str = ""  # attacks: "E1" to "E4"
    unit: str = ""  # attacks: what their strength is counted in
    fields: frozenset[str] = frozenset()  # attacks: what every forget record must hold, e.g. "paraphrased_question"
    budgets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)  # attacks: see `calls_at`
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)  # methods: options by name
    departs: Mapping[str, Any] = field(default_factory=dict, hash=False)  # methods: options that leave the paper
    expects: Mapping[str, Expectation] = field(default_factory=dict, hash=False)  # headlines: what figures must satisfy

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def file(self) -> str:
        """The file that the name resolves to."""
        return inspect.getsourcefile(inspect.unwrap(self.function)) or ""

    def options(self) -> dict[str, Option]:
        """Every option with type, default and help, from the signature and the docstring."""
        return options(self.function)

    def calls_at(self, budget: str) -> tuple[str, ...]:
        """The calls of an attack that a budget pays for, each `name:option=value,...`; () where it is too dear.

        `budgets` names the options of each call by the smallest budget that pays for them; a larger one that is not
        named repeats the next smaller. An attack without any is in standard and thorough with its defaults.
        """
        paid = self.budgets or {"standard": ("",)}
        reached = [name for name in BUDGETS[: BUDGETS.index(budget) + 1] if name in paid]
        return tuple(f"{self.name}:{options}".rstrip(":") for options in paid[reached[-1]]) if reached else ()

    def departure(self, given: Mapping[str, Any]) -> str:
        """`at=answer` where an option makes of it what the paper does not describe; nothing where none does."""
        return ", ".join(f"{name}={value}" for name, value in self.departs.items() if given.get(name) == value)


@dataclass(frozen=True)
class Option:
    """One keyword option of a registered function."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def type_name(self) -> str:
        """The annotation as a person would write it."""
        if typing.get_origin(self.type) is Literal:
            return " | ".join(map(str, typing.get_args(self.type)))
        return self.type.__name__ if isinstance(self.type, type) else str(self.type).replace("typing.", "")


def _decorator(kind: str) -> Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]:
    def decorate(
        *,
        families: Iterable[str] = (),
        needs: Iterable[str] = (),
        intent: Intent | Literal[""] = "",
        level: Level | Literal[""] = "",
        paper: str = "",
        requires: Iterable[str] = (),
        variants: Iterable[str] = (),
        check: str = "",
        evidence_class: str = "",
        unit: str = "",
        fields: Iterable[str] = (),
        budgets: Mapping[str, tuple[str, ...]] = types.MappingProxyType({}),
        presets: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({}),
        departs: Mapping[str, Any] = types.MappingProxyType({}),
        expects: Mapping[str, Expectation] = types.MappingProxyType({}),
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def attach(function: Callable[..., Any]) -> Callable[..., Any]:
            function.card = Card(  # pyright: ignore[reportFunctionMemberAccess]
                kind=kind,
                name=function.__name__,
                function=function,
                families=tuple(families),
                needs=frozenset(needs),
                intent=intent,
                level=level,
                paper=paper,
                requires=frozenset(requires),
                variants=tuple(variants),
                check=check,
                evidence_class=evidence_class,
                unit=unit,
                fields=frozenset(fields),
                budgets=dict(budgets),
                presets=dict(presets),
                departs=dict(departs),
                expects=dict(expects),
            )
            return function

        return attach

    return decorate


method = _decorator("method")
metric = _decorator("metric")
attack = _decorator("attack")
benchmark = _decorator("benchmark")
headline = _decorator("headline")


def names(kind: str) -> list[str]:
    """Registered names of a kind, built in and installed, sorted; imports none of them."""
    return sorted(_built_in(kind) | {point.name for point in _installed(kind, tuple(sys.path))})


def find(kind: str, name: str) -> Card:
    """The card behind a name.

    Raises:
        InputError: If no file and no entry point has that name (with the nearest one that exists), more than one has
            it, or what has it cannot be loaded.
    """
    known = names(kind)
    if name not in known:
        raise InputError(f"Unknown {kind} {name!r}{did_you_mean(name, known)}; `lethe list {kind}s` shows all.")
    points = [point for point in _installed(kind, tuple(sys.path)) if point.name == name]
    places = ["Lethe itself"] * (name in _built_in(kind)) + [_place(point) for point in points]
    if len(places) > 1:  # no package may stand in silently for what a table or a manifest names
        raise InputError(f"The {kind} {name!r} comes from {' and from '.join(places)}; uninstall all but one.")
    if points:
        return replace(_card(_load(points[0], kind), kind, name, _place(points[0])), name=name)
    module = importlib.import_module(f"lethe.{kind}s.{name}")
    return _card(getattr(module, name, None), kind, name, module.__name__)


def _built_in(kind: str) -> set[str]:
    package = importlib.import_module(f"lethe.{kind}s")
    return {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}


@functools.cache
def _installed(kind: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of a kind; reading them takes some 10 ms, so once per search path."""
    return tuple(entry_points(group=f"lethe.{kind}s"))


def _place(point: EntryPoint) -> str:
    return f"the package {point.dist.name} ({point.value})" if point.dist else point.value


def _load(point: EntryPoint, kind: str) -> Any:
    try:
        return point.load()
    except Exception as error:  # whatever another's package does when it is imported
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"The {kind} {point.name!r} of {_place(point)} cannot be loaded ({told}); mend or uninstall that package."
        ) from error


def _card(function: Any, kind: str, name: str, where: str) -> Card:
    card = getattr(function, "card", None)
    if not isinstance(card, Card) or card.kind != kind:
        raise InputError(f"{where} registers {name!r} as a {kind}, but holds no function decorated with @{kind}.")
    return card


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def options(function: Callable[..., Any]) -> dict[str, Option]:
    """Keyword options of a function: name, type, default, and the help line of its docstring's Args section."""
    help_lines = argument_help(inspect.getdoc(function) or "")
    found = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found[parameter.name] = Option(
                parameter.name, parameter.annotation, parameter.default, help_lines.get(parameter.name, "")
            )
    return found


def argument_help(docstring: str) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring as {name: text}."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.S | re.M)
    found: dict[str, str] = {}
    current = ""
    for line in section.group(1).splitlines() if section else ():
        if entry := re.match(r"\s{1,4}(\w+)(?: \([^)]*\))?: (.*)", line):
            current = entry.group(1)
            found[current] = entry.group(2).strip()
        elif current:
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def bind(function: Callable[..., Any], given: Mapping[str, Any], *, what: str = "") -> dict[str, Any]:
    """User input (strings from a command line, values from YAML) as checked keyword arguments.

    Raises:
        InputError: On an unknown option (with the nearest valid name), a value of the wrong type, or a required option
            that is not given.
    """
    known = options(function)
    what = what or getattr(function, "__name__", "function")
    if missing := [name for name, option in known.items() if option.required and name not in given]:
        raise InputError(f"{what} is not given {' and '.join(missing)}, which it cannot do without.")
    bound = {}
    for name, value in given.items():
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InputError(f"{what} has no option {name!r}{did_you_mean(name, known)}; {takes}.")
        bound[name] = convert(value, known[name].type, f"option {name!r} of {what}")
    return bound


def settle(card: Card, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a method that are not its defaults: what is given, over the preset that `preset` names, checked.

    Raises:
        InputError: If the method has no such preset (with the nearest that it has), or `bind` refuses an option.
    """
    given = dict(given)
    name = given.pop("preset", None) or ""
    if name and name not in card.presets:
        known = f"it has {', '.join(card.presets)}" if card.presets else "it has none"
        raise InputError(f"{card.name} has no preset {name!r}{did_you_mean(str(name), card.presets)}; {known}.")
    return bind(card.function, {**card.presets.get(name, {}), **given}, what=card.name)


def convert(value: Any, kind: Any, where: str) -> Any:
    """One value as the annotated type: bool, int, float, str, Literal, tuple[x, ...], unions of these.

    Raises:
        InputError: If the value cannot be that type without loss.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise InputError(f"{where} is {value!r}{did_you_mean(str(value), map(str, arguments))}; one of {arguments}.")
    if origin in (tuple, list):
        parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        return tuple(convert(part, arguments[0], where) for part in parts)
    if kind is bool:
        lowered = str(value).lower()
        if lowered in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            return lowered in ("true", "1", "yes", "on")
    elif kind in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is float or number == int(number):
                return kind(number)
        except (TypeError, ValueError, OverflowError):
            pass
    elif kind is str and isinstance(value, str):
        return value
    elif kind not in (bool, int, float, str):
        return value  # a rich type (a callable, an object): the function checks it
    raise InputError(f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r}.")


def _convert_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if type(None) in kinds and (value is None or value in ("none", "null")):
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    for kind in kinds:
        try:
            return convert(value, kind, where)
        except InputError:
            if kind is kinds[-1]:
                raise
    raise InputError(f"{where} may not be {value!r}.")


def parse_call(text: str) -> tuple[str, dict[str, str]]:
    """`name:key=value,key=value` (the form of lm-eval's model_args) as a name and its options.

    A part without an equals sign goes on with a list: `relearn:steps=5,10,20,lr=0.001`.

    Raises:
        InputError: If the first part after the colon is not key=value.
    """
    name, _, rest = text.partition(":")
    given: dict[str, str] = {}
    key = ""
    for part in filter(None, rest.split(",")):
        first, equals, value = part.partition("=")
        if equals:
            key = first.strip()
            given[key] = value.strip()
        elif key:
            given[key] += f",{part.strip()}"
        else:
            raise InputError(f"{text!r}: {part!r} must be key=value, as in {name}:{part}=1.")
    return name.strip(), given
