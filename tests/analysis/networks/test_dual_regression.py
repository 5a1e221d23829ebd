"""Dual regression: its two steps by least squares, and samples that an ICA cannot decompose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.oracle.sources import matched, planted


def atlas_of(recording: fbn.Recording, maps: np.ndarray) -> fbn.Atlas:
    networks = {
        f"N{i}": fbn.UnitMap(recording.space, one, "loading").top(50, two_sided=True) for i, one in enumerate(maps)
    }
    return fbn.Atlas(recording.space, networks, maps)


def test_both_steps_are_least_squares() -> None:
    recording, maps, _ = planted(3, n_runs=2)
    found = fbn.networks.dual_regression(recording, atlas_of(recording, maps))
    assert found.maps.shape == (2, 3, 1200) and found.table["rows"].tolist() == [120, 120]
    for run, own in zip(recording, found.maps, strict=True):
        x = run.read().astype(float)
        courses = np.linalg.lstsq((maps - maps.mean(1, keepdims=True)).T, x.T, rcond=None)[0].T
        z = (courses - courses.mean(0)) / courses.std(0)
        slopes = np.linalg.lstsq(np.column_stack([np.ones(120), z]), x, rcond=None)[0][1:]
        np.testing.assert_allclose(own, slopes, rtol=1e-3, atol=1e-4)


def test_a_sample_too_short_for_ica_shows_the_planted_networks() -> None:
    """Twenty networks in much noise, 64 rows: dual regression finds each above its circular chance, an ICA of the
    sample few.
    """
    _, maps, _ = planted(20, n_runs=1)
    sample, _, _ = planted(maps=maps, rows=64, n_runs=1, noise=16.0, seed=5)
    own = fbn.networks.dual_regression(sample, atlas_of(sample, maps)).maps[0]
    dual = np.array([abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(own, maps, strict=True)])
    alone = matched(maps, np.asarray(fbn.find_networks(sample, 20, n_restarts=1, seed=0).maps))
    shuffled = np.random.default_rng(1).permutation(maps, axis=1)
    again = fbn.networks.dual_regression(sample, atlas_of(sample, shuffled)).maps[0]
    chance = np.array([abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(again, shuffled, strict=True)])
    assert chance.mean() > 0.15 and chance.max() < 0.33 < dual.min()  # about sqrt(64 / 1264)
    assert (alone < chance.max()).sum() >= 5 and alone.mean() < dual.mean() - 0.1


def test_blocks_and_prompts_are_samples_and_short_ones_are_counted() -> None:
    recording, maps, _ = planted(3, n_runs=1)
    prompts = pd.DataFrame({"prompt": np.repeat(np.arange(13), [4] + [10] * 11 + [6]), "trial_type": "x"})
    told = fbn.Recording.from_arrays(
        [[recording[0].layer(i) for i in (0, 1, 2, 3) if i in recording[0].layers]],
        events=[recording[0].events],
        rows=[prompts],
    )
    atlas = atlas_of(told, maps)
    found = fbn.networks.dual_regression(told, atlas, samples="prompt")
    assert len(found) == 12 and found.skipped == 1 and "1 too short" in repr(found)
    assert found.table["sample"].tolist()[0] == "1"
    by_block = fbn.networks.dual_regression(told, atlas, samples="block")
    assert by_block.table["sample"].tolist()[:2] == ["a 0", "b 1"] and by_block.table["rows"].eq(10).all()
    one = by_block[0]
    assert list(one) == ["N0", "N1", "N2"] and one.maps.shape == (3, 1200)
    with pytest.raises(ValueError, match="none of 13 samples has more than 31 rows, which 30 networks need"):
        rng = np.random.default_rng(0)
        fbn.networks.dual_regression(told, atlas_of(told, rng.normal(size=(30, 1200))), samples="prompt")
    with pytest.raises(ValueError, match='samples="prompt" needs the column prompt'):
        fbn.networks.dual_regression(recording, atlas_of(recording, maps), samples="prompt")


def test_sample_maps_come_back_from_their_file(tmp_path):
    space = fbn.UnitSpace("mlp.neurons", (3, 2))
    table = pd.DataFrame({"sample": [0, 1], "run": [0, 0], "trial_type": ["b", "a"]})
    found = fbn.networks.SampleMaps(
        space, ("N1", "N0"), table, np.arange(20.0).reshape(2, 2, 5), 3, {"recording": "key"}
    )
    found.save(tmp_path / "maps.safetensors")
    again = fbn.networks.SampleMaps.load(tmp_path / "maps.safetensors")
    assert repr(again) == repr(found) and again.names == found.names and again.provenance == found.provenance
    assert again.table.equals(table)
    np.testing.assert_array_equal(again.maps, found.maps)
