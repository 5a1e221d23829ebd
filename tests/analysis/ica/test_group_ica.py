"""The subspace that runs share: planted maps, whatever the loudness of runs, and nothing of what one run has for
itself.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tests.oracle.sources import WIDTHS, matched, planted
from tl_fbn.analysis.ica.group_ica import common_subspace
from tl_fbn.analysis.ica.reduction import Reduced
from tl_fbn.units.preparation import Preparation

# maps are compared with those that were planted, and variance is that of the activations: units are not divided by spreads
AS_THEY_ARE = {"standardize": False, "drop_first": 0, "clip": None}


def test_canica_cuts_what_runs_do_not_share():
    """Three maps are in every run, three in one run each and louder."""
    rng = np.random.default_rng(3)
    shared, maps, _ = planted(3)
    runs = []
    for run in shared:
        own = np.where(rng.random((3, 1200)) < 0.04, 5.0, 0.0)
        y = run.read() + 3 * rng.laplace(size=(run.n_rows, 3)) @ own
        runs.append(np.split(y, np.cumsum(WIDTHS)[:-1], axis=1))
    recording = fbn.Recording.from_arrays(runs, events=[run.events for run in shared])
    atlas = fbn.find_networks(recording, 6, method="canica", seed=0, **AS_THEY_ARE)
    assert len(atlas) == 3
    assert matched(maps, atlas.maps).min() > 0.95


LAYERS = [layer for layer, width in enumerate(WIDTHS) if width]


def shared_maps(recording: fbn.Recording, n_components: int = 6, seed: int = 0) -> Reduced:
    return common_subspace(recording, n_components, layers=LAYERS, preparation=Preparation(), seed=seed)


def test_the_subspace_is_that_of_the_planted_maps() -> None:
    recording, maps, _ = planted(4)
    found = shared_maps(recording)
    assert found.right.shape == (4, 1200)
    centred = maps - maps.mean(1, keepdims=True)
    assert np.degrees(subspace_angles(found.right.T, centred.T)).max() < 5
    np.testing.assert_allclose(found.right @ found.right.T, np.eye(4), atol=1e-5)
    assert (found.singular**2 > 3.5).all()  # four runs share each of them: eigenvalues near 4
    assert found.run_of.tolist() == [run for run in range(4) for _ in range(6)] and found.total == 24


def test_explained_is_of_the_data_variance() -> None:
    """By hand: the sum of squares of the centred data's products with a network's map, over that of the data."""
    recording, _, _ = planted(4)
    gains = [1.0, 5.0, 0.1, 1.0]
    runs = [[gain * run.layer(i) for i in run.layers] for run, gain in zip(recording, gains, strict=True)]
    runs = [[first, np.zeros((first.shape[0], 0)), *rest] for first, *rest in runs]
    scaled = fbn.Recording.from_arrays(runs, events=[run.events for run in recording])
    atlas = fbn.find_networks(scaled, 4, method="canica", seed=0, n_restarts=1, align=False, **AS_THEY_ARE)
    x = np.concatenate([run.read() - run.read().mean(0) for run in scaled]).astype(float)
    x -= x.mean(1, keepdims=True)
    # maps are standardised rows of an orthonormal matrix
    unit = atlas.maps / np.linalg.norm(atlas.maps, axis=1, keepdims=True)
    by_hand = np.square(x @ unit.T).sum(0) / np.square(x).sum()
    np.testing.assert_allclose(atlas.explained, by_hand, rtol=1e-3)
    assert (np.diff(atlas.explained) < 0).all()


def test_a_loud_run_has_no_more_weight_than_a_quiet_one() -> None:
    recording, _, _ = planted(3)
    gains = [1.0, 100.0, 0.01, 1.0]
    runs = [[gain * layer for layer in map(run.layer, run.layers)] for run, gain in zip(recording, gains, strict=True)]
    runs = [[first, np.zeros((first.shape[0], 0)), *rest] for first, *rest in runs]
    scaled = fbn.Recording.from_arrays(runs, events=[run.events for run in recording])
    plain, loud = shared_maps(recording), shared_maps(scaled)
    assert np.degrees(subspace_angles(plain.right.T, loud.right.T)).max() < 0.1
    np.testing.assert_allclose(plain.singular, loud.singular, rtol=1e-4)


def test_runs_that_share_nothing_and_single_runs_are_refused() -> None:
    rng = np.random.default_rng(0)
    widths, events = (300, 0, 300, 300), [blocks(["a", "b"], 30)]
    runs = [[rng.normal(size=(60, width)) for width in widths] for _ in range(3)]
    noise = fbn.Recording.from_arrays(runs, events=events * 3)
    with pytest.raises(ValueError, match=r"runs share [01] directions that exceed chance; .*nothing in common"):
        shared_maps(noise)
    with pytest.raises(ValueError, match=r'method="canica" looks for what runs share .* this recording has 1'):
        shared_maps(fbn.Recording.from_arrays(runs[:1], events=events))
