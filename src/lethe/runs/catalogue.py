"""What is registered, as rows for `lethe list` and `lethe describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lethe.errors import InputError
from lethe.registry import KINDS, Card, did_you_mean, find, names
from lethe.runs.axes import PLURALS, SUMMARY, axis_choices, axis_description

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

FAMILY_LINES = {
    "language": "Causal language models: any AutoModelForCausalLM folder or hub id (safetensors).",
    "classifier": "Image and tabular classifiers: small networks, AutoModelForImageClassification folders, ResNets and "
    "ViTs of timm.",
    "recommender": "Recommenders over implicit feedback: matrix factorisation, graph and multi-modal networks.",
}


def catalogue(kind: str) -> list[dict[str, str]]:
    """All entries of a kind: id, family, intent, level, paper, one line; of an axis: its choices.

    Raises:
        InputError: On an unknown kind.
    """
    if kind == "models":
        return [{"id": name, "summary": line} for name, line in FAMILY_LINES.items()]
    if kind in PLURALS:
        return [
            {"id": choice["id"], "paper": f"arXiv {choice['paper']}" if choice["paper"] else "",
             "summary": " ".join(filter(None, (choice["summary"], choice["cost"])))}
            for choice in axis_choices(PLURALS[kind])
        ]  # fmt: skip
    singular = kind.removesuffix("s")
    if singular not in KINDS:
        known = [*(f"{one}s" for one in KINDS), "models", "where", "steps", "retain"]
        raise InputError(f"There is no list of {kind!r}{did_you_mean(kind, known)}; one of {', '.join(known)}.")
    return [_listed(singular, name) for name in names(singular)]


def _listed(kind: str, name: str) -> dict[str, str]:
    try:
        return _row(find(kind, name))
    except InputError as error:  # a package that is broken says so in its own row and hides no other
        return {"id": name, "family": "", "intent": "", "level": "", "paper": "", "summary": str(error)}


def _row(card: Card) -> dict[str, str]:
    return {
        "id": card.name,
        "family": ", ".join(card.families) or ("" if card.kind == "headline" else "all"),
        "intent": card.intent,
        "level": card.level,
        "paper": f"arXiv {card.paper}" if card.paper else "",
        "summary": card.summary,
    }


def describe(name: str) -> dict[str, Any]:
    """One registered thing, or an axis of choices, with its file, its docstring and all its options.

    Raises:
        InputError: If nothing of any kind has that name.
    """
    if name in PLURALS:
        axis = PLURALS[name]
        return {"kind": "axis", "id": axis, "summary": SUMMARY[axis], "choices": axis_choices(axis)}
    for kind in KINDS:
        if name in names(kind):
            card = find(kind, name)
            return {
                "kind": kind,
                **_row(card),
                "needs": sorted(card.needs),
                "requires": sorted(card.requires),
                "variants": list(card.variants),
                "presets": {name: {k: _shown(v) for k, v in given.items()} for name, given in card.presets.items()},
                "expects": {figure: f"{sign} {value:g}" for figure, (sign, value) in card.expects.items()},
                "file": card.file,
                "options": [
                    {
                        "name": o.name,
                        "type": o.type_name,
                        "default": "required" if o.required else _shown(o.default),
                        "help": o.help,
                    }
                    for o in card.options().values()
                ],
            }
    known = [*SUMMARY, *(known for kind in KINDS for known in names(kind))]
    raise InputError(f"Nothing is called {name!r}{did_you_mean(name, known)}.")


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def listing(rows: list[dict[str, str]]) -> Text:
    """The rows for a terminal of any width: the facts on one line, the summary below."""
    from rich.text import Text

    shown = Text()
    for row in rows:
        facts = [row[name] for name in ("family", "intent", "level", "paper") if row.get(name)]
        shown.append(row["id"], style="bold")
        shown.append(f"  {' · '.join(facts)}\n" if facts else "\n", style="dim")
        shown.append(f"    {row['summary']}\n")
    return shown


def description(facts: dict[str, Any]) -> Group:
    """One entry for the terminal."""
    if facts["kind"] == "axis":
        return axis_description(facts)
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text(f"{facts['id']} ({facts['kind']})\n{facts['summary']}\n", style="bold")
    lines = [f"{key}: {facts[key]}" for key in ("family", "intent", "level", "paper", "file") if facts[key]]
    lines += [f"{key}: {', '.join(facts[key])}" for key in ("needs", "requires", "variants") if facts[key]]
    for name, given in facts["presets"].items():
        lines.append(f"preset {name}: {', '.join(f'{option}={value}' for option, value in given.items())}")
    lines += [f"expects {figure} {bound}" for figure, bound in facts["expects"].items()]
    options = Table(box=None, pad_edge=False)
    for name in ("option", "default", "type", "help"):
        options.add_column(name, overflow="fold")
    for option in facts["options"]:
        options.add_row(option["name"], str(option["default"]), option["type"], option["help"])
    return Group(head, Text("\n".join(lines) + "\n"), options)
