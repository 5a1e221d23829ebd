"""Which neurons a share of the parameters is: the nearest step, ties together, protected layers whole."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tl_fbn.intervention.pruning.mlp_surgery import n_parameters
from tl_fbn.intervention.pruning.prune import prune
from tl_fbn.intervention.pruning.prune_ratio import keep_for_ratio, protected_layers, spread


def test_keep_for_ratio_takes_the_nearest_step():
    model = bridged(tiny_llama())
    space = fbn.Scanner(model).space
    z = np.random.default_rng(1).normal(size=space.n_units)
    total = n_parameters(model)
    for ratio in (0.05, 0.2, 0.4):
        network = keep_for_ratio(model, fbn.UnitMap(space, z, "z"), ratio=ratio)
        removed = space.n_units - len(network)
        assert abs(removed * 96 / total - ratio) <= 48 / total + 1e-12
        assert prune(model, keep=network).pruned.ratio == pytest.approx(
            network.provenance["selection"]["removed_share"], abs=1e-12
        )
        tau = network.provenance["selection"]["tau"]
        assert np.array_equal(network.members, np.abs(z) > tau)


def test_keep_for_ratio_with_an_atlas_protected_layers_and_ties():
    model = tiny_model(n_layers=3)
    space = fbn.Scanner(model).space
    maps = np.random.default_rng(2).normal(size=(4, space.n_units)).round(1)
    atlas = fbn.Atlas(space, {f"N{i}": fbn.Network(space, np.abs(row) > 1) for i, row in enumerate(maps)}, maps=maps)
    network = keep_for_ratio(model, atlas, ratio=0.1, protect_first=1)
    selection = network.provenance["selection"]
    expected = (np.abs(maps).max(0) > selection["tau"]) | (space.layer_of == 0)
    assert np.array_equal(network.members, expected)
    assert prune(model, keep=network).pruned.ratio == pytest.approx(selection["removed_share"], abs=1e-12)
    with pytest.raises(ValueError, match="cannot be removed"):
        keep_for_ratio(model, atlas, ratio=0.9)
    with pytest.raises(ValueError, match="no share"):
        keep_for_ratio(model, atlas, ratio=20.0)
    with pytest.raises(ValueError, match="no maps"):
        keep_for_ratio(model, fbn.Atlas.from_networks(dict(atlas)), ratio=0.1)
    with pytest.raises(ValueError, match="Score this model first"):
        keep_for_ratio(tiny_model(), atlas, ratio=0.1)


@pytest.mark.parametrize(("first", "last", "whole"), [(0, 0, set()), (2, 0, {0, 1}), (0, 1, {4}), (3, 1, {0, 1, 2, 4})])
def test_layers_that_stay_whole(first: int, last: int, whole: set[int]) -> None:
    assert protected_layers(5, first, last) == whole


@pytest.mark.parametrize(("first", "last"), [(3, 2), (5, 0), (-1, 0), (0, -2)])
def test_protecting_everything_leaves_nothing_to_prune(first: int, last: int) -> None:
    with pytest.raises(ValueError, match=f"protect_first={first} and protect_last={last} leave nothing of 5 layers"):
        protected_layers(5, first, last)


def test_values_of_some_layers_stand_at_their_place_among_all() -> None:
    space, given = fbn.UnitSpace("mlp.neurons", (2, 3, 1)), fbn.UnitSpace("mlp.neurons", (0, 3, 0))
    assert spread(np.array([4.0, 5.0, 6.0]), given, space, np.inf).tolist() == [np.inf] * 2 + [4, 5, 6] + [np.inf]
    assert spread(np.array([True, False, True]), given, space, False).tolist() == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
