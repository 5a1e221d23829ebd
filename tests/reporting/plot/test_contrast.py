"""Pictures of contrasts: what survives is coloured and counted, and chance stands beside it."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.analysis.glm.f_contrast import FContrast
from tl_fbn.analysis.glm.permutation import PermutationTest
from tl_fbn.reporting.plot._contrast import contrast, contrast_table
from tl_fbn.units import UnitMap, UnitSpace

pytest.importorskip("plotly")

SPACE = UnitSpace("mlp.neurons", (600, 400), model="toy")
PLANTED = [3, 500, 700, 999]
DOF = 1e6  # t is z


def t_contrast(strength: float, *, idle: int = 0, space: UnitSpace = SPACE, name: str = "a - b") -> Contrast:
    """Noise, with four planted units of alternating sign; the last before the end never vary."""
    t = np.clip(np.random.default_rng(0).standard_normal(space.n_units), -3, 3)
    t[PLANTED] = strength * np.array([1, -1, 1, -1])
    error = np.ones(space.n_units)
    error[10 : 10 + idle] = 0.0
    return Contrast(space, name, "block", t, error, DOF, (0,))


def permutations(largest: np.ndarray) -> PermutationTest:
    t = t_contrast(6.0).estimate
    return PermutationTest(SPACE, "a - b", "labels", t, largest, largest, DOF, 0.001)


def colour_at(figure: Any, value: float) -> np.ndarray:
    """The colour of a value in the glass brain, as red, green, blue."""
    heat = figure.data[0]
    share = (value - heat.zmin) / (heat.zmax - heat.zmin)
    places = np.array([place for place, _ in heat.colorscale])
    assert (np.diff(places) >= 0).all() and places[0] == 0 and places[-1] == 1
    colours = np.array([[int(n) for n in re.findall(r"\d+", colour)[:3]] for _, colour in heat.colorscale])
    return np.array([np.interp(share, places, channel) for channel in colours.T])


def test_planted_units_survive_and_are_marked() -> None:
    figure = contrast(t_contrast(6.0))
    assert figure.layout.title.text == "a - b: 4 of 1,000 units survive FDR .05"
    dots = figure.data[1]
    assert sorted(SPACE.index(int(y), int(x)) for x, y in zip(dots.x, dots.y, strict=True)) == PLANTED
    bars = next(trace for trace in figure.data if trace.type == "bar")
    coloured = np.array(bars.marker.color) != "#c8c8c8"
    assert np.asarray(bars.y)[coloured].sum() == 4 and np.asarray(bars.y).sum() == 1000
    assert sorted(set(bars.marker.color)) == ["#2166ac", "#b2182b", "#c8c8c8"]


def test_the_colour_bar_is_the_threshold() -> None:
    figure, z = contrast(t_contrast(6.0)), float(contrast_table(t_contrast(6.0))["at"][1])
    inside, beyond = colour_at(figure, z - 0.05), colour_at(figure, z + 0.05)
    assert inside.min() > 200 and beyond.min() < 180  # pale, then full
    assert colour_at(figure, -z - 0.05)[2] > colour_at(figure, -z - 0.05)[0]  # blue below


def test_the_curve_is_the_null_and_lines_stand_at_thresholds() -> None:
    given = t_contrast(6.0, idle=100)
    figure = contrast(given, fwe=0.01)
    bars, curve = (
        next(trace for trace in figure.data if trace.name == name) for name in ("units", "no effect: N(0, 1)")
    )
    counts, middle = np.asarray(bars.y), np.abs(np.asarray(bars.x)) < 2
    assert counts.sum() == 900
    expected = np.interp(np.asarray(bars.x)[middle], curve.x, curve.y)
    np.testing.assert_allclose(counts[middle].sum(), expected.sum(), rtol=0.03)
    lines = sorted(abs(shape.x0) for shape in figure.layout.shapes if shape.type == "line")
    bonferroni = stats.norm.isf(0.01 / 2000)
    benjamini_hochberg = stats.norm.isf(4 * 0.05 / 2000)  # four pass
    np.testing.assert_allclose(lines, [benjamini_hochberg] * 2 + [bonferroni] * 2)
    assert "(100 that never vary left out)" in figure.layout.annotations[-1].text
    fine = int((given.p.values < 0.01).sum())
    assert figure.layout.annotations[-1].text.startswith(f"{fine} of 900 units have p &lt; .01")
    assert "about 9 " in figure.layout.annotations[-1].text


def test_nothing_that_survives_is_said_plainly() -> None:
    figure = contrast(t_contrast(0.0))
    assert figure.layout.title.text == "a - b: no unit of 1,000 survives FDR .05"
    assert "FDR .05: nothing passes" in [trace.name for trace in figure.data]
    assert all(trace.name != "survives" for trace in figure.data)
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert set(bars.marker.color) == {"#c8c8c8"}
    assert np.isnan(contrast_table(t_contrast(0.0))["at"][1])


def test_the_table_counts_what_the_tests_pass() -> None:
    given = t_contrast(6.0)
    table = contrast_table(given, fdr=0.1, fwe=0.01).set_index("threshold")
    assert table.loc["FDR", "units"] == len(given.threshold(fdr=0.1))
    assert table.loc["Bonferroni", "units"] == len(given.threshold(fwe=0.01, method="bonferroni")) == 4
    assert table.loc["Bonferroni", ["positive", "negative"]].tolist() == [2, 2]
    assert table.loc["uncorrected", "by_chance"] == 10


def test_an_f_contrast_is_one_sided() -> None:
    z = t_contrast(6.0).estimate
    given = FContrast(SPACE, ("a - c", "b - c"), "block", stats.f.isf(stats.norm.sf(z), 2, 30.0), 30.0, (0,))
    figure = contrast(given)
    assert figure.layout.title.text == "a - c, b - c: 2 of 1,000 units survive FDR .05"
    assert all(shape.x0 > 0 for shape in figure.layout.shapes if shape.type == "line")
    assert colour_at(figure, -5.5).min() > 200  # no blue where nothing can survive


def test_a_permutation_test_is_drawn_at_its_own_threshold() -> None:
    given = permutations(np.linspace(2, 5, 99))  # five in a hundred: the largest four may reach it
    figure = contrast(given)
    assert figure.layout.title.text == "a - b: 4 of 1,000 units survive permutation FWE .05"
    line = next(shape for shape in figure.layout.shapes if shape.type == "line")
    assert abs(line.x0) == pytest.approx(np.linspace(2, 5, 99)[94], abs=1e-3)
    assert any("(|t| of 4.88)" in (trace.name or "") for trace in figure.data)
    nothing = contrast(permutations(np.linspace(7, 9, 99)))
    assert "no unit of 1,000 survives" in nothing.layout.title.text


def test_a_large_map_stays_light_and_shows_the_few_that_survive() -> None:
    space = UnitSpace("mlp.neurons", (11008,) * 36, model="toy")
    figure = contrast(t_contrast(8.0, space=space))
    assert len(figure.to_json()) < 400_000
    assert figure.layout.yaxis2.type == "log" and "log" in figure.layout.yaxis2.title.text


def test_names_stay_text() -> None:
    figure = contrast(t_contrast(6.0, name="<b>x</b>"))
    assert figure.layout.title.text.startswith("&lt;b&gt;x")


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fdr=2\.0 is no error rate"):
        contrast(t_contrast(6.0), fdr=2.0)
    with pytest.raises(ValueError, match="give fdr= or fwe="):
        contrast(t_contrast(6.0), fdr=None)
    with pytest.raises(TypeError, match="got UnitMap"):
        inspect.unwrap(contrast)(UnitMap(SPACE, np.zeros(1000), "z"))
