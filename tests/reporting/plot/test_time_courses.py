"""Pictures of time courses: the right numbers at the right tokens, and no peak lost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.recordings import blocks
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.time_courses import time_courses as courses_of
from tl_fbn.reporting.plot._time_courses import course_table, extremes, time_courses
from tl_fbn.units import Network, UnitSpace

pytest.importorskip("plotly")

SPACE = UnitSpace("mlp.neurons", (3, 2))
SETS = {
    "first": Network.from_indices(SPACE, [0, 1]),
    "<b>last</b>": Network.from_indices(SPACE, [3, 4]),
}


def recording(n_rows: int = 40, *, block: int = 10, runs: int = 2) -> Recording:
    """Unit u of run r has the value 1000 r + 10 row + u at every row; tokens are named after rows."""
    events = blocks((["sort", "rest"] * n_rows)[: n_rows // block], block)
    rows = pd.DataFrame(
        {
            "prompt": np.arange(n_rows) // 5,
            "position": np.arange(n_rows) % 5,
            "token": [f"<i>{i}" for i in range(n_rows)],
        }
    )
    values = [1000.0 * r + 10.0 * np.arange(n_rows)[:, None] + np.arange(5) for r in range(runs)]
    arrays = [[one[:, :3], one[:, 3:]] for one in values]
    return Recording.from_arrays(arrays, events=[events] * runs, rows=[rows] * runs)


def test_courses_are_means_of_members_and_hovering_tells_the_token() -> None:
    assert time_courses(recording().pool("mean"), SETS).layout.xaxis.title.text == "row (one prompt each)"
    figure = time_courses(recording(), SETS, run=1)
    assert figure.layout.xaxis.title.text == "row (one token each)"
    first, last = figure.data
    np.testing.assert_allclose(first.y, 1000.5 + 10 * np.arange(40))
    np.testing.assert_allclose(last.y, 1003.5 + 10 * np.arange(40))
    assert first.customdata[17] == "'&lt;i&gt;17', prompt 3 at 2, rest"
    assert last.customdata is None  # rows are the same: said once
    assert figure.layout.yaxis2.title.text.startswith("&lt;b&gt;")
    assert figure.layout.title.text == "2 networks over rows 0 to 39 of run 1: mean activation"


def test_blocks_are_shaded_and_named() -> None:
    figure = time_courses(recording(), SETS)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [
        (-0.5, 9.5),
        (9.5, 19.5),
        (19.5, 29.5),
        (29.5, 39.5),
    ]
    colours = [shape.fillcolor for shape in figure.layout.shapes]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert [note.text for note in figure.layout.annotations] == ["sort", "rest", "sort", "rest"]
    many = time_courses(recording(600, block=5), SETS)  # no room for names: a legend
    assert not many.layout.annotations and [trace.name for trace in many.data[2:]] == ["sort", "rest"]


def test_a_part_of_the_rows_is_standardised_over_the_whole_run() -> None:
    table = course_table(recording(), SETS, rows=slice(5, 15), standardize=True)
    whole = 0.5 + 10 * np.arange(40)
    np.testing.assert_allclose(table["first"], ((whole - whole.mean()) / whole.std())[5:15])
    assert table["row"].tolist() == list(range(5, 15)) and table["condition"].tolist() == ["sort"] * 5 + ["rest"] * 5
    figure = time_courses(recording(), SETS, rows=slice(5, 15), standardize=True)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(4.5, 9.5), (9.5, 14.5)]


def test_courses_may_be_given_as_they_are() -> None:
    courses = courses_of(recording(), SETS)
    pd.testing.assert_frame_equal(course_table(courses, run=1), course_table(recording(), SETS, run=1))
    assert len(time_courses(courses).data) == 2
    one = time_courses(recording(), SETS["first"])
    assert len(one.data) == 1 and one.layout.title.text.startswith("1 network over")


def test_negative_members_are_subtracted_unless_asked_otherwise() -> None:
    signed = Network(SPACE, np.array([1, 1, 0, 0, 0], dtype=bool), np.array([1, -1, 0, 0, 0], dtype=np.int8), "s")
    np.testing.assert_allclose(course_table(recording(), signed)["s"], -0.5)
    np.testing.assert_allclose(course_table(recording(), signed, signed=False)["s"], 0.5 + 10 * np.arange(40))


def test_of_many_rows_every_peak_is_kept_and_the_title_says_so() -> None:
    n = 10_000
    values = np.random.default_rng(0).standard_normal((n, 5)).astype(np.float32)
    values[4321, :2] = 50.0
    values[777, 3:] = -40.0
    events = blocks(["sort", "rest"] * 25, 200)
    tokens = pd.DataFrame({"prompt": np.arange(n) // 20, "position": np.arange(n) % 20, "token": "tok"})
    long = Recording.from_arrays([[values[:, :3], values[:, 3:]]], events=[events], rows=[tokens])
    sets = {f"{name}{i}": network for i in range(8) for name, network in SETS.items()}
    figure = time_courses(long, sets)
    first, last = figure.data[:2]
    assert first.y.max() == 50.0 and first.x[first.y.argmax()] == 4321
    assert last.y.min() == -40.0 and last.x[last.y.argmin()] == 777
    assert first.customdata[int(first.y.argmax())] == "'tok', prompt 216 at 1, rest"
    assert "of 10,000 rows the lowest and highest in 250 bins" in figure.layout.title.text
    assert len(first.x) <= 500 and (np.diff(first.x) > 0).all()
    assert len(figure.to_json()) < 900_000


def test_extremes_are_those_of_each_bin() -> None:
    course = np.random.default_rng(1).standard_normal(1003)
    kept = extremes(course, 50)
    edges = np.linspace(0, 1003, 51).astype(int)
    for low, high in pairwise(edges):
        inside = kept[(kept >= low) & (kept < high)]
        assert {course[inside].min(), course[inside].max()} == {course[low:high].min(), course[low:high].max()}
    np.testing.assert_array_equal(extremes(course[:3], 50), [0, 1, 2])


def test_without_row_tables_the_picture_is_drawn_all_the_same() -> None:
    bare = Recording.from_arrays([[np.ones((10, 3)), np.ones((10, 2))]], events=[blocks(["sort", "rest"], 5)])
    figure = time_courses(bare, SETS, standardize=True)
    np.testing.assert_array_equal(figure.data[0].y, 0)  # what never varies has no spread to divide by
    assert figure.data[0].customdata[0].endswith("sort")


def test_bad_input_is_refused() -> None:
    with pytest.raises(IndexError, match="run 2 of a recording of 2 runs"):
        time_courses(recording(), SETS, run=2)
    with pytest.raises(ValueError, match="needs networks to read from"):
        time_courses(recording())
    with pytest.raises(ValueError, match="holds none of the 40 rows"):
        time_courses(recording(), SETS, rows=slice(90, 100))
    with pytest.raises(ValueError, match="without a step"):
        time_courses(recording(), SETS, rows=slice(0, 20, 2))
    with pytest.raises(ValueError, match="up to 32 networks, a panel each; got 33"):
        time_courses(recording(), {str(i): SETS["first"] for i in range(33)})
    with pytest.raises(ValueError, match="read the time course of"):
        time_courses(recording(), Network.from_indices(UnitSpace("attn.out", (5,)), [0]))


@pytest.mark.slow
def test_hovering_in_a_browser_shows_the_token_as_text(tmp_path: Path) -> None:
    from tests.helpers.browser import opened

    page = tmp_path / "courses.html"
    time_courses(recording(), SETS).write_html(page)
    with opened(page) as seen:
        seen.page.wait_for_selector(".plotly .main-svg")
        area = seen.page.locator(".nsewdrag").first.bounding_box()
        seen.page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        seen.page.wait_for_selector(".hoverlayer text")
        said = " ".join(seen.page.locator(".hoverlayer").all_text_contents())
        assert "<i>" in said and "prompt" in said  # the token as it is, no markup
        assert not seen.complaints
