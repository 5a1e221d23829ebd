"""Dose and response: curves, bands and chance are the table's, no dose has its lines, and only like is drawn
with like.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.figures import BOLD
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")

TASKS = ("sort", BOLD)


def response(
    kind: Any = "gain", doses: tuple[float, ...] = (-1.0, 0.0, 1.0, 2.0), **changed: Any
) -> fbn.studies.DoseResponse:
    """Two tasks of 10 items: the first loses a tenth of its items a step from the third dose, the second nothing."""
    n, rng = len(doses), np.random.default_rng(0)
    items = np.ones((n, 20))
    for place in range(n):
        items[place, : 2 * abs(place - 2)] = 0.0
    made = fbn.studies.DoseResponse(
        network="n & co",
        kind=kind,
        doses=np.array(doses),
        units=np.full(n, 5),
        tasks=TASKS,
        counts=np.array([10, 10]),
        metric="exact_match",
        baseline=np.ones(20),
        items=items,
        controls=rng.uniform(0.8, 1.0, (20, n, 2)),
        provenance={"seed": 0, "n_bootstrap": 100},
    )
    return replace(made, **changed)


def named(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_curves_intervals_and_chance_are_those_of_the_table() -> None:
    one = response()
    table, figure = one.to_dataframe(), figures.dose_response(one)
    own = named(figure, "n &amp; co, 95 % over items")
    assert [list(trace.y) for trace in own] == [[60, 80, 100, 80], [100] * 4]
    chance = named(figure, "20 matched random networks: median, 5 to 95 %")
    first = table[table["task"] == "sort"]
    np.testing.assert_allclose(chance[0].y[:4], 100 * first["control_p95"])
    np.testing.assert_allclose(chance[0].y[4:], 100 * first["control_p05"][::-1])
    assert all(list(trace.y) == [100, 100] for trace in named(figure, "untouched model"))
    assert [shape.x0 for shape in figure.layout.shapes] == [1.0, 1.0]  # a gain of 1 changes nothing
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3


def test_titles_carry_the_tests_and_names_stay_text() -> None:
    one = response()
    line = one.summary().iloc[0]
    figure = figures.dose_response(one)
    first, second = (note.text for note in figure.layout.annotations)
    assert f"area {100 * line['area']:+.3g}, p = {line['p']:.2g}" in first
    assert f"monotonicity {line['monotonicity']:+.2f}" in first
    assert second.startswith("&lt;b&gt;bold")
    assert BOLD not in str(figure.to_json())


def test_sizes_are_logarithmic_and_zero_has_a_place() -> None:
    one = response("size", (0.0, 0.01, 0.1, 0.3))
    figure = figures.dose_response({"a": one, "b": one})
    axis = figure.layout.xaxis
    assert axis.type == "log" and list(axis.ticktext) == ["0", "1", "10", "30"]
    np.testing.assert_allclose(axis.tickvals, [0.1, 1, 10, 30])
    assert not figure.layout.shapes


@pytest.mark.parametrize(("kind", "none"), [("add", 0.0), ("add_sd", 0.0)])
def test_amounts_have_their_own_axis_and_no_dose(kind: str, none: float) -> None:
    figure = figures.dose_response(response(kind, metric="log_likelihood"))
    assert "added to each member" in figure.layout.xaxis.title.text
    assert figure.layout.shapes[0].x0 == none
    assert figure.layout.yaxis.title.text == "log-likelihood (nats a token)"
    assert list(named(figure, "n &amp; co, 95 % over items")[0].y) == [0.6, 0.8, 1.0, 0.8]  # nats are not scaled


def test_several_networks_share_panels_where_doses_agree() -> None:
    one = response()
    figure = figures.dose_response({"a": one, "b": replace(one, items=np.zeros((4, 20)))})
    assert [list(trace.y) for trace in named(figure, "b")] == [[0] * 4] * 2
    assert len({trace.line.color for name in "ab" for trace in named(figure, name)}) == 2
    assert [note.text for note in figure.layout.annotations] == ["sort", "&lt;b&gt;bold&lt;/b&gt;"]
    with pytest.raises(ValueError, match=r"'a' has -1, 0, 1, 2 and 'b' 0, 1, 2, 3\. Draw them apart"):
        figures.dose_response({"a": one, "b": response(doses=(0.0, 1.0, 2.0, 3.0))})
    with pytest.raises(ValueError, match=r"one kind together; 'a' has 'gain' and 'b' 'add'"):
        figures.dose_response({"a": one, "b": response("add")})


def test_refusals() -> None:
    with pytest.raises(TypeError, match="draws a DoseResponse, or a mapping of names to several; got ndarray"):
        figures.dose_response(np.zeros(3))
    with pytest.raises(TypeError, match="got type"):
        figures.dose_response(fbn.studies.DoseResponse)
    with pytest.raises(ValueError, match="empty mapping"):
        figures.dose_response({})
