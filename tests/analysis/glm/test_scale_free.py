"""Maps without scale: known answers, and what scaling a layer does to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tl_fbn.analysis.glm.scale_free import contributions, within_layers

SPACE = fbn.UnitSpace("mlp.neurons", (5, 0, 101))


def test_a_contribution_is_the_length_of_what_is_added() -> None:
    rng = np.random.default_rng(0)
    weights, effect = rng.normal(size=(106, 7)), rng.normal(size=106)
    added = effect[:, None] * weights  # (unit, coordinate of the stream)
    found = contributions(effect, np.linalg.norm(weights, axis=1), SPACE)
    np.testing.assert_allclose(np.abs(found), np.linalg.norm(added, axis=1))
    np.testing.assert_array_equal(np.sign(found), np.sign(effect))
    with pytest.raises(fbn.errors.InputError, match="are not known"):
        contributions(effect, None, SPACE)


def test_within_a_layer_it_is_the_robust_z_of_scipy() -> None:
    effect = np.random.default_rng(1).normal(size=106)
    found = within_layers(effect, SPACE)
    for span in (slice(0, 5), slice(5, 106)):
        away = effect[span] - np.median(effect[span])
        np.testing.assert_allclose(
            found[span], away / stats.median_abs_deviation(effect[span], scale="normal"), rtol=1e-4
        )


def test_scale_and_shift_of_a_layer_do_not_count() -> None:
    effect = np.random.default_rng(2).normal(size=106)
    other = effect.copy()
    other[5:] = 1000 * other[5:] - 30
    np.testing.assert_allclose(within_layers(other, SPACE), within_layers(effect, SPACE), rtol=1e-9)


def test_units_that_mostly_stand_still_have_the_mean_distance() -> None:
    few = np.array([0.0, 0.0, 0.0, 0.0, 2.0])  # mean distance from the median .4
    found = within_layers(np.concatenate([few, np.full(101, 7.0)]), SPACE)
    np.testing.assert_allclose(found[:5], few / (1.2533 * 0.4))
    assert not found[5:].any()
