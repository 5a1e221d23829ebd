"""Centres and spreads of a recording: by hand over runs and layers, and the decomposition that takes them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.ica import reduction
from tl_fbn.analysis.ica.reduction import reduce_recording
from tl_fbn.analysis.ica.unit_scales import measured
from tl_fbn.units.preparation import Preparation


def prompts_of_ten(seed: int = 0) -> fbn.Recording:
    """Two runs of different length and level; the first row of every prompt of ten is massive."""
    rng = np.random.default_rng(seed)
    runs, tables = [], []
    for n, level in ((60, 1.0), (40, 3.0)):
        y = rng.laplace(size=(n, 12)) * np.arange(1, 13) + level
        y[::10] += 500
        runs.append([y[:, :5], y[:, 5:]])
        tables.append(pd.DataFrame({"prompt": np.arange(n) // 10}))
    return fbn.Recording.from_arrays(runs, events=[blocks(["a"], 60), blocks(["a"], 40)], rows=tables)


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "_BLOCK_BYTES", 1)  # as many blocks as there can be
    recording = prompts_of_ten()
    found = measured(recording, Preparation(1, "robust", 5.0))
    kept = [run.read()[np.arange(run.n_rows) % 10 > 0] for run in recording]
    medians = np.array([np.median(y, axis=0) for y in kept])
    np.testing.assert_allclose(found.run_centres, medians, rtol=1e-6)
    np.testing.assert_allclose(found.centre, (54 * medians[0] + 36 * medians[1]) / 90, rtol=1e-6)
    deviations = np.abs(np.concatenate([y - m for y, m in zip(kept, medians, strict=True)]))
    np.testing.assert_allclose(found.spread, 1.4826 * np.median(deviations, axis=0), rtol=1e-5)
    assert found.pool is None


def test_what_is_not_scaled_has_a_centre_only_where_rows_are_left_out() -> None:
    recording = prompts_of_ten()
    assert measured(recording, Preparation()).centre is None
    found = measured(recording, Preparation(drop_first=1))
    y = np.concatenate([run.read()[np.arange(run.n_rows) % 10 > 0] for run in recording])
    np.testing.assert_allclose(found.centre, y.mean(0), rtol=1e-5)
    assert found.spread is None


def test_measured_before_or_within_each_pass_is_the_same() -> None:
    recording = prompts_of_ten()
    settings = Preparation(1, "robust", 3.0)
    options = {"layers": [0, 1], "spatial": True, "seed": 0}
    once = reduce_recording(recording, 3, preparation=measured(recording, settings), **options)
    each_time = reduce_recording(recording, 3, preparation=settings, **options)
    np.testing.assert_allclose(once.singular, each_time.singular, rtol=1e-6)
    shuffled = [
        reduce_recording(recording, 3, preparation=one, shuffle=1, **options).singular
        for one in (settings, measured(recording, settings))
    ]
    np.testing.assert_allclose(*shuffled, rtol=1e-6)


def test_units_that_never_vary_are_counted_in_one_note() -> None:
    rng = np.random.default_rng(0)
    runs = []
    for run in range(2):
        values = rng.normal(size=(40, 12)).astype(np.float32)
        values[:, [2, 7]] = 3.0 + run  # at another value in each run: within runs nothing varies
        values[:, 4] = 0.0
        values[:, 5] /= values[:, 5].std(ddof=1)  # a spread of 1 is no standstill
        runs.append([values])
    recording = fbn.Recording.from_arrays(runs, events=[blocks(["a"], 40)] * 2)
    with pytest.warns(UserWarning, match="^3 of 12 units never vary"):
        found = measured(recording, Preparation(0, True, 5.0))
    assert found.spread is not None and (found.spread[[2, 4, 7]] == 1).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured(recording, Preparation(0, False, None))
