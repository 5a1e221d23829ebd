"""Masks and what they are compared with: counts, variances and layers by hand."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.oracle.sources import planted
from tl_fbn.papers import s0_masks
from tl_fbn.papers.s0_masks import Variances


@pytest.fixture(scope="module")
def recording(model, tmp_path_factory):
    prompts = {task: fbn.prompts(task, n=30) for task in ("sort", "add")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=1, tokens_per_block=64, seed=0)
    return fbn.Scanner(model, site="mlp.out").scan(design, tmp_path_factory.mktemp("r") / "r", progress=False)


@pytest.fixture(scope="module")
def variances(recording):
    return Variances.of(recording)


def test_variances_are_those_of_numpy(recording, variances):
    rows = np.concatenate([run.read() for run in recording]).astype(float)
    first = np.concatenate([run.segment_starts for run in recording])
    assert np.allclose(variances.whole, rows.var(0))
    assert np.allclose(variances.later, rows[~first].var(0))
    kept = (rows[~first].var(0) * (~first).sum()).sum()
    assert variances.first == pytest.approx(1 - kept / (rows.var(0) * len(rows)).sum())


def test_parts_of_a_union(variances):
    space = variances.space
    union = fbn.Network.from_indices(space, range(0, space.n_units, 7))
    parts = s0_masks.masks_of(union, variances)
    assert len(parts["five"]) == 5 and len(parts["without five"]) == len(union) - 5
    assert variances.whole[parts["five"].indices].min() >= variances.whole[parts["without five"].indices].max()
    for part in parts.values():
        assert not (part.members & ~union.members).any()


def test_units_about_first_tokens_are_found():
    space = fbn.UnitSpace("x", (4,))
    whole = np.array([10.0, 1.0, 1.0, 0.0])
    later = np.array([1.0, 0.9, 0.4, 0.0])
    found = Variances(space, whole, later, 0.8).about_first_tokens(fbn.Network.from_indices(space, range(4)))
    assert found.indices.tolist() == [0, 2, 3] or found.indices.tolist() == [0, 2]


def test_random_masks_match_what_they_say(variances):
    space = variances.space
    order = np.argsort(-variances.whole)
    union = fbn.Network.from_indices(space, order[1:48:2])  # every other of the large ones, so that others are alike
    drawn = s0_masks.controls_of(union, variances, 20, 0)
    assert {name: len(of) for name, of in drawn.items()} == {
        "layer-matched": 20,
        "variance-matched": 20,
        "uniform": 20,
    }
    for kind in ("layer-matched", "variance-matched"):
        assert all((one.per_layer() == union.per_layer()).all() for one in drawn[kind])
    assert all(len(one) == len(union) for one in drawn["uniform"])
    assert not any((one.members & union.members).any() for one in drawn["variance-matched"])
    size = {kind: np.mean([np.log(variances.whole[one.indices]).mean() for one in of]) for kind, of in drawn.items()}
    own = np.log(variances.whole[union.indices]).mean()
    assert abs(size["variance-matched"] - own) < 0.5 * abs(size["layer-matched"] - own)
    crowded = fbn.Network.from_indices(space, range(int(0.8 * space.widths[0])))
    assert variances.like(crowded, 3, seed=0) == []


def test_a_share_of_all_units_is_that_of_the_largest_values():
    atlas = fbn.find_networks(planted(6, rows=140)[0], 5, n_restarts=1, seed=0, progress=False)
    network = s0_masks.of_share(atlas, 0.1)
    largest = np.abs(atlas.maps).max(0)
    assert len(network) == int(0.1 * atlas.space.n_units)
    assert largest[network.indices].min() >= largest[~network.members].max()
