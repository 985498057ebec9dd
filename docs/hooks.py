"""Reference pages made from the docstrings while the site is built, so that a new module needs no entry anywhere."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

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
