"""Atlases: ordered mappings of names to networks, and files that come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.units import TOY
from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, Network, UnitSpace


def test_atlas_is_an_ordered_mapping(atlas: Atlas) -> None:
    assert list(atlas) == ["z", "a", "m"]
    assert len(atlas) == 3
    assert "z" in atlas
    assert "x" not in atlas
    assert atlas.get("x") is None
    assert [network.name for network in atlas.values()] == ["z", "a", "m"]  # networks go by their name in the atlas
    with pytest.raises(KeyError, match="no network 'x' in this atlas; networks: z, a, m"):
        atlas["x"]


def test_atlas_renames_without_losing_order(atlas: Atlas) -> None:
    swapped = atlas.rename({"z": "m", "m": "z"})
    assert list(swapped) == ["m", "a", "z"]
    assert swapped["m"] == atlas["z"]
    assert swapped["m"].name == "m"
    np.testing.assert_array_equal(swapped.maps, atlas.maps)
    with pytest.raises(ValueError, match="would give two networks one name; names: z, a, m"):
        atlas.rename({"z": "a"})
    with pytest.raises(KeyError, match="no network 'q' in this atlas"):
        atlas.rename({"q": "a"})


def test_atlas_table(atlas: Atlas) -> None:
    table = atlas.to_dataframe()
    assert table["network"].tolist() == ["z", "a", "m"]
    assert table["units"].tolist() == [2, 0, 4]
    assert table["share"].tolist() == [0.2, 0.0, 0.4]
    assert table["stability"].tolist() == [0.5, 1.0, 0.25]
    assert table[["layer 0", "layer 1", "layer 2"]].to_numpy().tolist() == [[1, 0, 1], [0, 0, 0], [2, 0, 2]]
    assert "stability" not in Atlas.from_networks(atlas).to_dataframe()


@pytest.mark.parametrize("bare", [True, False])
def test_atlas_comes_back_from_its_file(tmp_path: Path, atlas: Atlas, bare: bool) -> None:
    saved = Atlas.from_networks(atlas) if bare else atlas
    saved.save(tmp_path / "a.atlas")
    loaded = Atlas.load(tmp_path / "a.atlas")
    assert list(loaded) == list(saved)
    assert loaded == saved
    for name, network in saved.items():
        np.testing.assert_array_equal(loaded[name].signs, network.signs)
        assert loaded[name].provenance == dict(network.provenance)
    if bare:
        assert loaded.maps is loaded.stability is None
    else:
        np.testing.assert_array_equal(loaded.maps, atlas.maps)
        np.testing.assert_array_equal(loaded.stability, [0.5, 1.0, 0.25])
        assert loaded.provenance == {"seed": 7}


def test_atlas_of_what_does_not_fit(atlas: Atlas) -> None:
    other = Network.from_indices(UnitSpace("mlp.out", (4, 0, 6)), [1])
    with pytest.raises(
        ValueError, match=r"cannot put network 'x' into an atlas: units of toy mlp\.neurons .* mlp\.out"
    ):
        Atlas(TOY, {"x": other})
    with pytest.raises(ValueError, match=r"maps of this atlas need shape \(3, 10\); got \(2, 10\)"):
        Atlas(TOY, dict(atlas), np.zeros((2, 10)))
    with pytest.raises(ValueError, match=r"stability of this atlas need shape \(3,\); got \(2,\)"):
        Atlas(TOY, dict(atlas), None, np.zeros(2))
    with pytest.raises(ValueError, match="an atlas needs at least one network; got none"):
        Atlas.from_networks({})
    with pytest.raises(ValueError, match="an atlas needs at least one network; got none"):
        Atlas(TOY, {})


def test_atlas_in_words(atlas: Atlas) -> None:
    words = "Atlas of 3 networks in toy mlp.neurons (3 layers of 4, 0, 6), 1 without units: z (2), a (0), m (4)"
    assert repr(atlas) == words
    assert "<td>z</td><td>2</td><td>0.2</td><td>0.5</td>" in atlas._repr_html_()


@pytest.mark.usefixtures("unchecked")
def test_what_was_measured_is_numbers(atlas: Atlas) -> None:
    networks = dict(atlas)
    maps = np.ma.masked_less(np.arange(3.0 * TOY.n_units).reshape(3, -1), 1)
    assert np.argwhere(np.isnan(Atlas(TOY, networks, maps).maps)).tolist() == [[0, 0]]
    assert Atlas(TOY, networks, stability=[0.5, 1, 0]).stability.tolist() == [0.5, 1, 0]
    with pytest.raises(InputError, match="stability of this atlas has the type"):
        Atlas(TOY, networks, stability=["a", "b", "c"])
