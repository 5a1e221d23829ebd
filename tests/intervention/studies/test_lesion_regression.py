"""Regression of loss on lesioned units: statsmodels' t, ridge regression by brute force, planted units, error rates."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.random_lesions import drawn_units, indicator
from tl_fbn.intervention.studies import lesion_regression as regression
from tl_fbn.intervention.studies.lesion_regression import RandomLesions, corrected_p, held_out, unit_tests


def lesions_of(
    rng: np.random.Generator, *, n_units: int = 40, n_controls: int = 30, sizes: tuple[int, ...] = (8, 5)
) -> tuple[np.ndarray, np.ndarray]:
    """Units of random lesions, and drops that differ between source networks and hang on unit 3."""
    units = drawn_units(rng, sizes, n_controls, n_units)
    drops = rng.normal(0, 0.1, (len(sizes), n_controls, 2)) + np.arange(len(sizes))[:, None, None]
    drops[..., 0] += 0.5 * indicator(units, n_units)[..., 3]
    return units, drops


def test_t_is_that_of_a_regression_with_the_source_network_as_covariate() -> None:
    import statsmodels.api as sm

    units, drops = lesions_of(np.random.default_rng(0))
    drops[1, 25:] = np.nan  # controls that stopped
    lesions = RandomLesions.of(units, drops, 40)
    found = unit_tests(lesions, lesions.permutations(19, np.random.default_rng(0)), min_lesions=2)
    kept = ~np.isnan(drops[..., 0])
    held, network = indicator(units, 40)[kept], np.nonzero(kept)[0]
    assert (lesions.inclusions() == held.sum(0)).all() and lesions.dof == 30 + 25 - 3
    for unit in (0, 3, 39):
        design = np.column_stack([held[:, unit], network == 0, network == 1]).astype(float)
        for task in range(2):
            fit = sm.OLS(drops[kept][:, task], design).fit()
            assert found.effects[task, unit] == pytest.approx(fit.params[0])
            assert found.t[task, unit] == pytest.approx(fit.tvalues[0])


def test_the_largest_t_is_that_of_refitted_permutations() -> None:
    rng = np.random.default_rng(1)
    units, drops = lesions_of(rng)
    lesions = RandomLesions.of(units, drops, 40)
    orders = lesions.permutations(7, rng)
    found = unit_tests(lesions, orders, min_lesions=3)
    groups = np.repeat([0, 1], 30)
    assert all((groups[order] == groups).all() and len(set(order)) == 60 for order in orders)
    for number, order in enumerate(orders):
        permuted = RandomLesions(lesions.members, lesions.groups, lesions.drops[order])
        again = unit_tests(permuted, orders, min_lesions=3)
        np.testing.assert_allclose(np.nanmax(again.t, axis=1), found.largest[:, number])
    p = corrected_p(found.t[0], found.largest[0])
    assert p[3] == 1 / 8 and p[np.nanargmin(found.t[0])] == 1.0
    assert np.isnan(corrected_p(np.array([np.nan]), found.largest[0])).all()


def test_units_in_too_few_lesions_or_in_all_are_not_tested() -> None:
    units = np.array([[[0, 1], [0, 2], [0, 2], [0, 3], [0, 3], [0, 3]], [[4, 0]] * 6])  # two networks, six lesions each
    drops = np.random.default_rng(0).random((2, 6, 1))
    lesions = RandomLesions.of(units, drops, 6)
    assert lesions.inclusions().tolist() == [12, 1, 2, 3, 6, 0]
    found = unit_tests(lesions, lesions.permutations(5, np.random.default_rng(0)), min_lesions=2)
    # unit 0 and 4 are in all lesions of their source networks, 1 in one, 5 in none
    assert np.flatnonzero(~np.isnan(found.t[0])).tolist() == [2, 3]
    none = unit_tests(lesions, lesions.permutations(5, np.random.default_rng(0)), min_lesions=4)
    assert np.isnan(none.t).all() and np.isnan(none.largest).all()


def test_a_task_that_no_lesion_changes_has_no_numbers() -> None:
    units, drops = lesions_of(np.random.default_rng(2))
    drops[..., 1] = 0.1 + 0.2
    lesions = RandomLesions.of(units, drops, 40)
    orders = lesions.permutations(19, np.random.default_rng(0))
    found = unit_tests(lesions, orders, min_lesions=2)
    r2, null = held_out(lesions, orders, np.random.default_rng(0))
    assert np.isnan(found.t[1]).all() and np.isnan(r2[1]) and np.isnan(null[1]).all()
    assert np.isfinite(found.t[0]).any() and np.isfinite(r2[0]) and np.isfinite(null[0]).all()


def by_hand(x: np.ndarray, y: np.ndarray, groups: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of ridge regression with an intercept for each group that is not penalised, and the intercepts."""
    means = np.array([x[groups == g].mean(0) for g in (0, 1)])
    levels = np.array([y[groups == g].mean() for g in (0, 1)])
    free, rest = x - means[groups], y - levels[groups]
    weights = np.linalg.solve(free.T @ free + penalty * np.eye(x.shape[1]), free.T @ rest)
    return weights, levels - means @ weights


