"""The leak of a kernel by held-out likelihood: the planted one is found, none is found where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.glm.design_matrix import leaky


def recorded(leak: float, *, n_runs: int = 3, seed: int = 0) -> fbn.Recording:
    rng = np.random.default_rng(seed)
    on = np.repeat([1.0, 0.0] * 4, 24)
    starts = np.arange(192) % 12 == 0
    rows = pd.DataFrame({"prompt": np.cumsum(starts) - 1, "position": np.arange(192) % 12})
    signal = leaky(on, starts, leak) if leak else on
    runs = [[signal[:, None] * np.linspace(-2, 2, 40) + rng.normal(size=(192, 40))] for _ in range(n_runs)]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 24)] * n_runs, rows=[rows] * n_runs)


@pytest.mark.parametrize("leak", [0.0, 0.4, 0.8])
def test_the_planted_leak_is_found(leak) -> None:
    table = fbn.glm.estimate_leak(recorded(leak)).table
    assert table["leak"].iloc[0] == pytest.approx(leak, abs=0.11)
    assert table.set_index("leak").loc[0.0, "log_likelihood"] == 0
    assert table["share"].sum() == pytest.approx(1)


def test_units_that_never_vary_do_not_decide() -> None:
    recording = recorded(0.8)
    arrays = [[np.array(run.layer(0))] for run in recording]
    for (layer,) in arrays:
        layer[:, :5] = 3.0
    still = fbn.Recording.from_arrays(arrays, events=[r.events for r in recording], rows=[r.rows for r in recording])
    assert fbn.glm.estimate_leak(still).best == pytest.approx(0.8, abs=0.11)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="this recording has 1"):
        fbn.glm.estimate_leak(recorded(0.0, n_runs=1))
    with pytest.raises(ValueError, match="below 1"):
        fbn.glm.estimate_leak(recorded(0.0), grid=(0.5, 1.0))
