"""What can be estimated: known null vectors, in any unit of the columns."""

from __future__ import annotations

import numpy as np
import pytest

from tl_fbn.analysis.glm.estimability import is_estimable
from tl_fbn.analysis.glm.moments import Basis


def estimable(design: np.ndarray, weights: list[float]) -> bool:
    basis = Basis.of(design, np.zeros(len(design), dtype=bool))
    return is_estimable(np.array(weights, dtype=float), basis.to_columns, basis.to_coordinates)


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e10])
def test_what_can_be_estimated_does_not_depend_on_the_units_of_columns(scale: float) -> None:
    rng = np.random.default_rng(0)
    design = rng.normal(size=(30, 4))
    design[:, 2] = design[:, 0] + design[:, 1]  # the null vector is (1, 1, -1, 0)
    assert estimable(design * [1, 1, 1, scale], [0, 0, 0, 1])
    assert estimable(design * [1, 1, 1, scale], [1, -1, 0, scale])
    assert estimable(design * [1, 1, 1, scale], [1, 0, 1, 0])
    assert not estimable(design * [1, 1, 1, scale], [1, 0, 0, 0])
    assert not estimable(design * [1, 1, 1, scale], [1, 1, -1, 1])
    assert estimable(design * [1, scale, 1, 1], [1, -scale, 0, 0])
    assert not estimable(design * [1, scale, 1, 1], [0, 1, 0, 0])
    assert not estimable(design * [0, 1, 1, scale], [1, 0, 0, 0])  # a silent column


def test_full_rank_designs_estimate_everything_however_badly_scaled() -> None:
    design = np.random.default_rng(1).normal(size=(30, 5)) * np.array([1e-9, 1, 1e9, 1e-3, 1e6])
    for weights in (*np.eye(5), np.ones(5)):
        assert estimable(design, list(weights))
