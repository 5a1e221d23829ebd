"""p, z and corrected thresholds against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tl_fbn.analysis.glm.multiple_testing import f_to_p, f_to_z, significant, t_to_p, t_to_z


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


@pytest.mark.parametrize("q", [1, 2, 5])
def test_p_and_z_of_f(q: int) -> None:
    f = np.array([0.0, 0.5, 3.0, 20.0, np.nan])
    np.testing.assert_allclose(f_to_p(f, q, 40.0)[:4], stats.f.sf(f[:4], q, 40))
    np.testing.assert_allclose(f_to_z(f, q, 40.0)[1:4], stats.norm.isf(stats.f.sf(f[1:4], q, 40)), atol=1e-9)
    assert (f_to_p(f, q, 40.0)[4], f_to_z(f, q, 40.0)[4]) == (1, 0)
    far = np.geomspace(1, 1e8, 300)
    z = f_to_z(far, q, 3000.0)
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()


def test_f_of_one_contrast_is_t_squared() -> None:
    t = np.array([0.3, 2.0, 8.0, 60.0, 150.0])
    np.testing.assert_allclose(f_to_p(t**2, 1, 3000.0)[:3], t_to_p(t, 3000.0)[:3])
    tails = stats.norm.logsf(t_to_z(t, 3000.0)) + np.log(2)  # F has both tails of t
    np.testing.assert_allclose(stats.norm.logsf(f_to_z(t**2, 1, 3000.0)), tails, rtol=1e-9)


def test_other_corrections_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.uniform(size=900), rng.uniform(0, 1e-4, size=100)])
    for rate, method, theirs in (("fdr", "by", "fdr_by"), ("fwe", "bonferroni", "bonferroni")):
        found = significant(p, method=method, **{rate: 0.05})  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, multipletests(p, 0.05, theirs)[0])
    with pytest.raises(ValueError, match="method='by' does not control fwe; methods for fwe: holm, bonferroni"):
        significant(p, fwe=0.05, method="by")


def test_layers_then_units_by_hand() -> None:
    """Simes: layer 0 .003, layer 1 .6, layer 2 .03; BH at .05 takes 0 and 2, so units are tested at .05 * 2 / 3."""
    layers = np.repeat([0, 1, 2], 3)
    p = np.array([0.001, 0.02, 0.5, 0.6, 0.3, 0.9, 0.01, 0.8, 0.03])
    found = significant(p, fdr=0.05, method="layers", layers=layers)
    np.testing.assert_array_equal(found, [True, True, False, False, False, False, True, False, False])


def test_layers_then_units_keeps_the_average_share_of_false_units() -> None:
    rng = np.random.default_rng(2)
    layers, shares = np.repeat(np.arange(6), 200), []
    for _ in range(300):
        true = np.zeros(1200, dtype=bool)
        true[:60] = True  # one layer of effects, five without
        p = np.where(true, stats.norm.sf(rng.normal(3.5, 1, 1200)), rng.uniform(size=1200))
        found = significant(p, fdr=0.05, method="layers", layers=layers)
        chosen = [found[layers == layer] for layer in range(6)]
        false = [(mine & ~true[layers == layer]).sum() / mine.sum() for layer, mine in enumerate(chosen) if mine.any()]
        shares.append(np.mean(false) if false else 0.0)
    assert np.mean(shares) <= 0.055
