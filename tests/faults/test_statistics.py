"""Statistics where data are degenerate: explained without error, constant, tied, ruled out, ambiguously named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.multiple_testing import t_to_z
from tl_fbn.units.selection_prose import how_chosen

CONDITIONS = ["a", "b", "c"] * 6


def recording_with(units: np.ndarray, n_runs: int = 3) -> fbn.Recording:
    """Runs of 180 rows of three conditions: the given courses, (row, unit) or (run, row, unit), then three of noise."""
    rng = np.random.default_rng(4)
    runs = np.broadcast_to(units, (n_runs, 180, units.shape[-1]))
    arrays = [[np.column_stack([run, rng.normal(size=(180, 3))])] for run in runs]
    return fbn.Recording.from_arrays(arrays, events=[blocks(CONDITIONS, 10)] * n_runs)


def boxcars(*weights: tuple[float, float, float]) -> np.ndarray:
    """(row, unit) courses with one height for each of the conditions."""
    on = np.repeat([[name == one for one in "abc"] for name in CONDITIONS], 10, axis=0)
    return on @ np.array(weights).T


@pytest.mark.parametrize("level", ["token", "block", "run"])
@pytest.mark.parametrize("noise", ["ar1", "ar1_pooled", "newey_west", "ols"])
def test_every_number_of_a_unit_without_error(level: Any, noise: Any) -> None:
    """Rises with a; falls with a; moves with c alone, and so has an effect of 0; never varies; noise."""
    found = fbn.fit_glm(recording_with(boxcars((1, 0, 0), (0, 5, 0), (0, 0, 1 / 3), (7, 7, 7))), noise=noise)
    contrast = found.contrast("a - b", level=level)
    np.testing.assert_array_equal(contrast.t.values[:4], [np.inf, -np.inf, 0, np.nan])
    np.testing.assert_array_equal(contrast.p.values[:4], [0, 0, 1, 1])
    np.testing.assert_array_equal(contrast.z.values[:4], [np.inf, -np.inf, 0, 0])
    np.testing.assert_array_equal(contrast.partial_r2.values[:4], [1, 1, 0, 0])
    np.testing.assert_array_equal(contrast.standardized.values[:4], [np.inf, -np.inf, 0, 0])
    for standardized in (False, True):
        low, high = (end.values for end in contrast.interval(standardized=standardized))
        wanted = contrast.standardized.values if standardized else contrast.estimate
        np.testing.assert_allclose(low[:4], wanted[:4])
        np.testing.assert_allclose(high[:4], wanted[:4])
        assert (low[4:] < high[4:]).all()
    assert contrast.threshold(top=2).indices.tolist() == [0, 1]
    assert contrast.threshold(top=1, two_sided=False).indices.tolist() == [0]
    assert contrast.threshold(fdr=0.05).signs[:4].tolist() == [1, -1, 0, 0]
    assert contrast.threshold(fwe=0.001).signs[:4].tolist() == [1, -1, 0, 0]
    if level == "run":
        return  # F over runs needs more of them
    f = found.contrast(["a - b", "b - c"], level=level)
    np.testing.assert_array_equal(f.f.values[:4], [np.inf, np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(f.p.values[:4], [0, 0, 0, 1])
    assert f.threshold(top=3).indices.tolist() == [0, 1, 2]


def test_noise_far_below_the_effect_is_noise() -> None:
    """A residual of a millionth of the effect is no rounding: t is that of scipy, and large."""
    rng = np.random.default_rng(0)
    unit = boxcars((1, 0, 0)) + 1e-6 * rng.normal(size=(180, 1))
    means = np.float32(unit)[:, 0].astype(float).reshape(18, 10).mean(1)
    of = np.array(CONDITIONS)
    recording = fbn.Recording.from_arrays([[unit]], events=[blocks(CONDITIONS, 10)])
    t = fbn.fit_glm(recording, drift="none", confounds=()).contrast("a - b", level="block").t.values[0]
    groups = [means[of == name] for name in "abc"]
    # by hand: pooled variance over the three groups, 15 degrees of freedom
    pooled = sum(((one - one.mean()) ** 2).sum() for one in groups) / 15
    expected = (groups[0].mean() - groups[1].mean()) / np.sqrt(pooled * 2 / 6)
    assert t == pytest.approx(expected, rel=1e-6)


def test_max_t_selects_what_the_contrast_selects() -> None:
    fit = fbn.fit_glm(recording_with(boxcars((1, 0, 0), (0, 5, 0), (0, 0, 1), (7, 7, 7))))
    for options in ({"null": "labels"}, {"null": "signs", "over": "pairs"}):
        network = fbn.max_t(fit, "a - b", n_permutations=200, seed=0, **options).threshold(fwe=0.05)  # type: ignore[arg-type]
        assert network.signs[:4].tolist() == [1, -1, 0, 0], options


@pytest.mark.parametrize("height", [300.0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("over", ["runs", "pairs"])
def test_signs_never_find_a_constant_unit(height: float, over: Any) -> None:
    """Its effect is rounding of its own height, which may be anything beside the other units' spread."""
    rng = np.random.default_rng(1)
    arrays = [[np.column_stack([np.full((120, 3), height / 3), 1e-2 * rng.normal(size=(120, 9))])] for _ in range(10)]
    fit = fbn.fit_glm(fbn.Recording.from_arrays(arrays, events=[blocks(["a", "b"] * 6, 10)] * 10))
    found = fbn.max_t(fit, "a - b", n_permutations=200, seed=0, null="signs", over=over)
    np.testing.assert_array_equal(found.p.values[:3], 1)
    assert not found.threshold(fwe=0.05).members[:3].any()


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("null", ["labels", "shift", "signs"])
def test_nothing_is_found_where_all_units_are_constant(value: float, null: Any) -> None:
    arrays = [[np.full((120, 5), value)] for _ in range(8)]
    fit = fbn.fit_glm(fbn.Recording.from_arrays(arrays, events=[blocks(["a", "b"] * 6, 10)] * 8))
    found = fbn.max_t(fit, "a - b", n_permutations=200, seed=0, null=null)
    np.testing.assert_array_equal(found.p.values, 1)
    assert len(found.threshold(fwe=0.05)) == 0


