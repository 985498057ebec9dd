"""Pages made from the code while the site is built, so that a new module or method needs no entry anywhere."""

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lethe.registry import Card, find, names
from lethe.runs.catalogue import describe

SOURCE = Path(__file__).parent.parent / "src"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/<module>.md for every module of the package, and the page that lists them."""
    paths = [path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")]
    modules = sorted(".".join(path.parts) for path in paths if not path.name.startswith("_"))
    listed = ["# Reference", ""]
    for module in modules:
        page = module.removeprefix("lethe.") + ".md"
        listed.append(f"- [`{module}`]({page})")
        files.append(File.generated(config, f"reference/{page}", content=f"# `{module}`\n\n::: {module}\n"))
    files.append(File.generated(config, "reference/index.md", content="\n".join(listed)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the tables of methods and choices where a page asks for them."""
    return markdown.replace("<!-- methods -->", "\n".join(tables()))


def tables() -> Iterator[str]:
    """Every choice of the axes, every objective, every other method."""
    for axis in ("where", "step", "retain"):
        yield from ("", f"### {axis}", "", f"| `{axis}` | Options | What it is |", "|---|---|---|")
        for choice in describe(axis)["choices"]:
            options = ", ".join(f"`{one['name']}={one['default']}`" for one in choice["options"])
            yield f"| `{choice['id']}` | {options} | {plain(choice['summary'])} {plain(choice['cost'])} |"
    cards = [find("method", name) for name in names("method")]
    objectives = [card for card in cards if "where" in card.options()]
    for title, shown in (
        ("Objectives", objectives),
        ("Edits, guards, retraining", [c for c in cards if c not in objectives]),
    ):
        yield from (
            "",
            f"### {title}",
            "",
            "| Method | Families | Own options | Presets | What it is |",
            "|---|---|---|---|---|",
        )
        yield from map(row, shown)


def row(card: Card) -> str:
    """One method; its own options are those that no other objective has from the axes and the recipe."""
    shared = set(find("method", "finetune").options()) | {"retain", "retain_weight"}
    own = [f"`{name}={option.default}`" for name, option in card.options().items() if name not in shared]
    paper = f" ([{card.paper}](https://arxiv.org/abs/{card.paper}))" if card.paper else ""
    families = ", ".join(card.families) or "all"
    cells = (
        f"`{card.name}`",
        families,
        ", ".join(map(plain, own)),
        ", ".join(card.presets),
        plain(card.summary) + paper,
    )
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Text that does not end a table's cell."""
    return text.replace("|", "\\|")
