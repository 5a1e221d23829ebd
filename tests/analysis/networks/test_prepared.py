"""An atlas laid on other recordings: prepared as its own was, by hand; first tokens take no part; mistakes are said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.networks.prepared import prepared
from tl_fbn.units.preparation import Preparation

WIDTHS = (40, 30)
MASSIVE = [3, 55]


def told(seed: int, *, n_runs: int = 2, scale: float = 1.0, maps: np.ndarray | None = None) -> fbn.Recording:
    """Prompts of 20 rows in which three maps are mixed, after a first row 400 high in two units."""
    rng = np.random.default_rng(seed)
    if maps is None:
        maps = planted_maps()
    sizes = np.exp(np.random.default_rng(5).normal(size=70))  # units of different spread
    runs, tables = [], []
    for _ in range(n_runs):
        y = (rng.laplace(size=(160, 3)) @ maps + 0.3 * rng.normal(size=(160, 70))) * sizes + 2
        y[::20, MASSIVE] += 400
        runs.append(np.split(scale * y, [WIDTHS[0]], axis=1))
        tables.append(pd.DataFrame({"prompt": np.arange(160) // 20, "trial_type": np.repeat(["a", "b"] * 4, 20)}))
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 20)] * n_runs, rows=tables)


def planted_maps() -> np.ndarray:
    rng = np.random.default_rng(1)
    maps = np.zeros((3, 70))
    for i, one in enumerate(maps):
        one[10 + 15 * i : 16 + 15 * i] = rng.gamma(4.0, 1.0, 6)
    return maps


def by_hand(y: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Rows of one run, prepared, with first rows at the centre."""
    assert preparation.centre is not None and preparation.spread is not None
    found = np.clip((y - preparation.centre) / preparation.spread, -5, 5)
    found[::20] = 0
    return found


@pytest.fixture(scope="module")
def atlas() -> fbn.Atlas:
    return fbn.find_networks(told(0), 3, n_restarts=1, seed=0)


def test_a_later_recording_is_prepared_by_the_atlas_centres_and_spreads(atlas: fbn.Atlas, tmp_path) -> None:
    later = told(7)
    expected = by_hand(later[1].read().astype(float), atlas.preparation)
    found = prepared(later, atlas.preparation)
    np.testing.assert_allclose(found[1].read(), expected, atol=1e-4)
    units = fbn.Network.from_indices(found.space, [1, 3, 55])
    np.testing.assert_allclose(found[1].read(units=units, rows=[40, 3]), expected[[40, 3]][:, [1, 3, 55]], atol=1e-4)
    np.testing.assert_allclose(found[1].layers[1][20], expected[20, 40:], atol=1e-4)
    assert found.key != later.key and prepared(later, None) is later
    found.save(tmp_path / "prepared")
    np.testing.assert_allclose(fbn.Recording.open(tmp_path / "prepared")[1].read(), expected, atol=1e-4)


def test_courses_are_of_prepared_activations(atlas: fbn.Atlas) -> None:
    later = told(7)
    y = by_hand(later[0].read().astype(float), atlas.preparation)
    for how in ("mean", "regression"):
        found = fbn.networks.time_courses(later, atlas, how=how)[0].layer(0)
        if how == "mean":
            expected = np.column_stack(
                [(y * one.signs)[:, one.members].mean(1) if len(one) else 0 * y[:, 0] for one in atlas.values()]
            )
        else:
            maps = np.asarray(atlas.maps, dtype=float)
            expected = y @ np.linalg.pinv(maps - maps.mean(1, keepdims=True))
        # first rows have the mean course of the others of their prompt
        expected[::20] = [expected[first + 1 : first + 20].mean(0) for first in range(0, 160, 20)]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    plain = fbn.networks.time_courses(later, dict(atlas))[0].layer(0)
    assert np.abs(plain).max() > np.abs(found).max()  # networks alone say nothing of a preparation


