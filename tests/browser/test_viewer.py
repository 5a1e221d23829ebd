"""The viewer in a real browser: known numbers behind every control, by keys and by pointer, wide and narrow, hostile
and silent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.browser import opened
from tests.helpers.figures import HOSTILE
from tests.helpers.recordings import blocks
from tl_fbn.reporting.viewer.viewer import view
from tl_fbn.units import Network, UnitMap, UnitSpace

pytestmark = pytest.mark.slow

WIDTHS, ROWS = (3000, 2000), 400
SPACE = UnitSpace("mlp.neurons", WIDTHS)
FIRST, SECOND = [10, 11, 12, 3500], [11, 12, 2999]
COURSES = {10: 2.0, 11: 4.0, 12: 6.0, 3500: 8.0, 2999: -3.0}  # activation in blocks of b; 0 in those of a
VALUES = {10: 5.0, 11: 4.0, 12: 3.0, 3500: -8.0, 2999: 2.0}


def in_b() -> np.ndarray:
    return np.repeat([0, 1] * 4, 50).astype(float)


def save(path: Path, **options) -> None:
    """Two runs, two networks that share two units, one map, tokens that are markup."""
    values = np.zeros((ROWS, SPACE.n_units), np.float32)
    for unit, height in COURSES.items():
        values[:, unit] = height * in_b()
    tokens = [HOSTILE if row == 0 else f"\u0120w{row}" for row in range(ROWS)]
    flags = ["bos" if row % 25 == 0 else "" for row in range(ROWS)]
    rows = pd.DataFrame(
        {"prompt": np.arange(ROWS) // 25, "position": np.arange(ROWS) % 25, "token": tokens, "flags": flags}
    )
    run = [values[:, : WIDTHS[0]], values[:, WIDTHS[0] :]]
    recording = fbn.Recording.from_arrays([run, run], events=[blocks(["a", HOSTILE] * 4, 50)] * 2, rows=[rows, rows])
    scores = np.zeros(SPACE.n_units)
    scores[list(VALUES)] = list(VALUES.values())
    networks = {"first": Network.from_indices(SPACE, FIRST), HOSTILE: Network.from_indices(SPACE, SECOND)}
    view(recording, networks, maps={"first": UnitMap(SPACE, scores, "z")}, title=HOSTILE, max_units=5, **options).save(
        path
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("viewer") / "page.html"
    save(found)
    return found


def text(page, selector: str) -> str:
    return page.inner_text(selector).strip()


def settled(page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def colours(pixels: np.ndarray) -> tuple[int, int]:
    """How many pixels are clearly red and clearly blue."""
    red, _, blue = pixels.astype(int).transpose(2, 0, 1)
    return int((red - blue > 60).sum()), int((blue - red > 60).sum())


def test_it_opens_silently_and_shows_the_first_network(path: Path) -> None:
    with opened(path, height=800) as seen:
        page = seen.page
        settled(page)
        assert page.inner_text("h1") == HOSTILE and not page.locator("b:text('bold')").count()
        assert text(page, "#list [aria-selected=true] .name") == text(page, "#course-name") == "first"
        assert "layer 0 unit 10: z 5; in first; course kept" in text(page, "#cell")
        assert page.locator("#text .token").first.inner_text() == HOSTILE
        assert 100 < page.locator("#text .token").count() <= 300  # of 800 rows
        red, blue = colours(seen.pixels("#map"))
        assert red > 50 and blue > 50  # single units among thousands are drawn
        assert colours(seen.pixels("#course"))[1] > 50  # blue bands of the first condition
        assert seen.complaints == [] and seen.requests == []


def test_words_stand_beside_the_unit_and_stay_text(tmp_path: Path) -> None:
    save(tmp_path / "p.html", promoted=pd.DataFrame({"layer": [0], "unit": [10], "promotes": [HOSTILE]}))
    with opened(tmp_path / "p.html") as seen:
        page = seen.page
        settled(page)
        assert text(page, "#cell").endswith(f"in first; course kept; promotes {HOSTILE}")
        page.fill("#unit", "0 10")
        page.keyboard.press("Enter")
        assert text(page, "#course-what") == f"activation; promotes {HOSTILE}"
        assert not page.locator("b:text('bold')").count() and seen.complaints == []


def test_the_threshold_leaves_the_known_number_of_units(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        assert text(page, "#survive") == "5,000 of 5,000 units, 4 in first"
        for level, words in (("2.5", "4 of 5,000 units, 4 in first"), ("4.5", "2 of 5,000 units, 2 in first")):
            page.fill("#level", level)
            assert text(page, "#survive") == words
        settled(page)
        red, blue = colours(seen.pixels("#map"))
        page.locator("#slider").focus()
        page.keyboard.press("End")  # |value| >= 8: the one negative unit
        assert text(page, "#survive") == "1 of 5,000 units, 1 in first"
        settled(page)
        assert colours(seen.pixels("#map"))[0] == 0 < red and colours(seen.pixels("#map"))[1] == blue
        page.keyboard.press("Home")
        page.keyboard.press("]")
        assert text(page, "#survive") == "5 of 5,000 units, 4 in first"


def test_picking_a_network_changes_course_overlap_and_colours(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        page.focus("#course-over")
        page.keyboard.press("PageDown")
        assert text(page, "#row").startswith("row 50 (row 50 of run 0)") and "activation 5" in text(page, "#row")
        page.click("#list li >> nth=1")
        assert "activation 2.333" in text(page, "#row")  # (4 + 6 - 3) / 3
        dice = 2 * 2 / 7
        expected = 2 * (3 * 3 / 3000) / 7
        assert text(page, "#list li >> nth=0").endswith(f"{dice:.2f} ({expected:.2f})")
        here, before = (
            page.eval_on_selector(f"#text [data-row='{row}']", "span => getComputedStyle(span).backgroundColor")
            for row in (50, 49)
        )
        assert here != before
        page.keyboard.press("1")
        assert text(page, "#course-name") == "first"


def test_a_unit_is_picked_by_click_by_keys_and_by_name(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        page.focus("#map-over")
        page.keyboard.press("ArrowRight")
        assert text(page, "#cell").startswith("layer 0 unit 11: z 4; in first, ")
        page.keyboard.press("Enter")
        assert text(page, "#course-name") == "layer 0 unit 11"
        page.keyboard.press("End")
        assert text(page, "#cell").startswith("layer 0 unit 2999: z 2")
        page.focus("#text")
        page.keyboard.press("End")
        assert text(page, "#row").startswith("row 799 (row 399 of run 1)") and "activation 4" in text(page, "#row")
        page.keyboard.press("/")
        page.keyboard.type("1 500")
        page.keyboard.press("Enter")
        assert text(page, "#course-name") == "layer 1 unit 500" and "activation 8" in text(page, "#row")
        page.keyboard.press("/")
        page.keyboard.type("1 7")
        page.keyboard.press("Enter")
        assert "units=[(1, 7)]" in text(page, "#course-note") and "activation" not in text(page, "#row")
        page.keyboard.press("/")
        page.keyboard.type("1 2000")
        page.keyboard.press("Enter")
        assert text(page, "#goto-error") == "Layer 1 has units 0 to 1999."
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        assert text(page, "#course-name") == "first" and not page.locator("#course-note").is_visible()
        box = page.locator("#map-over").bounding_box()  # layer 1 is the upper half; unit 500 at 500 of 3000
        page.mouse.click(box["x"] + 34 + (box["width"] - 38) * 500.5 / 3000, box["y"] + 30)
        assert text(page, "#course-name") == "layer 1 unit 500"  # the strongest unit under the pointer
        page.keyboard.press("u")
        assert text(page, "#course-name") == "layer 0 unit 10"  # next in strength
        assert seen.complaints == []


def test_zooming_in_shows_single_units_and_rows(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        page.focus("#map-over")
        for _ in range(9):
            page.keyboard.press("+")
        settled(page)
        pixels = seen.pixels("#map")
        upper, lower = pixels[4 : len(pixels) // 2 - 14, 40:-6], pixels[len(pixels) // 2 : -26, 40:-6]
        assert colours(lower)[0] > 3 * 0.5 * lower[..., 0].size / 16 and colours(upper) == (0, 0)  # 3 of 16 units
        page.keyboard.press("0")
        box = page.locator("#course-over").bounding_box()
        page.mouse.move(box["x"] + 54, box["y"] + 40)
        for _ in range(30):
            page.mouse.wheel(0, -100)
        settled(page)
        page.mouse.click(box["x"] + 54 + 3.5 * (box["width"] - 58) / 16, box["y"] + 40)  # 16 rows are left
        assert text(page, "#row").startswith("row 3 ")
        page.mouse.down()
        page.mouse.move(box["x"] + 54, box["y"] + 40, steps=4)
        page.mouse.up()
        page.mouse.click(box["x"] + 54 + 0.25 * (box["width"] - 58) / 16, box["y"] + 40)
        assert text(page, "#row").startswith("row 3 ")  # what was under the hand came along
        assert seen.complaints == []


def test_hovering_a_token_moves_the_cursor_and_clicking_jumps(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        for _ in range(3):
            page.click("[data-do='rows-in']")
        page.hover("#text [data-row='7']")
        assert text(page, "#row").startswith("row 7 ") and "w7" in text(page, "#text .here")
        page.focus("#course-over")
        page.keyboard.press("End")
        last = page.locator("#text [data-row='799']")
        assert "here" in last.get_attribute("class") and page.locator("#text .token").count() <= 300
        page.evaluate("() => { const text = document.getElementById('text'); text.scrollTop = 0; }")
        settled(page)
        settled(page)
        assert page.locator("#text [data-row='500']").count() == 1  # the window follows the scroll bar
        page.locator("#text [data-row='505']").click()
        assert text(page, "#row").startswith("row 505 (row 105 of run 1)")


def test_keys_are_shown_and_leave_typing_alone(path: Path) -> None:
    with opened(path) as seen:
        page = seen.page
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("2")
        assert text(page, "#list [aria-selected=true] .name") == "first"
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        page.keyboard.press("ArrowDown")
        assert text(page, "#list [aria-selected=true] .name") == HOSTILE
        page.keyboard.press("/")
        page.keyboard.type("1")
        assert text(page, "#list [aria-selected=true] .name") == HOSTILE
        page.keyboard.press("Escape")
        page.keyboard.press("m")
        assert page.input_value("#map-choice") == "0"
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("() => document.activeElement.id"))
        wanted = {
            "list",
            "unit",
            "kept",
            "map-choice",
            "slider",
            "level",
            "map-over",
            "outlines",
            "course-over",
            "text",
        }
        assert wanted <= set(reached)
        page.focus("#map-over")
        page.keyboard.press("ArrowRight")
        assert page.eval_on_selector("#map-over", "one => getComputedStyle(one).outlineStyle") == "solid"


def test_a_narrow_screen_stacks_and_scrolls_nothing_sideways(path: Path) -> None:
    with opened(path, width=390, height=800, has_touch=True) as seen:
        page = seen.page
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        tops = [page.locator(one).bounding_box()["y"] for one in ("#networks", "#map", "#course", "#text")]
        assert tops == sorted(tops)
        page.tap("#list li >> nth=1")
        assert "activation" in text(page, "#row") and text(page, "#course-name") == HOSTILE
        page.tap("#help-button")
        assert page.locator("#help").is_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert seen.complaints == [] and seen.requests == []


def test_without_scripts_it_says_what_it_holds(path: Path) -> None:
    with opened(path, java_script_enabled=False) as seen:
        assert "scripts are switched off" in text(seen.page, "body")
        assert seen.page.locator("tbody tr").count() == 2 and not seen.page.locator("#app").is_visible()


def test_a_map_alone_without_tokens_or_networks(tmp_path: Path, noise_recording: fbn.Recording) -> None:
    page_of = tmp_path / "page.html"
    space = noise_recording.space
    values = np.array([np.nan, *range(1, 12)], dtype=float)
    view(noise_recording, maps=UnitMap(space, values, "t"), max_units=3).save(page_of)
    with opened(page_of) as seen:
        page = seen.page
        assert not page.locator("#networks").is_visible() and "Pick a unit" in text(page, "#course-note")
        assert text(page, "#survive") == "11 of 12 units" and "no value" in text(page, "#cell")
        page.keyboard.press("u")
        assert text(page, "#course-name") == "layer 1 unit 6"
        page.keyboard.press("ArrowRight")
        value = noise_recording[0].layer(1)[1, 6]
        assert text(page, "#row").startswith("row 1 (row 1 of run 0) \u00b7 a \u00b7 position 1 \u00b7 activation ")
        assert float(text(page, "#row").split()[-1]) == pytest.approx(value, abs=0.05)
        assert text(page, "#text .here") == "1"
        assert seen.complaints == []


def test_a_map_of_which_only_the_strongest_units_were_kept(tmp_path: Path) -> None:
    space = UnitSpace("mlp.neurons", (150_000, 50_000))
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, space.n_units)) * np.where(
        np.arange(space.n_units) % 2, 1, -1
    )
    recording = fbn.Recording.from_arrays([[np.ones((4, 150_000)), np.ones((4, 50_000))]], events=[blocks(["a"], 4)])
    viewer = view(recording, maps={"m": UnitMap(space, values, "t"), "n": UnitMap(space, values, "t")}, megabytes=0.6)
    kept, cut = viewer.data["maps"][0]["n"], viewer.data["maps"][0]["cut"]
    viewer.save(tmp_path / "page.html")
    with opened(tmp_path / "page.html") as seen:
        page = seen.page
        assert text(page, "#survive") == f"{kept:,} of 200,000 units"
        assert float(page.input_value("#level")) == pytest.approx(cut, rel=0.01)
        weak = int(np.flatnonzero(np.abs(values[:150_000]) < cut / 2)[0])
        page.fill("#unit", f"0 {weak}")
        page.press("#unit", "Enter")
        assert "not kept" in text(page, "#cell")
        page.fill("#level", "0.9")
        expected = (np.abs(values) >= 0.9).sum()
        survive = int(text(page, "#survive").split()[0].replace(",", ""))
        assert survive == pytest.approx(expected, abs=200_000 / 254 * 1.01)  # 8 bits
