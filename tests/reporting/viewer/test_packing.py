"""Packing of the viewer's numbers: known rounding, NaN and infinity, and sets of units that come back as they were."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.reporting.viewer.packing import gaps, indices_of, packed, unpacked


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("centred", [False, True])
def test_packing_rounds_by_at_most_half_a_scale(bits: int, centred: bool) -> None:
    values = np.random.default_rng(0).normal(3, 2, 500)
    pack = packed(values, bits, centred=centred)
    top = {8: 127, 16: 32767}[bits]
    largest = np.ptp(values) / 2 if centred else np.abs(values).max()
    assert pack["scale"] == pytest.approx(largest / top)
    assert np.abs(unpacked(pack) - values).max() <= pack["scale"] / 2 * (1 + 1e-9)


def test_packing_keeps_nan_and_takes_infinity_for_the_largest() -> None:
    found = unpacked(packed(np.array([np.nan, np.inf, -np.inf, 0.0, -4.0, 2.0]), 16))
    np.testing.assert_allclose(found, [np.nan, 4, -4, 0, -4, 2], atol=1e-4)
    assert np.isnan(unpacked(packed(np.array([np.nan, np.nan]), 8))).all()
    np.testing.assert_array_equal(unpacked(packed(np.full(3, 7.5), 8, centred=True)), [7.5] * 3)


@pytest.mark.parametrize("indices", [[], [0], [254], [255], [510, 511], [0, 255, 256, 511, 40_000], range(600)])
def test_sets_of_units_survive_their_packing(indices) -> None:
    assert indices_of(gaps(np.array(indices, dtype=np.int64))).tolist() == list(indices)
