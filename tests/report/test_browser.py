"""The report in a real browser: it fetches nothing, and can be read on a phone, in the dark, without scripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from tests.report.example import costs, large

from lethe.report import write_report
from lethe.runs.results import Results

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
WIDE, PHONE = (1280, 900), (380, 800)
Show = Callable[..., webdriver.Chrome]


@contextmanager
def chromium(profile: Path, *, scripts: bool) -> Iterator[webdriver.Chrome]:
    """Headless Chromium with a profile of its own."""
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not chromedriver:
        pytest.skip("chromium and chromedriver are not both on the path")
    options = Options()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), scripts=True) as driver:
        yield driver


@pytest.fixture(scope="module")
def crowded(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with 20 methods and 25 columns."""
    many = large(results)
    return write_report(many, costs(many), tmp_path_factory.mktemp("crowded"))


@pytest.fixture
def show(browser: webdriver.Chrome, written: Path) -> Show:
    """Open the report at a size, light or dark."""

    def opened(size: tuple[int, int], *, dark: bool = False, path: Path = written / "report.html") -> webdriver.Chrome:
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        browser.get(path.as_uri())
        return browser

    return opened


def ask(driver: webdriver.Chrome, expression: str) -> Any:
    """The value of an expression, evaluated by the debugger: this works where the page's own scripts are off, too."""
    answer = driver.execute_cdp_cmd("Runtime.evaluate", {"expression": expression, "returnByValue": True})
    assert "exceptionDetails" not in answer, answer
    return answer["result"].get("value")


