"""p, z and corrected thresholds against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tl_fbn.analysis.inference import significant, t_to_p, t_to_z


def test_p_is_two_sided_and_one_for_units_that_never_vary() -> None:
    t = np.array([0.0, 1.96, -1.96, np.nan, 1e9])
    p = t_to_p(t, 1e9)
    np.testing.assert_allclose(p, [1, 0.05, 0.05, 1, 0], atol=1e-5)
    np.testing.assert_allclose(t_to_p(t[:3], 7.0), 2 * stats.t.sf(np.abs(t[:3]), 7))


@pytest.mark.parametrize("dof", [1.0, 4.0, 30.0, 3000.0])
def test_z_has_the_tail_of_t(dof: float) -> None:
    t = np.linspace(-12, 12, 97)
    tails = np.where(t > 0, stats.t.sf(np.abs(t), dof), stats.t.cdf(t, dof))
    np.testing.assert_allclose(t_to_z(t, dof), np.where(t > 0, stats.norm.isf(tails), stats.norm.ppf(tails)), atol=1e-9)


def test_z_of_extreme_t() -> None:
    """Expected values by mpmath: the incomplete beta function with 60 digits."""
    t = np.array([40.0, 60.0, 100.0, -100.0])
    expected = [35.806786249466604, 48.63130323881622, 66.32017892989487, -66.32017892989487]
    np.testing.assert_allclose(t_to_z(t, 3000.0), expected, rtol=1e-10)


@pytest.mark.parametrize("dof", [1.0, 10.0, 100.0, 3000.0, 1e6])
def test_z_rises_with_t_and_stays_finite(dof: float) -> None:
    t = np.concatenate([np.linspace(-200, 200, 8001), np.geomspace(201, 1e12, 500)])
    z = t_to_z(t, dof)
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(z[:8001], -z[:8001][::-1], atol=1e-12)
    assert (np.abs(z) <= np.abs(t) * (1 + 1e-12)).all()


def test_z_of_a_unit_that_never_varies_is_zero() -> None:
    np.testing.assert_array_equal(t_to_z(np.array([np.nan, 0.0]), 9.0), 0.0)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_corrections_are_those_of_statsmodels(level: float) -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.uniform(size=900), rng.uniform(0, 1e-3, size=100)])
    fdr, fwe = significant(p, fdr=level), significant(p, fwe=level)
    np.testing.assert_array_equal(fdr, multipletests(p, level, "fdr_bh")[0])
    np.testing.assert_array_equal(fwe, multipletests(p, level, "holm")[0])
    assert 0 < fwe.sum() < fdr.sum() < 200


def test_benjamini_hochberg_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.02, 0.03, 0.9])  # limits .01 .02 .03 .04 .05: the four smallest pass together
    np.testing.assert_array_equal(significant(p, fdr=0.05), [True, True, True, True, False])
    np.testing.assert_array_equal(significant(p, fwe=0.05), [True, False, False, False, False])


def test_holm_by_hand() -> None:
    p = np.array([0.009, 0.9, 0.012, 0.016, 0.03])  # limits .05 / 5, / 4, / 3, / 2: the fourth fails
    np.testing.assert_array_equal(significant(p, fwe=0.05), [True, False, True, True, False])


@pytest.mark.parametrize("arguments", [{}, {"fdr": 0.05, "fwe": 0.05}])
def test_exactly_one_correction(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of fdr= and fwe="):
        significant(np.ones(3), **arguments)


@pytest.mark.parametrize("level", [0.0, 1.0, 5.0, -0.1])
def test_level_is_an_error_rate(level: float) -> None:
    with pytest.raises(ValueError, match=r"is no error rate; give a number between 0 and 1, e\.g\. fdr=0\.05"):
        significant(np.ones(3), fdr=level)
