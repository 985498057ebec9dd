"""A page that stands once as HTML and once as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lethe.data.atomic import write_text
from lethe.report import html, markdown


def write_pages(template: str, told: Mapping[str, Any], folder: str | Path, name: str = "") -> Path:
    """Write `NAME.html` and `NAME.md` from the templates of that name; the same content gives the same bytes.

    Args:
        template: The templates' name.
        told: What they say.
        folder: Where to write.
        name: Name of the files; the template's where none is given.

    Returns:
        The path of the HTML page.

    Raises:
        InputError: If the folder cannot be written to.
    """
    page = markdown.environment().get_template(f"{template}.md.j2").render(told)
    write_text(Path(folder) / f"{name or template}.md", page.rstrip() + "\n")
    page = html.environment().get_template(f"{template}.html.j2").render(told)
    return write_text(Path(folder) / f"{name or template}.html", page)
