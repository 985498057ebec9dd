"""The page as text: complete, self-contained, escaped, the same bytes every time."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.report.example import SCRIPT, UNTESTED, costs

from lethe.findings import Check, Verdict
from lethe.report import load_folder, write_report
from lethe.runs.results import Results, Row

VOID = {"meta", "link", "br", "wbr", "img", "path", "circle", "use", "input", "hr"}
SECTIONS = [
    "verdict",
    "attackers",
    "checklist",
    "table",
    "tradeoff",
    "attacks",
    "answers",
    "methods",
    "cost",
    "environment",
]


class Page(HTMLParser):
    """A page's elements, after a check that they are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.shown: list[str] = []  # text outside <details>, <style> and <svg>
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element, near line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        if not {"details", "style", "svg"} & set(self.open):
            self.shown.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def parsed(page: str) -> Page:
    return Page(page)


def rendered(results: Results, folder: Path) -> str:
    return write_report(results, {}, folder).read_text(encoding="utf-8")


def alone(results: Results, **changes: object) -> Results:
    """One method, changed, as the only one of the only benchmark."""
    first = results.benchmarks[0]
    rows = [row for row in first.rows if row.role != "method"] + [
        replace(row, **changes) for row in first.rows if row.id == "rmu-seed1"
    ]
    return replace(results, benchmarks=(replace(first, rows=tuple(rows)),))


def test_the_sections_stand_in_their_order(page: str):
    places = [page.index(f'<section id="{name}"') for name in SECTIONS]
    assert places == sorted(places)


def test_the_same_results_give_the_same_bytes(results: Results, written: Path, tmp_path: Path):
    write_report(results, costs(results), tmp_path)
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_results_read_back_from_disk_give_the_same_bytes(results: Results, written: Path, tmp_path: Path):
    from dataclasses import asdict

    from lethe.data.atomic import write_json

    results.save(tmp_path)  # NaN and infinity become null on the way
    write_json(tmp_path / "cost.json", {name: asdict(cost) for name, cost in costs(results).items()})
    write_report(*load_folder(tmp_path), tmp_path)
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_nothing_is_fetched_and_nothing_runs(page: str, parsed: Page):
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "foreignobject"}
    assert [link["href"] for link in parsed.all("link")] == ["data:,"]
    handlers = [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert not handlers
    style = "".join(re.findall(r"<style>.*?</style>", page, re.S))
    assert "@import" not in style
    assert "url(" not in style
    outside = {attributes["href"] for attributes in parsed.all("a") if not attributes["href"].startswith("#")}
    assert outside
    assert all(re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", link) for link in outside)


def test_what_a_model_says_is_text(page: str):
    assert SCRIPT not in page
    assert "&lt;script&gt;document.title = &#39;taken over&#39;&lt;/script&gt;" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)


@pytest.mark.parametrize(
    "hostile", [SCRIPT, '" onload="x', "</title></svg><script>x</script>", "</style><script>", "{{ 7 * 7 }}"]
)
def test_every_string_of_the_results_is_escaped(results: Results, tmp_path: Path, hostile: str):
    """Also names: they reach attributes and figures."""
    check = Check(hostile, hostile, "E0", "NOT TESTED", reason=hostile)
    row = next(row for row in results.benchmarks[0].rows if row.id == "rmu-seed1")
    attack = replace(row.recoveries[0], attack=hostile, options={hostile: hostile}, measure=hostile, unit=hostile)
    strange = alone(
        results, id=hostile, method=hostile, options={hostile: hostile}, model=hostile, recoveries=(attack,),
        card=dict.fromkeys(("intent", "level", "paper", "summary"), hostile),
        verdict=Verdict(hostile, "suppression", "", hostile, (check,)),
    )  # fmt: skip
    table = replace(
        strange.benchmarks[0], name=hostile, split=hostile, family=hostile, source=hostile, note=hostile,
        request={"fingerprint": hostile, "scope": hostile, "intent": hostile, "reason": hostile, "forget": 4},
        items=({"id": hostile, "question": hostile, "truth": hostile},),
    )  # fmt: skip
    strange = replace(
        strange,
        title=hostile,
        command=hostile,
        benchmarks=(table,),
        environment={hostile: hostile},
        config={"a": hostile},
    )
    text = rendered(strange, tmp_path)
    found = Page(text)
    assert "script" not in {tag for tag, _ in found.elements}
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert "49" not in re.sub(r"[\d.]{3,}", "", "".join(found.shown))


def test_ids_are_unique_and_every_reference_has_its_end(page: str, parsed: Page):
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {href[1:] for tag in ("a", "use") for a in parsed.all(tag) if (href := a.get("href", "")).startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    for _, attributes in parsed.elements:
        wanted |= set(attributes.get("aria-labelledby", "").split())
    assert wanted <= set(ids)


def test_tables_and_figures_tell_what_they_are(parsed: Page):
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in parsed.all("th"))
    figures = [svg for svg in parsed.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(figures) >= 3
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in figures)
    assert all(region["aria-label"] for region in parsed.all("div") if region.get("role") == "region")


def test_figures_have_only_the_pages_colours(page: str):
    """Whatever is drawn follows light and dark: a colour of its own could not."""
    drawn = "".join(re.findall(r'<svg class="plot".*?</svg>', page, re.S))
    assert "var(--accent)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}\b", drawn)
    fonts = set(re.findall(r"font[-a-z]*:[^;\"]*", drawn))
    assert fonts
    assert all(re.fullmatch(r"font-size: [\d.]+px", font) for font in fonts)


