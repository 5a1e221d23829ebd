"""The report in a browser: drawn, copied, printed, narrow, by keyboard, without scripts, with hostile names,
and large.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.browser import Opened, opened
from tests.helpers.results import contrast, dose, results, study
from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.reporting.page.report import Report, Section
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

pytestmark = pytest.mark.slow
pytest.importorskip("plotly")
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1; alert(1)'>",
    '"><svg onload=alert(1)>',
    '<a href="javascript:window.hacked=1">click</a>',
    "<b style='position:fixed;inset:0'>bold</b>",
    "{{ 7 * 7 }} ${alert(1)} `x`",
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    Report("What sorts?", *results(), fbn.papers.s1.settings, intro="A page.").save(path)
    return path


def drawn(seen: Opened) -> Any:
    seen.page.wait_for_function("document.documentElement.dataset.drawn === 'all'", timeout=60_000)
    return seen.page


def is_quiet(seen: Opened) -> bool:
    assert seen.complaints == [] and seen.requests == []
    return True


def test_every_figure_is_drawn_and_not_blank(page_file: Path) -> None:
    with opened(page_file) as seen:
        page = drawn(seen)
        n = page.locator(".plot").count()
        assert n >= len(results())
        assert page.evaluate("[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))")
        page.locator("#plot-1").scroll_into_view_if_needed()
        assert len(np.unique(seen.pixels("#plot-1").reshape(-1, 3), axis=0)) > 20
        assert is_quiet(seen)


def test_without_an_intersection_observer_all_is_drawn(page_file: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.html"
    html = page_file.read_text("utf-8")
    nonce = re.search("script-src 'nonce-([^']+)'", html)
    assert nonce
    gone = f'<script nonce="{nonce[1]}">delete window.IntersectionObserver; delete window.requestIdleCallback;</script>'
    old.write_text(html.replace("</header>", f"</header>{gone}", 1), "utf-8")
    with opened(old) as seen:
        page = drawn(seen)
        assert page.locator(".plot .main-svg").count() >= page.locator(".plot").count()
        assert is_quiet(seen)


def test_tables_are_copied_tab_separated(page_file: Path) -> None:
    with opened(page_file, permissions=["clipboard-read", "clipboard-write"]) as seen:
        page = drawn(seen)
        button = page.get_by_role("button", name="Copy table 2", exact=True)
        page.locator("details:has(#table-2)").evaluate("details => details.open = true")
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('said').textContent === 'Copied'")
        lines = page.evaluate("navigator.clipboard.readText()").splitlines()
        cells = page.evaluate(
            "[...document.getElementById('table-2').rows].map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert [line.split("\t") for line in lines] == cells
        page.get_by_role("button", name="Copy the methods text").click()
        page.wait_for_timeout(200)
        assert "degrees of freedom" in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(("command", "says"), [(True, "Copied"), (False, "Selected: press Ctrl+C")])
def test_where_the_clipboard_is_refused_the_old_way_or_a_selection_serves(
    page_file: Path, command: bool, says: str
) -> None:
    with opened(page_file) as seen:
        page = drawn(seen)
        page.evaluate(
            """command => {
                Object.defineProperty(navigator, "clipboard", { value: { writeText: () => Promise.reject(new Error("no")) } });
                document.execCommand = () => { window.taken = document.activeElement.value; return command; };
                for (const details of document.querySelectorAll("details")) details.open = true;
            }""",
            command,
        )
        button = page.get_by_role("button", name="Copy table 1", exact=True)
        button.click()
        page.wait_for_function("words => document.getElementById('said').textContent === words", arg=says)
        assert page.evaluate("window.taken").startswith("layer\tunit\teffect")
        assert page.locator("textarea").count() == 0
        assert page.evaluate("document.activeElement.className") == "copy"
        assert bool(page.evaluate("getSelection().toString()")) is not command


def test_cells_that_a_spreadsheet_would_run_are_quoted(tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    Report("R", pd.DataFrame({"token": ["=1+1", "@x", "-ing", "-0.5", "+3"]}), provenance=False).save(path)
    with opened(path, permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.get_by_role("button", name="Copy table 1").click()
        seen.page.wait_for_timeout(200)
        assert seen.page.evaluate("navigator.clipboard.readText()").splitlines()[1:] == [
            "'=1+1",
            "'@x",
            "'-ing",
            "-0.5",
            "+3",
        ]


def test_nothing_is_cut_on_paper(page_file: Path) -> None:
    with opened(page_file, width=672) as seen:  # what A4 leaves within its margins
        page = drawn(seen)
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        over = page.evaluate(
            """[...document.querySelectorAll("table, .plot svg, p, h2")].filter(item => item.getBoundingClientRect().right > innerWidth + 1)
                .map(item => item.id || item.className.baseVal || item.tagName)"""
        )
        assert over == []
        assert page.locator("button:visible").count() == 0 and page.locator(".skip:visible").count() == 0
        assert page.evaluate(
            "[...document.querySelectorAll('details')].every(d => d.open || d.querySelectorAll('tr').length >= 60)"
        )
        fonts = page.evaluate(
            "[...document.querySelectorAll('td')].map(cell => parseFloat(getComputedStyle(cell).fontSize))"
        )
        assert min(fonts) > 5  # pixels; small, and legible on paper
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0
        assert len(page.pdf(format="A4")) > 10_000


def test_printing_before_anything_is_drawn_draws_all(page_file: Path) -> None:
    with opened(page_file) as seen:
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert seen.page.evaluate(
            "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
        )


def test_a_narrow_screen_scrolls_only_inside_boxes(page_file: Path) -> None:
    with opened(page_file, width=390, height=800, has_touch=True) as seen:
        page = drawn(seen)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for details in page.locator("details").all():
            details.evaluate("details => details.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        wide = page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1).length"
        )
        assert wide > 0
        assert is_quiet(seen)


def test_the_page_is_used_by_keyboard(page_file: Path) -> None:
    with opened(page_file) as seen:
        page = drawn(seen)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.closest('section').id")
        assert first == "section-1"
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("details").first.evaluate("details => details.open")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "copy"


def test_without_scripts_everything_can_be_read(page_file: Path) -> None:
    with opened(page_file, java_script_enabled=False) as seen:
        page = seen.page
        assert page.get_by_text("The picture needs scripts; its numbers are in the table below.").first.is_visible()
        assert page.locator("button:visible").count() == 0
        assert page.locator(".plot").first.bounding_box()["height"] < 100  # no hole in the page
        page.locator("summary").first.click()
        assert page.locator("#table-1").is_visible()
        assert page.get_by_role("heading", name="Methods").is_visible()


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    space = UnitSpace("mlp.neurons", (8, 8), model=HOSTILE[0])
    networks = {name: Network.from_indices(space, [i, i + 8], name=name) for i, name in enumerate(HOSTILE)}
    rng = np.random.default_rng(0)
    atlas = Atlas(space, networks, None, rng.random(6), {"method": HOSTILE[1], HOSTILE[2]: HOSTILE[3]}, rng.random(6))
    test = Contrast(
        space, HOSTILE[3], "block", rng.normal(size=16), np.ones(16), 20.0, (0,), {1: HOSTILE[1]}, {"noise": HOSTILE[2]}
    )
    maps = {name: UnitMap(space, rng.normal(size=16), HOSTILE[i % 6]) for i, name in enumerate(HOSTILE)}
    lesioned = study().to_dataframe().replace({"sort": HOSTILE[1], "add": HOSTILE[3]})
    table = pd.DataFrame(dict.fromkeys(HOSTILE, HOSTILE))
    events = pd.DataFrame({"onset": [0, 10], "duration": 10, "trial_type": [HOSTILE[0], HOSTILE[1]]})
    rows = pd.DataFrame(
        {"prompt": 0, "position": range(20), "token": [HOSTILE[i % 6] for i in range(20)], "trial_type": HOSTILE[0]}
    )
    recording = fbn.Recording.from_arrays(
        [[rng.normal(size=(20, 8))] * 2], events=[events], rows=[rows], model=HOSTILE[0]
    )
    courses = fbn.networks.time_courses(recording, networks)
    path = tmp_path / "hostile.html"
    written = Section(HOSTILE[0], "\n\n".join(HOSTILE), figure=maps, table=table)
    Report(HOSTILE[0], recording, courses, test, atlas, maps, lesioned, written, intro=HOSTILE[1]).save(path)
    with opened(path) as seen:
        page = drawn(seen)
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main b, .plot img").count() == 0
        links = page.evaluate(
            "[...document.querySelectorAll('a')].map(a => a.getAttribute('href') ?? a.getAttribute('xlink:href') ?? '')"
        )
        assert all(link.startswith("#") for link in links)
        assert page.evaluate(
            "[...document.querySelectorAll('*')].every(item => ![...item.attributes].some(a => a.name.startsWith('on')))"
        )
        assert HOSTILE[1] in page.locator("main").text_content()
        assert is_quiet(seen)


def test_four_hundred_thousand_units_stay_under_seven_megabytes(tmp_path: Path, unchecked: None) -> None:
    rng = np.random.default_rng(0)
    space = UnitSpace("mlp.neurons", (11008,) * 36, model="large")
    test = Contrast(
        space,
        "a - b",
        "block",
        rng.normal(size=space.n_units),
        np.ones(space.n_units),
        30.0,
        (0, 1),
        {},
        {"noise": "ar1"},
    )
    maps = rng.normal(size=(16, space.n_units)).astype(np.float32)
    atlas = Atlas(
        space, {f"N{i:02d}": Network(space, np.abs(one) > 3, name=f"N{i:02d}") for i, one in enumerate(maps)}, maps
    )
    scores = UnitMap(space, np.abs(rng.normal(size=space.n_units)), "attribution", {})
    path = tmp_path / "large.html"
    Report("Large", test, scores, test.z, atlas, study(), dose(), contrast(noise="ar1")).save(path)
    assert path.stat().st_size < 7_000_000
    with opened(path) as seen:
        page = seen.page
        work = page.context.new_cdp_session(page)
        work.send(
            "Performance.enable", {"timeDomain": "threadTicks"}
        )  # processor time: other work on the machine does not count
        page.reload()
        drawn(seen)
        spent = {one["name"]: one["value"] for one in work.send("Performance.getMetrics")["metrics"]}["TaskDuration"]
        assert spent < 4.0  # 1.7 s where it was measured; 2 s is the aim on one's own machine
        assert is_quiet(seen)
