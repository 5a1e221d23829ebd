"""Efficiency and collinearity: statsmodels' factors, variances that come true, what drift costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

import tl_fbn as fbn
from tl_fbn.analysis.glm.design_matrix import cosine_drift
from tl_fbn.analysis.glm.efficiency import drift_cost


def test_vif_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    x[:, 2] += 2 * x[:, 0]
    design = pd.DataFrame(x, columns=["a", "b", "c"]).assign(one=1.0)
    theirs = [variance_inflation_factor(design.to_numpy(), i) for i in range(3)]
    ours = fbn.glm.vif(design)
    np.testing.assert_allclose(ours[:3], theirs)
    assert np.isnan(ours["one"])
    assert np.isinf(fbn.glm.vif(design.assign(d=design["a"] - design["b"]))["d"])


def test_efficiency_is_the_inverse_variance_of_the_effect() -> None:
    rng = np.random.default_rng(0)
    design = pd.DataFrame(
        {"a": np.arange(80) % 4 == 0, "b": np.arange(80) % 4 == 1, "x": rng.normal(size=80), "one": 1.0}
    )
    design = design.astype(float)
    y = rng.normal(size=(80, 4000))
    beta = np.linalg.lstsq(design.to_numpy(), y, rcond=None)[0]
    assert fbn.glm.efficiency(design, "a - b") == pytest.approx(1 / (beta[0] - beta[1]).var(), rel=0.06)
    scaled = design.assign(a=design["a"] * 1e6)
    assert fbn.glm.efficiency(scaled, "1e-6 * x") == pytest.approx(1e12 * fbn.glm.efficiency(design, "x"))
    assert fbn.glm.efficiency(design.assign(c=1 - design["a"]), "a") == 0  # mixed up with the constant


def test_a_cosine_at_two_block_lengths_removes_half_of_the_task() -> None:
    on = np.repeat([1.0, 0.0] * 6, 20)
    boxcars = np.column_stack([on, 1 - on])
    cheap, dear = (drift_cost(boxcars, cosine_drift(240, cutoff))[0, 1] for cutoff in (160, 40))
    assert cheap < 0.05
    assert dear > 0.45