def test_dual_regression_leaves_first_rows_out(atlas: fbn.Atlas) -> None:
    later = told(7)
    found = fbn.networks.dual_regression(later, atlas, samples="prompt")
    assert found.table["rows"].eq(19).all() and found.provenance["recording"] == later.key
    y = by_hand(later[0].read().astype(float), atlas.preparation)[21:40]
    maps = np.asarray(atlas.maps, dtype=float)
    courses = y @ np.linalg.pinv(maps - maps.mean(1, keepdims=True))
    courses = (courses - courses.mean(0)) / courses.std(0)
    np.testing.assert_allclose(found.maps[1], np.linalg.lstsq(courses, y - y.mean(0), rcond=None)[0], atol=1e-4)


@pytest.mark.parametrize("method", ["dual", "ica"])
def test_networks_recur_in_prompts_of_which_the_first_token_is_massive(atlas: fbn.Atlas, method) -> None:
    later = told(7)
    options = {"samples": "prompt", "method": method, "n_null": 19, "seed": 0, "threshold": 0.4, "progress": False}
    found = fbn.recurrence(later, atlas, **options)
    assert found.n_samples == 16
    assert found.samples.min() >= 12 and found.p.max() == 1 / 20
    without = fbn.recurrence(later, replace(atlas, preparation=None), **options)
    assert without.samples.sum() < found.samples.sum()


def test_the_shortest_samples_are_counted_without_first_rows(atlas: fbn.Atlas) -> None:
    many = fbn.find_networks(told(0), 18, n_restarts=1, seed=0)
    found = fbn.recurrence(told(7), many, n_null=1, seed=0, progress=False)
    assert found.provenance["samples"] == "run"  # prompts and blocks have 19 rows left, and 20 are needed


def test_tasks_are_told_in_prepared_recordings(atlas: fbn.Atlas) -> None:
    later = told(7)
    named = atlas.rename({"N00": "a", "N01": "b"})
    options = {"seed": 0, "n_permutations": 19, "progress": False}
    found = fbn.identify_task({"a": later, "b": later}, networks=named, **options)
    by_itself = fbn.identify_task(
        {"a": prepared(later, atlas.preparation), "b": prepared(later, atlas.preparation)},
        networks=dict(named),
        **options,
    )
    np.testing.assert_array_equal(found.table, by_itself.table)
    assert found.provenance["recordings"] == {"a": later.key, "b": later.key}


def test_other_functions_take_an_atlas_with_an_empty_network(atlas: fbn.Atlas) -> None:
    later = told(7)
    networks = {**atlas.networks, "N02": fbn.Network.from_indices(atlas.space, [])}
    empty = replace(atlas, networks=networks)
    assert empty.empty == ["N02"]
    assert not fbn.networks.time_courses(later, empty)[0].layer(0)[:, 2].any()
    followed = fbn.networks.followed_conditions(later, empty, n_permutations=9, seed=0)
    assert np.isnan(followed["r"][2]) and followed["r"][:2].notna().all()
    assert np.isnan(fbn.networks.connectivity(later, empty, n_bootstrap=9, seed=0).matrix[2, 0])
    found = fbn.networks.fingerprint(later, told(8), atlases=(empty, atlas), n_null=1, seed=0)
    assert found.correlation.shape == (2, 3)
    fbn.view(later, empty, run=0)


def test_activations_that_were_scaled_already_and_other_rows_are_said(atlas: fbn.Atlas) -> None:
    with pytest.raises(ValueError, match=r"vary 0\.01 times as much as those that the atlas was found on, as if they"):
        fbn.networks.time_courses(told(7, scale=0.01), atlas)
    fbn.networks.time_courses(told(7, scale=0.01), replace(atlas, preparation=None))
    with pytest.warns(UserWarning, match="found on single tokens, and the rows of this recording are means of prompts"):
        fbn.networks.time_courses(told(7).pool("mean", drop_first=1), atlas)