def box(driver: webdriver.Chrome, selector: str) -> dict[str, float]:
    return ask(driver, f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")


def requested(driver: webdriver.Chrome) -> set[str]:
    """Addresses asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}


def test_only_the_file_itself_is_asked_for_and_nothing_is_reported(show: Show, written: Path):
    requested(show(WIDE))  # what the browser does when it starts is not the page's doing
    driver = show(WIDE)
    ask(driver, "document.querySelectorAll('details').forEach(each => each.open = true)")
    assert {url for url in requested(driver) if not url.startswith("data:")} == {(written / "report.html").as_uri()}
    assert driver.get_log("browser") == []
    assert driver.title == "Lethe demo: three families"  # and not what an answer wanted it to be


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_the_verdict_comes_first(show: Show, size: tuple[int, int]):
    driver = show(size)
    assert ask(driver, "document.querySelector('h1').innerText").startswith(
        "None of 13 methods over 3 benchmarks reached removal"
    )
    title, badge = box(driver, "h1"), box(driver, ".badge")
    assert title["top"] < 100
    assert badge["bottom"] < size[1]  # the first method's verdict is on the first screen as well
    headings = ask(driver, "[...document.querySelectorAll('h1, h2')].map(each => each.innerText)")
    assert headings[1:5] == ["Verdict", "What an attacker gets back", "Checklist", "Scores against the control"]


def test_every_table_can_be_read(show: Show):
    driver = show(WIDE)
    rows = ask(driver, "[...document.querySelectorAll('.wide .scores:not(.checks)')].map(each => each.rows.length)")
    assert rows == [13, 8, 5]
    assert box(driver, "table.verdicts")["height"] > 300
    assert ask(
        driver, "[...document.querySelectorAll('svg.plot')].every(each => each.getBoundingClientRect().height > 100)"
    )
    closed = "document.querySelector('#answers details details table').checkVisibility()"
    assert ask(driver, closed) is False
    assert (
        ask(driver, f"document.querySelectorAll('#answers details').forEach(each => each.open = true); {closed}")
        is True
    )


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size", [PHONE, (768, 900), WIDE])
def test_the_page_never_scrolls_sideways(show: Show, written: Path, crowded: Path, size: tuple[int, int], many: bool):
    driver = show(size, path=crowded if many else written / "report.html")
    ask(driver, "document.querySelectorAll('details').forEach(each => each.open = true)")
    assert ask(driver, "document.documentElement.scrollWidth") <= size[0]
    assert ask(driver, "document.body.scrollWidth") <= size[0]


def test_a_wide_table_scrolls_under_its_first_column(show: Show, crowded: Path):
    driver = show(PHONE, path=crowded)
    place = "document.querySelector('#table .wide')"
    assert ask(driver, f"{place}.scrollWidth > 5 * {place}.clientWidth")
    head, cell = "#table .wide tbody th", "#table .wide tbody td"
    before = box(driver, head)["left"], box(driver, cell)["left"]
    ask(driver, f"{place}.scrollLeft = 1000")
    assert box(driver, head)["left"] == pytest.approx(before[0], abs=1)
    assert box(driver, cell)["left"] == pytest.approx(before[1] - 1000, abs=1)


def test_the_dark_is_dark_everywhere(show: Show):
    def colours(dark: bool) -> dict[str, str]:
        driver = show(WIDE, dark=dark)
        wanted = {"page": ("html", "backgroundColor"), "text": ("h1", "color"), "figure": ("svg.plot text", "fill")}
        wanted["cell"] = ("td.near", "backgroundColor")
        return {
            name: ask(driver, f"getComputedStyle(document.querySelector('{selector}')).{property}")
            for name, (selector, property) in wanted.items()
        }

    def brightness(colour: str) -> float:
        return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3

    light, dark = colours(False), colours(True)
    assert brightness(light["page"]) > 240 > 40 > brightness(dark["page"])
    assert brightness(light["text"]) < 60 < 200 < brightness(dark["text"])
    assert brightness(light["figure"]) < 120 < brightness(dark["figure"])
    assert brightness(light["cell"]) > 200 > 80 > brightness(dark["cell"])


@pytest.mark.parametrize("many", [False, True])
def test_labels_in_the_scatter_plots_do_not_overlap(show: Show, written: Path, crowded: Path, many: bool):
    driver = show(WIDE, path=crowded if many else written / "report.html")
    overlaps = ask(
        driver,
        """[...document.querySelectorAll('figure.scatter svg')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')]
            .map(t => ({name: t.textContent, ...t.getBoundingClientRect().toJSON()}))
        return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(b => a.name + ' / ' + b.name))
    })""",
    )
    assert overlaps == []


def test_print_shows_whole_tables_in_the_light(show: Show):
    driver = show(WIDE, dark=True)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert ask(driver, "document.querySelector('nav').checkVisibility()") is False
    assert ask(driver, "getComputedStyle(document.querySelector('html')).backgroundColor") == "rgb(255, 255, 255)"
    paper = 182 / 25.4 * 96  # the width of A4 between its margins, in CSS pixels
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": int(paper), "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    widths = ask(
        driver,
        """[...document.querySelectorAll('table')].filter(t => t.checkVisibility())
        .map(t => [t.caption.innerText, t.getBoundingClientRect().right])""",
    )
    assert len(widths) >= 12
    assert not [(caption, right) for caption, right in widths if right > paper + 1]
    folded = ask(
        driver,
        """[...document.querySelectorAll('.printed:has(table)')]
        .map(each => Math.max(...[...each.querySelectorAll('table')].map(t => t.getBoundingClientRect().height)))""",
    )
    # of three benchmarks the attacks and the weights; of two with several methods the checks and the loadings
    assert len(folded) == 10
    assert min(folded) > 50


def test_without_scripts_everything_is_there(written: Path, tmp_path: Path):
    probe = tmp_path / "probe.html"
    probe.write_text("<title>still</title><script>document.title = 'ran'</script>", encoding="utf-8")
    with chromium(tmp_path / "profile", scripts=False) as driver:
        driver.get(probe.as_uri())
        assert driver.title == "still"  # scripts are really off
        driver.get((written / "report.html").as_uri())
        assert box(driver, "h1")["height"] > 20
        assert ask(driver, "document.querySelectorAll('.wide .scores:not(.checks)').length") == 3
        summary = driver.find_element("css selector", "#answers summary")
        driver.execute_cdp_cmd(
            "Runtime.evaluate", {"expression": "document.querySelector('#answers').scrollIntoView()"}
        )
        summary.click()
        assert ask(driver, "document.querySelector('#answers details details summary').checkVisibility()") is True
