"""The glass brain: sorted layers, cells that say which unit they show, and how light it is."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot import _theme as paint
from tl_fbn.reporting.plot import _unit_map as maps
from tl_fbn.reporting.plot._unit_map import unit_map
from tl_fbn.units import Network, UnitMap, UnitSpace

pytest.importorskip("plotly")

VALUES = np.array([0.0, -5.0, 3.0, np.nan, 1.0, 1.0, 9.0, -2.0, 0.0, 4.0])


def test_sorted_layers_run_from_the_largest_value_and_cells_know_their_unit() -> None:
    heat = unit_map(UnitMap(TOY, VALUES, "t"), order="sorted").data[0]
    z, units = np.asarray(heat.z), np.asarray(heat.customdata)
    np.testing.assert_array_equal(z[0], [3, 0, -5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(units[0, :3], [2, 0, 1])
    np.testing.assert_array_equal(z[2], [9, 4, 1, 1, 0, -2])
    np.testing.assert_array_equal(units[2], [2, 5, 0, 1, 4, 3])  # ties by index
    assert "customdata" in heat.hovertemplate


def test_members_are_marked_at_their_rank() -> None:
    network = Network.from_indices(TOY, [1, 4, 6])
    dots = unit_map(UnitMap(TOY, VALUES, "t"), order="sorted", networks=network).data[1]
    assert list(zip(dots.x, dots.y, strict=True)) == [(2, 0), (2, 2), (0, 2)]


def test_sorted_and_binned_layers_keep_both_ends_and_name_their_units() -> None:
    space = UnitSpace("mlp.neurons", (3000, 1600))
    values = np.random.default_rng(0).standard_normal(space.n_units)
    figure = unit_map(UnitMap(space, values, "z"), order="sorted")
    z, units = np.asarray(figure.data[0].z), np.asarray(figure.data[0].customdata)
    for layer, part in enumerate(UnitMap(space, values, "z").by_layer()):
        drawn = np.isfinite(z[layer])
        assert units[layer, 0] == part.argmax() and units[layer, drawn][-1] == part.argmin()
        np.testing.assert_allclose(z[layer, drawn], part[units[layer, drawn]], rtol=6e-4)
        assert (np.diff(z[layer, drawn]) <= 0).all()
    assert "largest first, in bins of 4" in figure.layout.xaxis.title.text


def test_where_a_cell_is_a_unit_the_axis_says_which() -> None:
    heat = unit_map(UnitMap(TOY, VALUES, "t")).data[0]
    assert heat.customdata is None and "unit %{x}" in heat.hovertemplate


@pytest.mark.parametrize("widths", [(11008,) * 32, (9216,) * 36])
def test_a_large_model_costs_a_quarter_of_a_megabyte(widths: tuple[int, ...]) -> None:
    space = UnitSpace("mlp.neurons", widths)
    values = UnitMap(space, np.random.default_rng(0).standard_normal(space.n_units), "z")
    for order in ("index", "sorted"):
        figure = unit_map(values, order=order)
        z, units = np.asarray(figure.data[0].z), np.asarray(figure.data[0].customdata)
        np.testing.assert_allclose(z[5], values.by_layer()[5][units[5]], rtol=6e-4)
        assert len(json.dumps(json.loads(figure.to_json()))) < 300_000


def test_rounding_keeps_four_digits_and_what_is_no_number() -> None:
    values = np.array([0.0, 1.23456e-9, -98765.4, np.nan, np.inf], dtype=np.float32)
    rounded = maps.significant(values)
    np.testing.assert_allclose(rounded, [0.0, 1.235e-9, -98770.0, np.nan, np.inf], rtol=1e-6)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order must be 'index' or 'sorted'; got 'ranked'"):
        inspect.unwrap(unit_map)(UnitMap(TOY, VALUES, "t"), order="ranked")


def test_unit_map_pads_short_layers_with_nan() -> None:
    figure = figures.unit_map(UnitMap(TOY, np.arange(10.0), "t"))
    z = np.asarray(figure.data[0].z)
    assert z.shape == (3, 6)
    np.testing.assert_array_equal(z[0], [0, 1, 2, 3, np.nan, np.nan])
    assert np.isnan(z[1]).all()
    np.testing.assert_array_equal(z[2], [4, 5, 6, 7, 8, 9])
    assert "grey: none" in figure.layout.xaxis.title.text


def test_unit_map_range_is_symmetric_and_clipped() -> None:
    values = np.random.default_rng(0).standard_normal(2000) + 1.0
    values[7] = -500.0
    figure = figures.unit_map(UnitMap(UnitSpace("mlp.neurons", (1000, 1000)), values, "z"))
    heat = figure.data[0]
    assert heat.zmin == -heat.zmax
    assert heat.zmax == pytest.approx(np.percentile(np.abs(values), 99.5))
    assert np.asarray(heat.z).min() == -500.0  # clipped is the colour, not the number
    assert "bin" not in figure.layout.xaxis.title.text


@pytest.mark.parametrize(("values", "limit"), [(np.zeros(1000), 1.0), (np.r_[3.0, np.zeros(999)], 3.0)])
def test_unit_map_of_a_sparse_or_empty_map_has_a_range(values: np.ndarray, limit: float) -> None:
    heat = figures.unit_map(UnitMap(UnitSpace("mlp.neurons", (1000,)), values, "loading")).data[0]
    assert (heat.zmin, heat.zmax) == (-limit, limit)


def test_wide_layers_are_binned_by_largest_magnitude_and_say_so() -> None:
    space = UnitSpace("mlp.neurons", (3072, 1501))
    values = np.full(space.n_units, 0.5)
    values[space.index(0, 1001)] = -9.0
    values[space.index(1, 1500)] = 7.0
    figure = figures.unit_map(UnitMap(space, values, "t"))
    heat, z, units = figure.data[0], np.asarray(figure.data[0].z), np.asarray(figure.data[0].customdata)
    assert "bins of 4" in figure.layout.xaxis.title.text
    assert z.shape == (2, 768)
    assert (z[0, 250], units[0, 250]) == (-9.0, 1001)  # a negative peak survives, and is called by its own number
    assert (z[1, 375], units[1, 375]) == (7.0, 1500)
    assert np.isnan(z[1, 376:]).all()
    assert (heat.x0, heat.dx) == (1.5, 4)  # the axis still counts units


def test_maps_of_one_kind_share_a_scale_and_other_kinds_have_their_own() -> None:
    maps = {
        name: UnitMap(TOY, size * np.ones(10), kind)
        for name, size, kind in [("a", 1, "t"), ("b", 4, "t"), ("c", 9, "z")]
    }
    figure = figures.unit_map(maps)
    assert [heat.zmax for heat in figure.data] == [4, 4, 9]
    assert [heat.colorbar.title.text for heat in figure.data if heat.showscale] == ["t", "t", "z"]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert sum(heat.showscale for heat in figures.unit_map({"a": maps["a"], "b": maps["b"]}).data) == 1


def test_members_are_marked_at_their_place() -> None:
    scores = UnitMap(TOY, np.arange(10.0), "t")
    dots = figures.unit_map(scores, networks=scores.top(2, name="best")).data[1]
    assert list(zip(dots.x, dots.y, strict=True)) == [(4, 2), (5, 2)]
    assert dots.name == "in best"
    both = figures.unit_map({"a": scores, "b": scores}, networks={"a": scores.top(1), "b": scores.top(3)})
    assert [len(trace.x) for trace in both.data if trace.type == "scatter"] == [1, 3]


def test_unit_map_refuses_what_does_not_belong_together() -> None:
    scores, other = UnitMap(TOY, np.zeros(10), "t"), UnitMap(UnitSpace("attn.out", (10,)), np.zeros(10), "t")
    with pytest.raises(ValueError, match=r"mlp\.neurons .* attn\.out"):
        figures.unit_map({"a": scores, "b": other})
    with pytest.raises(ValueError, match=r"'c'.*'a'"):
        figures.unit_map({"a": scores}, networks={"c": scores.top(1)})
    with pytest.raises(ValueError, match="mark"):
        figures.unit_map(scores, networks=other.top(1))
    with pytest.raises(TypeError, match="got ndarray"):
        paint.named(np.zeros(3), UnitMap, "unit_map")
    with pytest.raises(ValueError, match="no UnitMap"):
        figures.unit_map({})
