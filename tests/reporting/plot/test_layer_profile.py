"""Profiles of maps over layers: the quantiles are those of the magnitudes, shares of networks are percent of
the layer.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.plot._layer_profile import layer_profile, profile_table
from tl_fbn.units import Network, UnitMap, UnitSpace

pytest.importorskip("plotly")

SPACE = UnitSpace("mlp.neurons", (101, 0, 201))
VALUES = np.concatenate([np.linspace(-100, 0, 101), np.linspace(0, 200, 201)])


def test_lines_are_quantiles_of_magnitudes_by_layer() -> None:
    figure = layer_profile(UnitMap(SPACE, VALUES, "t"))
    assert [line.name for line in figure.data] == ["median", "95 %", "99 %", "largest"]
    for line, expected in zip(figure.data, ([50, 100], [95, 190], [99, 198], [100, 200]), strict=True):
        np.testing.assert_allclose(np.asarray(line.y)[[0, 2]], expected)
        assert np.isnan(line.y[1])  # a layer without units
    assert figure.layout.yaxis.title.text == "|t|"


def test_maps_of_one_kind_share_a_range() -> None:
    t, z = UnitMap(SPACE, VALUES, "t"), UnitMap(SPACE, VALUES / 50, "z")
    figure = layer_profile({"a": t, "b": UnitMap(SPACE, VALUES / 2, "t"), "c": z})
    ranges = [tuple(figure.layout[name].range) for name in ("yaxis", "yaxis2", "yaxis3")]
    assert ranges[0] == ranges[1] == (0, pytest.approx(212)) and ranges[2][1] == pytest.approx(4.24)
    assert sum(bool(line.showlegend) for line in figure.data) == 4


def test_values_that_are_no_numbers_do_not_count() -> None:
    values = VALUES.copy()
    values[0] = np.nan
    table = profile_table({"a": UnitMap(SPACE, values, "t")})
    assert table["units"].tolist() == [100, 0, 201] and table["largest"][0] == 99


def test_the_table_of_networks_gives_members_and_share() -> None:
    table = profile_table(Network.from_indices(SPACE, [0, 1, 101], name="n"))
    assert table["members"].tolist() == [2, 0, 1] and table["share"][0] == pytest.approx(2 / 101)
    assert np.isnan(table["share"][1])


def test_mixtures_and_too_many_maps_are_refused() -> None:
    one = UnitMap(SPACE, VALUES, "t")
    with pytest.raises(TypeError, match="'b' is Network"):
        layer_profile({"a": one, "b": Network.from_indices(SPACE, [0])})
    with pytest.raises(ValueError, match="up to 16 maps"):
        layer_profile({str(i): one for i in range(17)})


def test_layer_profile_is_percent_of_the_layer() -> None:
    network = Network.from_indices(TOY, [0, 4, 5, 6], name="n")
    np.testing.assert_array_equal(figures.layer_profile(network).data[0].y, [25.0, np.nan, 50.0])
    np.testing.assert_array_equal(figures.layer_profile(network, share=False).data[0].y, [1, 0, 3])
    figure = figures.layer_profile(network)
    assert figure.layout.shapes[0].y0 == pytest.approx(40.0)  # 4 of 10, if spread evenly
    assert "40 %" in figure.layout.annotations[0].text


def test_more_networks_than_colours_become_a_matrix() -> None:
    sets = {f"N{i:02d}": Network.from_indices(TOY, [i % 10, (i + 1) % 10]) for i in range(9)}
    (heat,) = figures.layer_profile(sets).data
    assert (heat.type, heat.zmin, heat.zmax) == ("heatmap", 0, 50)
    np.testing.assert_allclose(heat.z[:4], [[50, np.nan, 0]] * 3 + [[25, np.nan, 100 / 6]])
    assert "layer 2: 1 of 6 units" in heat.customdata[3][2]
    bars = figures.layer_profile(dict(list(sets.items())[:8])).data
    assert {bar.type for bar in bars} == {"bar"} and len({bar.marker.color for bar in bars}) == 8
