"""Rows whose products are correlations, and orders of units that keep each in its layer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.analysis.networks.shuffles import atlas_rows, rows_of_norm_one, shuffle_within_layers
from tl_fbn.units import Atlas, Network


def test_products_of_rows_are_correlations() -> None:
    maps = np.random.default_rng(0).normal(3, [[1], [100], [0.01]], (3, 40))
    rows = rows_of_norm_one(maps)
    np.testing.assert_allclose(rows @ rows.T, np.corrcoef(maps), atol=1e-12)
    np.testing.assert_array_equal(rows_of_norm_one(np.full((1, 5), 7.0)), np.zeros((1, 5)))


def test_an_atlas_without_maps_is_its_memberships() -> None:
    parts = {"a": Network.from_indices(TOY, [0, 4]), "b": Network.from_indices(TOY, [4, 5, 6])}
    bare = atlas_rows(Atlas.from_networks(parts))
    members = np.array([one.members for one in parts.values()], dtype=float)
    assert (bare @ bare.T)[0, 1] == pytest.approx(np.corrcoef(members)[0, 1])
    maps = np.random.default_rng(1).normal(size=(2, 10))
    np.testing.assert_array_equal(atlas_rows(Atlas(TOY, parts, maps)), rows_of_norm_one(maps))


def test_every_unit_stays_in_its_layer_and_any_order_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    orders = np.array([shuffle_within_layers(TOY, rng) for _ in range(3000)])
    assert (np.sort(orders, axis=1) == np.arange(10)).all()
    assert (TOY.layer_of[orders] == TOY.layer_of).all()
    for layer, width in ((0, 4), (2, 6)):
        span = TOY.layer_slice(layer)
        first = np.bincount(orders[:, span.start] - span.start, minlength=width) / 3000
        assert np.abs(first - 1 / width).max() < 5 * np.sqrt(1 / width / 3000)
