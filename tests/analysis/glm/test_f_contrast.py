"""Several contrasts together: F against statsmodels and textbook formulas at every level."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

import tl_fbn as fbn
from tests.helpers.contrasts import ORDER, PAIR, W, columns_of, recorded
from tests.oracle.regression import gls_f
from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.analysis.glm.f_contrast import FContrast, f_statistic


@pytest.mark.parametrize("noise", ["ols", "ar1"])
def test_token_level_f_equals_statsmodels(noise):
    recording = recorded()
    fit = fbn.fit_glm(recording, noise=noise)
    found = fit.contrast(PAIR, level="token")
    x, weights = columns_of(fit)
    starts = np.arange(120) == 0
    for unit in range(6):
        y = np.array(recording[0].layer(0))[:, unit].astype(float)
        f, p = gls_f(y, x, weights, starts, fit.rho[unit])  # rho is 0 for OLS
        assert found.f.values[unit] == pytest.approx(f, rel=1e-6)
        assert found.p.values[unit] == pytest.approx(p, rel=1e-5)
    assert (found.numerator, found.dof) == (2, 120 - x.shape[1])


def test_block_level_f_equals_a_regression_of_block_means():
    recording = recorded(3)
    fit = fbn.fit_glm(recording, drift="none", position=False)
    found = fit.contrast(PAIR)
    means = np.concatenate([run.block_means for run in fit.runs])
    x = np.kron(np.eye(3), np.array([[name == one for one in "abc"] for name in ORDER], dtype=float))
    weights = np.hstack([W, W, W]) / 3
    for unit in range(6):
        theirs = sm.OLS(means[:, unit], x).fit().f_test(weights)
        assert found.f.values[unit] == pytest.approx(float(np.squeeze(theirs.fvalue)), rel=1e-9)
    assert found.dof == 36 - 9


def test_run_level_f_is_hotellings():
    fit = fbn.fit_glm(recorded(6))
    found = fit.contrast(PAIR, level="run")
    effects = np.array([run.effects([{"a": 1.0, "b": -1.0}, {"b": 1.0, "c": -1.0}])[0] for run in fit.runs])
    for unit in range(6):
        e = effects[:, :, unit]
        t2 = 6 * e.mean(0) @ np.linalg.solve(np.cov(e.T), e.mean(0))
        assert found.f.values[unit] == pytest.approx((6 - 2) / (2 * 5) * t2, rel=1e-9)
    assert found.dof == 4
    with pytest.raises(ValueError, match=r"needs at least 4; 'a - b, b - c' is estimable in 3"):
        fbn.fit_glm(recorded(3)).contrast(PAIR, level="run")


@pytest.mark.parametrize("level", ["token", "block", "run"])
def test_f_of_one_is_t_squared_and_does_not_depend_on_the_basis(level):
    fit = fbn.fit_glm(recorded(4))
    one = fit.contrast(["a - b"], level=level)
    np.testing.assert_allclose(one.f.values, fit.contrast("a - b", level=level).t.values ** 2, rtol=1e-9)
    np.testing.assert_allclose(
        fit.contrast(PAIR, level=level).f.values,
        fit.contrast(["a - c", "2 * a - b - c"], level=level).f.values,
        rtol=1e-8,
    )
    np.testing.assert_allclose(  # nor on the size of the contrasts
        fit.contrast(["1e-9 * (a - c)", "1e9 * (2 * a - b - c)"], level=level).f.values,
        fit.contrast(PAIR, level=level).f.values,
        rtol=1e-7,
    )


def test_contrasts_that_follow_from_each_other_are_refused():
    fit = fbn.fit_glm(recorded())
    with pytest.raises(ValueError, match=r"a - b, b - c, a - c follow from each other"):
        fit.contrast(["a - b", "b - c", "a - c"])
    with pytest.raises(ValueError, match="empty list"):
        fit.contrast([])


@pytest.mark.parametrize("level", ["token", "block"])
def test_false_positive_rate_of_f(level):
    rates = [
        (fbn.fit_glm(recorded(2, 400, seed=seed, rho=0.0)).contrast(PAIR, level=level).p.values[1:] < 0.05).mean()
        for seed in range(5)
    ]
    assert 0.04 < np.mean(rates) < 0.06


def test_a_unit_that_never_varies_has_neither_f_nor_size():
    recording = recorded()
    values = np.array(recording[0].layer(0))
    values[:, 3] = 5.0
    fit = fbn.fit_glm(fbn.Recording.from_arrays([[values]], events=[recording[0].events]))
    several, one = fit.contrast(PAIR), fit.contrast("a - b")
    assert np.isnan(several.f.values[3])
    assert (several.p.values[3], several.z.values[3], several.partial_r2.values[3]) == (1, 0, 0)
    assert (one.standardized.values[3], one.partial_r2.values[3]) == (0, 0)


def test_f_networks_and_files(tmp_path):
    found = fbn.fit_glm(recorded(3)).contrast(PAIR)
    network = found.threshold(fdr=0.05)
    assert network.indices.tolist() == [0]
    assert found.threshold(top=2).members.sum() == 2
    assert network.name == "a - b, b - c"
    assert network.provenance["level"] == "block"
    with pytest.raises(ValueError, match="exactly one of fdr=, fwe= and top="):
        found.threshold()
    found.save(tmp_path / "f.safetensors")
    back = FContrast.load(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(back.f.values, found.f.values)
    assert repr(back) == repr(found)
    assert list(back.to_dataframe().columns[-3:]) == ["f", "z", "p"]
    assert "<table" in found._repr_html_()
    one = fbn.fit_glm(recorded(3)).contrast("a - b")
    one.save(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(
        Contrast.load(tmp_path / "t.safetensors").standardized.values, one.standardized.values
    )


def test_f_statistic_by_hand():
    effects = np.array([[2.0, 0.0, 2.0, 0.0, 1.0, 3.0], [1.0, 0.0, 1.0, 0.0, 0.0, 3.0]])
    full = np.array([[2.0, 0.5], [0.5, 1.0]])
    none = np.zeros((2, 2))
    # two combinations with an error; none that varies; none with an error; the same with effects of 0; an error for
    # the second alone; both errors those of one number, so that the difference has none, and is 0
    spread = np.array([full, none, none, none, np.diag([0.0, 1.0]), np.ones((2, 2))])
    f = f_statistic(effects, spread, np.array([True, False, True, True, True, True]))
    assert f[0] == pytest.approx(effects[:, 0] @ np.linalg.inv(full) @ effects[:, 0] / 2)
    np.testing.assert_array_equal(f[1:5], [np.nan, np.inf, 0, np.inf])
    assert f[5] == pytest.approx(effects[:, 5] @ np.linalg.pinv(np.ones((2, 2))) @ effects[:, 5] / 2)
    assert stats.f.sf(f[0], 2, 10) < 1
