"""The glass brain: sorted layers, cells that say which unit they show, and how light it is."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from tl_fbn.reporting.plot import _unit_map as maps
from tl_fbn.reporting.plot._unit_map import unit_map
from tl_fbn.units import Network, UnitMap, UnitSpace

pytest.importorskip("plotly")

TOY = UnitSpace("mlp.neurons", (4, 0, 6), model="toy")
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
    with pytest.raises(ValueError, match="order='ranked' is none of 'index', 'sorted'"):
        inspect.unwrap(unit_map)(UnitMap(TOY, VALUES, "t"), order="ranked")
