"""A preparation: by hand, cut to units, and through the file of an atlas; atlases of earlier versions have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.units.preparation import Preparation

CENTRE = np.array([1.0, 2.0, 3.0], np.float32)
SPREAD = np.array([1.0, 2.0, 4.0], np.float32)
X = np.array([[1.0, 4.0, 103.0], [2.0, 0.0, -5.0]])


def test_values_by_hand() -> None:
    everything = slice(None)
    scaled = Preparation(1, "robust", 5.0, CENTRE, SPREAD)
    np.testing.assert_allclose(scaled.applied(X, everything), [[0, 1, 5], [1, -1, -2]])
    np.testing.assert_allclose(replace(scaled, clip=None).applied(X, everything), [[0, 1, 25], [1, -1, -2]])
    np.testing.assert_allclose(replace(scaled, standardize=False).applied(X, everything), [[0, 2, 20], [1, -2, -8]])
    only_rows = Preparation(2, centre=CENTRE)
    np.testing.assert_array_equal(only_rows.applied(X, everything), X)
    np.testing.assert_array_equal(only_rows.at_the_centre(everything), CENTRE)
    assert scaled.at_the_centre(everything) == 0
    np.testing.assert_allclose(scaled.applied(X[:, [2, 0]], [2, 0]), [[5, 0], [-2, 1]])
    np.testing.assert_allclose(scaled.of_units(slice(1, 3)).applied(X[:, 1:], everything), [[1, 5], [-1, -2]])


def test_through_the_file_of_an_atlas(tmp_path: Path) -> None:
    space = fbn.UnitSpace("mlp.neurons", (2, 1))
    networks = {"N00": fbn.Network.from_indices(space, [0]), "N01": fbn.Network.from_indices(space, [])}
    prepared = Preparation(1, "robust", 5.0, CENTRE, SPREAD, "mean")
    atlas = fbn.Atlas(space, networks, preparation=prepared)
    atlas.rename({"N00": "first"}).save(tmp_path / "atlas")
    again = fbn.Atlas.load(tmp_path / "atlas").preparation
    assert again is not None and again.about() == prepared.about()
    np.testing.assert_array_equal(again.centre, CENTRE)
    np.testing.assert_array_equal(again.spread, SPREAD)
    fbn.Atlas(space, networks).save(tmp_path / "plain")
    assert fbn.Atlas.load(tmp_path / "plain").preparation is None
    arrays, about = atlas._pack_()
    older = {name: value for name, value in json.loads(json.dumps(about)).items() if name != "preparation"}
    assert fbn.Atlas._unpack_(arrays, older).preparation is None
    with pytest.raises(ValueError, match=r"preparation/centre of this atlas needs shape \(3,\); got \(2,\)"):
        fbn.Atlas(space, networks, preparation=Preparation(1, centre=CENTRE[:2]))


def test_an_atlas_says_which_networks_have_no_units() -> None:
    space = fbn.UnitSpace("mlp.neurons", (2, 1))
    atlas = fbn.Atlas(space, {"N00": fbn.Network.from_indices(space, [0]), "N01": fbn.Network.from_indices(space, [])})
    assert atlas.empty == ["N01"] and ", 1 without units: N00 (1), N01 (0)" in repr(atlas)
