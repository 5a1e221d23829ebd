"""Connectivity: numpy's correlations, partial ones by regression, intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks

SPACE = fbn.UnitSpace("mlp.neurons", (3,), model="external")
ATLAS = fbn.Atlas.from_networks({name: fbn.Network.from_indices(SPACE, [i]) for i, name in enumerate("abc")})


def chain(seed: int, *, n_runs: int = 3, rows: int = 200, rho: float = 0.0) -> fbn.Recording:
    """Three units: b follows a, c follows b, so a and c hang together through b only."""
    rng, runs = np.random.default_rng(seed), []
    for run in range(n_runs):
        noise = rng.normal(size=(rows, 3))
        for t in range(1, rows):
            noise[t] = rho * noise[t - 1] + np.sqrt(1 - rho**2) * noise[t]
        a = noise[:, 0]
        b = (a + noise[:, 1]) / np.sqrt(2)
        c = (b + noise[:, 2]) / np.sqrt(2)
        runs.append([np.column_stack([a, b, c]) + 10 * run])
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"], rows // 2)] * n_runs)


def test_pearson_is_numpys_within_runs() -> None:
    recording = chain(0)
    found = fbn.networks.connectivity(recording, ATLAS, seed=0, n_bootstrap=200)
    centred = np.concatenate([run.read().astype(float) - run.read().astype(float).mean(0) for run in recording])
    np.testing.assert_allclose(found.matrix, np.corrcoef(centred.T), atol=1e-9)
    assert (found.low <= found.matrix + 1e-12).all() and (found.matrix <= found.high + 1e-12).all()
    assert found.to_dataframe()[["a", "b"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_partial_takes_the_middle_off() -> None:
    found = fbn.networks.connectivity(chain(1, rows=2000), ATLAS, kind="partial", seed=0, n_bootstrap=200)
    assert abs(found.matrix[0, 2]) < 0.06 < 0.4 < min(found.matrix[0, 1], found.matrix[1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_intervals_cover_the_truth(rho: float) -> None:
    """Also where rows follow each other, which a bootstrap of rows would miss."""
    truth = np.sqrt(0.5)
    hits = []
    for seed in range(150):
        found = fbn.networks.connectivity(chain(seed, rho=rho), ATLAS, seed=seed, n_bootstrap=199)
        hits.append(found.low[0, 1] <= truth <= found.high[0, 1])
    assert np.mean(hits) > 0.87  # a percentile bootstrap of short series covers somewhat less than 95 %


def test_windows_follow_a_change() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(400, 3))
    y[200:, 1] = y[200:, 0]
    recording = fbn.Recording.from_arrays([[y]], events=[blocks(["a", "b"], 200)])
    found = fbn.networks.sliding_connectivity(recording, ATLAS, window=50)
    table, matrices = found.windows, found.matrices
    assert table["start"].tolist() == list(range(0, 351, 25)) and (table["stop"] - table["start"]).eq(50).all()
    r = matrices[:, 0, 1]
    assert np.abs(r[table["stop"] <= 200]).max() < 0.5 and r[table["start"] >= 200].min() > 0.99
    with pytest.raises(
        ValueError, match="window=500 and step=250; give a window of 3 rows or more that fits into a run of 400"
    ):
        fbn.networks.sliding_connectivity(recording, ATLAS, window=500)


def test_what_never_varies_and_files(tmp_path) -> None:
    y = np.random.default_rng(0).normal(size=(100, 3))
    y[:, 1] = 4
    recording = fbn.Recording.from_arrays([[y]], events=[blocks(["a", "b"], 50)])
    found = fbn.networks.connectivity(recording, ATLAS, seed=0, n_bootstrap=50)
    assert np.isnan(found.matrix[0, 1]) and found.matrix[1, 1] == 1
    found.save(tmp_path / "c.safetensors")
    again = fbn.networks.Connectivity.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.matrix, found.matrix)
    assert again.names == found.names and "Connectivity (pearson) of 3 networks" in repr(again)
    with pytest.raises(ValueError, match="n_bootstrap=0 is out of range; give 1 or more"):
        fbn.networks.connectivity(recording, ATLAS, seed=0, n_bootstrap=0)
    with pytest.raises(ValueError, match="connectivity is between networks; this atlas has 1"):
        fbn.networks.connectivity(recording, fbn.Atlas.from_networks({"a": ATLAS["a"]}), seed=0)
