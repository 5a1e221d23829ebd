"""Recurrence: planted networks come back, others do not, and p holds under the null."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.oracle.sources import planted


def templates(space: fbn.UnitSpace, maps: np.ndarray) -> fbn.Atlas:
    networks = {f"N{i}": fbn.UnitMap(space, one, "loading").top(48, two_sided=True) for i, one in enumerate(maps)}
    return fbn.Atlas(space, networks, maps)


@pytest.mark.parametrize("method", ["dual", "ica"])
def test_networks_that_are_there_come_back_and_others_do_not(method) -> None:
    recording, maps, _ = planted(4, n_runs=6, noise=0.5)
    strangers = np.random.default_rng(9).permutation(maps[:2], axis=1)
    atlas = templates(recording.space, np.concatenate([maps[:2], strangers]))
    found = fbn.recurrence(atlas, recording, method=method, samples="run", seed=0, n_null=49)
    assert found.samples.tolist() == [6, 6, 0, 0] and found.n_samples == 6
    assert found.p[:2].max() == 1 / 50 and found.p[2:].min() > 0.5
    assert found.to_dataframe()["expected"].max() < 1
    assert "2 come back more often than by chance" in repr(found)


def test_the_count_is_that_of_intersections_over_unions_by_hand() -> None:
    recording, maps, _ = planted(3, n_runs=4, noise=6.0)
    atlas = templates(recording.space, maps)
    found = fbn.recurrence(atlas, recording, samples="block", threshold=0.3, seed=0, n_null=1)
    own = fbn.networks.dual_regression(recording, atlas, samples="block").maps
    counts = np.zeros(3, dtype=int)
    for sample in own:
        for j, name in enumerate(atlas):
            top = set(np.argsort(-np.abs(sample[j]), kind="stable")[:48])
            members = set(atlas[name].indices)
            counts[j] += len(top & members) / len(top | members) > 0.3
    assert 0 < counts.sum() < 3 * len(own)
    np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dual", "ica"])
def test_p_holds_under_the_null(method) -> None:
    """Templates that have nothing to do with the recording; counts are few, so p is discrete and at most a."""
    p = []
    for seed in range(40):
        recording, _, _ = planted(4, n_runs=4, rows=60, noise=1.0, seed=seed, widths=(60, 40))
        strangers = np.random.default_rng(1000 + seed).laplace(size=(4, 100))
        networks = {
            f"N{i}": fbn.UnitMap(recording.space, one, "loading").top(20, two_sided=True)
            for i, one in enumerate(strangers)
        }
        atlas = fbn.Atlas(recording.space, networks, strangers)
        found = (
            fbn.recurrence(atlas, recording, method=method, samples="block", seed=seed, n_null=39)
            if method == "dual"
            else fbn.recurrence(atlas, recording, method=method, samples="run", seed=seed, n_null=39)
        )
        p += found.p.tolist()
    for a in (0.05, 0.1, 0.25, 0.5):
        assert np.mean(np.array(p) <= a) <= a + 2.6 * np.sqrt(
            a * (1 - a) / 40
        )  # networks of one recording hang together


def test_saved_and_refused(tmp_path) -> None:
    recording, maps, _ = planted(3, n_runs=2)
    atlas = templates(recording.space, maps)
    found = fbn.recurrence(atlas, recording, samples="run", seed=0, n_null=19)
    found.save(tmp_path / "r.safetensors")
    again = fbn.networks.Recurrence.load(tmp_path / "r.safetensors")
    assert again.to_dataframe().equals(found.to_dataframe()) and repr(again) == repr(found)
    assert "by chance" in found._repr_html_()
    with pytest.raises(ValueError, match=r"threshold=2\.0 is no share of units"):
        fbn.recurrence(atlas, recording, threshold=2.0, seed=0)
    with pytest.raises(ValueError, match="n_null=0 gives no chance level"):
        fbn.recurrence(atlas, recording, n_null=0, seed=0)
    with pytest.raises(ValueError, match="none of 24 samples has more than 11 rows, which an ICA of 10 networks needs"):
        fbn.recurrence(atlas, recording, method="ica", samples="block", n_components=10, seed=0)
    elsewhere = fbn.Atlas.from_networks({"a": fbn.Network.from_indices(fbn.UnitSpace("mlp.neurons", (9,)), [1])})
    with pytest.raises(ValueError, match="cannot look for an atlas in units of"):
        fbn.recurrence(elsewhere, recording, seed=0)


def test_samples_are_the_finest_that_are_long_enough() -> None:
    recording, maps, _ = planted(4, n_runs=2)
    prompts = [pd.DataFrame({"prompt": np.arange(120) // 6}) for _ in recording]
    told = fbn.Recording.from_arrays(
        [[run.layer(i) for i in run.layers] for run in recording],
        events=[run.events for run in recording],
        rows=prompts,
    )
    space = told.space
    few = fbn.recurrence(templates(space, maps), told, threshold=0.2, seed=0, n_null=1)
    assert few.provenance["samples"] == "prompt" and few.n_samples == 40 and "in 40 prompts" in repr(few)
    more = np.concatenate([maps, np.random.default_rng(0).laplace(size=(4, 1200))])
    assert fbn.recurrence(templates(space, more), told, seed=0, n_null=1).provenance["samples"] == "block"
    many = np.concatenate([maps, np.random.default_rng(0).laplace(size=(10, 1200))])
    assert fbn.recurrence(templates(space, many), told, seed=0, n_null=1).provenance["samples"] == "run"
    assert (
        fbn.recurrence(templates(recording.space, maps), recording, seed=0, n_null=1).provenance["samples"] == "block"
    )