def test_a_small_unit_beside_a_large_one_keeps_its_t() -> None:
    """Rounding is judged by a unit's own size: one of 1e-12 beside one of 1e4 has the t that it has alone."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(4, 120, 6))
    small = [[np.column_stack([1e-12 * one, 1e4 * one])] for one in noise]
    fit = fbn.fit_glm(fbn.Recording.from_arrays(small, events=[blocks(["a", "b"] * 6, 10)] * 4))
    found = fbn.max_t(fit, "a - b", n_permutations=50, seed=0, null="labels").t.values
    np.testing.assert_allclose(found[:6], found[6:], rtol=1e-4)


def test_ties_do_not_fill_the_first_layers() -> None:
    """A ReLU leaves most units at 0: a network that needs some of them takes them from every layer alike."""
    space = fbn.UnitSpace("mlp.neurons", (400, 400, 400))
    values = np.zeros(1200)
    values[::100] = np.arange(12) + 1.0
    network = fbn.UnitMap(space, values, "effect").top(0.05)
    assert network.members[::100].all()
    per_layer = network.per_layer()
    assert (np.abs(per_layer - 20) <= 1).all()
    assert network.provenance["selection"]["tied"] == 1188
    assert network.provenance["selection"]["drawn"] == 48
    assert "48 of 1,188 units with the value at the cut were drawn" in how_chosen(network.provenance)


def test_top_and_threshold_agree_when_told_the_same() -> None:
    """The two defaults differ and say so; told the same they select the same units."""
    contrast = fbn.fit_glm(recording_with(boxcars((1, 0, 0), (0, 5, 0)))).contrast("a - b")
    for two_sided in (False, True):
        for n in range(6):
            top = contrast.t.top(n, two_sided=two_sided)
            np.testing.assert_array_equal(contrast.threshold(top=n, two_sided=two_sided).signs, top.signs)


def test_a_design_of_zeros_is_refused() -> None:
    recording = recording_with(boxcars((1, 0, 0)), 1)
    with pytest.raises(ValueError, match=r"all 2 columns of the design of run 0 \(x, y\) are 0 in every row"):
        fbn.fit_glm(recording, design=pd.DataFrame(np.zeros((180, 2)), columns=["x", "y"]))
    with pytest.raises(ValueError, match="has the weight 1e-320"):
        fbn.fit_glm(recording).contrast("1e-320 * (a - b)")


def test_joined_names_are_new() -> None:
    rng = np.random.default_rng(0)
    recording = fbn.Recording.from_arrays(
        [[rng.normal(size=(40, 2))]], events=[blocks(["sort", "sort_answer"] * 2, 10)]
    )
    with pytest.raises(
        ValueError, match=r"condition 'sort' in phase 'answer' and condition 'sort_answer'.* 'sort_answer'"
    ):
        fbn.fit_glm(recording, phases=lambda rows: ([""] * 5 + ["answer"] * 5) * 4)


def test_a_statistic_of_many_t_is_as_before() -> None:
    """Known tails: the deviate of a finite t is scipy's, and infinity is beyond them all."""
    t = np.array([-np.inf, -3.0, 0.0, 2.0, 1e9, np.inf, np.nan])
    z = t_to_z(t, 20.0)
    np.testing.assert_allclose(z[1:4], [-stats.norm.isf(stats.t.sf(3, 20)), 0, stats.norm.isf(stats.t.sf(2, 20))])
    assert z[0] == -np.inf and z[5] == np.inf and z[6] == 0 and 10 < z[4] < np.inf