def test_not_tested_is_never_hidden(parsed: Page):
    visible = re.sub(r"\s+", " ", "".join(parsed.shown))
    for identifier, reason in UNTESTED.items():
        assert visible.count(reason) == 3  # once per benchmark
        assert re.search(rf"Not tested: [^<]*{identifier}", visible)
    assert "Not tested: no attack was made on ga." in visible


def test_a_class_without_any_check_is_named_as_not_tested(results: Results, tmp_path: Path):
    verdict = Verdict("removal", "suppression", "E0", "s", (Check("B1", "title", "E0", "PASS"),))
    visible = re.sub(r"\s+", " ", "".join(Page(rendered(alone(results, verdict=verdict), tmp_path)).shown))
    for name in ("E1", "E2", "E3", "E4"):
        assert re.search(rf"{name} [^.]*: no check of this class was made", visible)


def test_a_method_that_was_not_audited_is_not_called_forgotten(results: Results, tmp_path: Path):
    visible = "".join(Page(rendered(alone(results, verdict=None, recoveries=()), tmp_path)).shown)
    assert "not audited" in visible
    assert "No audit was made of this model." in visible
    assert "no attack was made on rmu" in visible


def test_what_was_not_measured_is_a_dash_and_not_zero(page: str):
    row = page[page.index(">ga<", page.index('<section id="table"')) :]
    cells = re.findall(r"<td.*?</td>", row[: row.index("</tr>")], re.S)
    empty = [cell for cell in cells if "–</span>" in cell]
    assert len(empty) == 1
    assert "no finite value" in empty[0]
    assert not re.search(r"\d", re.sub(r"<[^>]*>", "", empty[0]))
    assert not re.search(r"\b(nan|inf|null)\b|None(?! of)", re.sub(r"<[^>]*>", " ", page[page.index("<body") :]))


def test_without_a_control_the_page_says_what_that_means(results: Results, tmp_path: Path):
    first = results.benchmarks[0]
    rows = tuple(row for row in first.rows if row.role != "control")
    visible = "".join(Page(rendered(replace(results, benchmarks=(replace(first, rows=rows),)), tmp_path)).shown)
    assert "No control was trained: nothing here can show removal." in visible
    assert "Without a control closeness cannot be told." in visible
    assert "σ" not in visible


@pytest.mark.parametrize("kept", [(), ("target",), ("control",), ("method",)])
def test_incomplete_results_still_make_a_page(results: Results, tmp_path: Path, kept: tuple[str, ...]):
    rows = tuple(row for row in results.benchmarks[0].rows if row.role in kept)
    bare: tuple[Row, ...] = tuple(
        replace(row, scores=(), recoveries=(), answers=(), card={}, options={}) for row in rows
    )
    first = replace(results.benchmarks[0], rows=rows)
    Page(rendered(replace(results, benchmarks=(first,)), tmp_path))
    Page(
        rendered(replace(results, benchmarks=(replace(first, rows=bare, columns=(), items=(), request={}),)), tmp_path)
    )


def test_a_run_of_nothing_still_makes_a_page(results: Results, tmp_path: Path):
    Page(rendered(replace(results, benchmarks=()), tmp_path))


def palette(page: str, dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", page, re.S)
    return {
        name: value
        for block in blocks[: 2 if dark else 1]
        for name, value in re.findall(r"(--[\w-]+): (#\w{6});", block)
    }


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(page: str, dark: bool):
    """WCAG 2 AA: 4.5 to 1 for text, 3 to 1 for marks."""
    colours = palette(page, dark)
    for ground in ("--paper", "--near", "--off", "--far"):
        assert contrast(colours["--ink"], colours[ground]) >= 7, ground
        assert contrast(colours["--muted"], colours[ground]) >= 4.5, ground
    for text in ("--accent", "--control", "--warn", "--bad"):
        assert contrast(colours[text], colours["--paper"]) >= 4.5, text
    assert contrast(colours["--floor"], colours["--paper"]) >= 3
    for shade in range(6):  # of the map: numbers stand on it in the page's ink, on the last two in that of its paper
        ink = colours["--ink" if shade < 4 else "--paper"]
        assert contrast(ink, colours[f"--shade-{shade}"]) >= 4.5, shade
    for series in range(1, 7):
        assert contrast(colours[f"--series-{series}"], colours["--paper"]) >= 3, series


@pytest.mark.parametrize("dark", [False, True])
def test_shades_of_the_map_are_in_order_whatever_one_sees_of_colour(page: str, dark: bool):
    """One hue, lightness alone tells more from less: it is left on paper without colour, and to any eye."""
    colours = palette(page, dark)
    lights = [luminance(colours[f"--shade-{shade}"]) for shade in range(6)]
    assert lights == sorted(lights, reverse=not dark)
    assert all(contrast(colours[f"--shade-{i}"], colours[f"--shade-{i + 1}"]) >= 1.05 for i in range(5))