def chosen_penalty(x: np.ndarray, y: np.ndarray, groups: np.ndarray, scale: float) -> float:
    """The penalty of least error when each lesion is left out in turn."""
    errors = []
    for penalty in regression.PENALTIES * scale:
        missed = 0.0
        for i in range(len(y)):
            keep = np.arange(len(y)) != i
            weights, level = by_hand(x[keep], y[keep], groups[keep], penalty)
            missed += (y[i] - x[i] @ weights - level[groups[i]]) ** 2
        errors.append(missed)
    return float(regression.PENALTIES[int(np.argmin(errors))] * scale)


def test_ridge_is_that_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    units, drops = lesions_of(rng, n_units=12, n_controls=13, sizes=(4, 3))
    lesions = RandomLesions.of(units, drops[..., :1], 12)
    x, y, groups = indicator(units, 12).reshape(26, 12), drops[..., 0].ravel(), np.repeat([0, 1], 13)
    scale = (x**2).sum(1).mean()
    weights, _ = by_hand(x, y, groups, chosen_penalty(x, y, groups, scale))
    np.testing.assert_allclose(regression.ridge_weights(lesions)[0], weights, rtol=1e-4, atol=1e-5)
    assert np.argmax(weights) == 3
    error = total = 0.0
    for test in regression._folds(groups, np.random.default_rng(5)):
        weights, level = by_hand(
            x[~test], y[~test], groups[~test], chosen_penalty(x[~test], y[~test], groups[~test], scale)
        )
        known = np.array([y[~test & (groups == g)].mean() for g in (0, 1)])
        error += ((y - x @ weights - level[groups])[test] ** 2).sum()
        total += ((y - known[groups])[test] ** 2).sum()
    r2, _ = held_out(lesions, lesions.permutations(2, rng), np.random.default_rng(5))
    assert r2[0] == pytest.approx(1 - error / total, abs=1e-4) and r2[0] > 0.5


def test_every_lesion_is_held_out_once_beside_others_of_its_network() -> None:
    groups = np.repeat([0, 1, 2], [11, 2, 30])
    folds = list(regression._folds(groups, np.random.default_rng(0)))
    assert (np.sum(folds, axis=0) == 1).all()
    for test in folds:
        assert set(groups[~test]) == {0, 1, 2} and 1 <= test.sum() <= 10


@pytest.mark.parametrize("stopped", [False, True], ids=["all controls", "controls that stop"])
def test_lesions_that_do_nothing_are_rarely_found(stopped: bool) -> None:
    """Skewed drops and source networks of other sizes and spreads; at .05 each of two tests errs in .05 of studies."""
    trials, units_found, r2_found = 300, 0, 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        drops = rng.exponential(0.1, (2, 40, 1)) * np.array([1.0, 3.0])[:, None, None]
        if stopped:  # after five that cost as much as a network that does nothing
            for network in range(2):
                over = np.cumsum(drops[network, :, 0] >= np.median(drops[network])) >= 5
                drops[network, np.argmax(over) + 1 :] = np.nan
        lesions = RandomLesions.of(drawn_units(rng, (10, 20), 40, 120), drops, 120)
        orders = lesions.permutations(99, rng)
        tests = unit_tests(lesions, orders, min_lesions=3)
        units_found += np.nanmin(corrected_p(tests.t[0], tests.largest[0])) <= 0.05
        r2, null = held_out(lesions, orders[:39], rng)
        r2_found += (1 + (null[0] >= r2[0]).sum()) / 40 <= 0.05
    limit = 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / trials)
    assert units_found / trials <= limit and r2_found / trials <= limit
    assert units_found / trials >= 0.05 - 2.6 * np.sqrt(0.05 * 0.95 / trials)  # permutations are exact, not careful
