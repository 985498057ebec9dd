"""Matplotlib figures as SVG that belongs to the page: its colours, its font, its own ids, the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A figure is drawn in these colours, and each then becomes the page's custom property of that name, which is another
# one in the dark. They are told apart by their last byte; what they look like matters to nobody.
INK, MUTED, RULE, PAPER, ACCENT, CONTROL, FLOOR, WARN, *SERIES = (f"#0a0b{byte:02x}" for byte in range(0x10, 0x1E))
PROPERTY = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper", ACCENT: "--accent", CONTROL: "--control",
    FLOOR: "--floor", WARN: "--warn", **{colour: f"--series-{i}" for i, colour in enumerate(SERIES, 1)},
}  # fmt: skip

STYLE = {
    "svg.hashsalt": "lethe",
    "svg.fonttype": "none",  # real text: it can be read aloud and searched, and is set in the page's font
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib and is wider than what browsers use: labels keep clear
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1,
    "axes.unicode_minus": True,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "figure.dpi": 72,  # one unit of the drawing is one pixel
}


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in pixels, in the page's style and on no window system."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's matplotlibrc says
        mpl.rcParams.update(STYLE)  # pyright: ignore[reportArgumentType, reportCallIssue]
        figure = Figure(figsize=(width / 72, height / 72), layout=None)
        FigureCanvasAgg(figure)
        yield figure


def inline(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an `<svg>` element with a title and a description; `name` keeps its ids apart from all others'."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", text[text.index("<svg") :], flags=re.S)
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"\s*<defs>\s*</defs>", "", body)
    used = set(re.findall(r"#([\w-]+)\)?\"", body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", body).replace("xlink:href", "href")
    for colour, variable in PROPERTY.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)  # the family is the page's
    body = re.sub(r"font-family: [^;\"]*(; )?", "", body)
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), body)  # a hundredth of a pixel will do
    body = re.sub(r"\n\s*|\s*\n", "\n", body).strip()
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    return Markup(
        f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-desc" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">\n<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-desc">{escape(description)}</desc>\n{body}\n</svg>'
    )
