"""``tl-fbn networks``: the atlas is the library's, and its table says what to trust."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, planted, refused
from tests.helpers.recordings import blocks
from tl_fbn.cli.networks import _largest_layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "r"
    planted(path)
    return path


def test_the_atlas_is_the_librarys(folder):
    options = ("--restarts", "5", "--noise-sets", "2", "--drop-first", "1", "--standardize", "yes", "--seed", "2")
    found = answer("networks", folder, "-k", "3", *options, "--threshold", "2")
    expected = fbn.find_networks(
        fbn.Recording.open(folder), 3, seed=2, n_restarts=5, n_null=2, drop_first=1, standardize=True, threshold=2.0
    )
    atlas = fbn.Atlas.load(found["atlas"])
    assert np.allclose(atlas.maps, expected.maps)
    assert [line["network"] for line in found["networks"]] == list(expected)
    assert [line["stability"] for line in found["networks"]] == pytest.approx(expected.stability.tolist())
    assert found["unstable"] == expected.unstable
    assert found["atlas"].endswith("results/atlas-spatial-3.safetensors")
    assert any(set(range(40, 45)) <= set(network.indices) for network in atlas.values())  # what was planted


def test_the_table_and_what_to_trust(folder, tmp_path):
    text = invoke("networks", folder, "-k", "2", "--restarts", "5", "--name", "mine", "-o", tmp_path).stdout
    assert text.startswith("network  units  share  explained  stability")
    assert "Networks of matched noise reach a stability of" in text
    assert f"Saved as {tmp_path / 'atlas-mine.safetensors'}" in text
    tables = [line for line in text.splitlines() if line.startswith(("N0", "network"))]
    assert len(tables) == 6 and max(map(len, tables)) <= 80
    once = invoke("networks", folder, "-k", "2", "--restarts", "1", "-o", tmp_path).stdout
    assert "Stability was not measured; --restarts 20 does." in once
    bare = answer("networks", folder, "-k", "2", "--restarts", "3", "--noise-sets", "0", "-o", tmp_path)
    assert bare["unstable"] is None


def test_which_condition_each_network_follows(folder, tmp_path):
    found = answer("networks", folder, "-k", "3", "--restarts", "1", "--seed", "4", "-o", tmp_path)
    atlas = fbn.Atlas.load(found["atlas"])
    expected = fbn.networks.followed_conditions(fbn.Recording.open(folder), atlas, seed=4)
    r = [line["r"] for line in found["follows"]]
    np.testing.assert_array_equal(np.array(r, dtype=float), expected["r"])  # None is a network without units
    assert [line["follows"] for line in found["follows"]] == expected["follows"].tolist()
    text = invoke("networks", folder, "-k", "3", "--restarts", "1", "-o", tmp_path).stdout
    assert "explained  follows" in text and "goes with most over 48 blocks" in text
    rng = np.random.default_rng(0)
    alone = fbn.Recording.from_arrays(
        [[rng.normal(size=(60, 20))]], events=[blocks(["a"] * 6, 10)], path=tmp_path / "r"
    )
    assert len(alone.conditions) == 1
    text = invoke("networks", tmp_path / "r", "-k", "2", "--restarts", "1").stdout
    assert "follows" not in text.splitlines()[0] and "No run has blocks of two conditions" in text


def test_a_number_is_proposed(folder, tmp_path):
    asked = ("networks", folder, "-k", "auto", "--candidates", "2,3,400", "--restarts", "3", "-o", tmp_path)
    found = answer(*asked)
    choice = fbn.ica.ComponentChoice.load(found["choice"])
    expected = fbn.choose_components(fbn.Recording.open(folder), (2, 3), seed=0)
    assert found["n_components"] == choice.proposal == expected.proposal
    assert [line["n_components"] for line in found["candidates"]] == [2, 3]
    assert "left out, for want of rows or units: 400" in invoke(*asked).stderr


@pytest.mark.parametrize(("flag", "shown"), [("--progress", True), ("--no-progress", False)])
def test_bars_of_the_search_and_of_its_candidates_are_shown_as_asked(flag, shown, folder, tmp_path, monkeypatch):
    for name in ("find_networks", "model_order"):  # an analysis as small as this one ends before its bar is due
        monkeypatch.setattr(importlib.import_module(f"tl_fbn.analysis.ica.{name}"), "BAR_AFTER", 0)
    asked = ("networks", folder, "-k", "auto", "--candidates", "2", "--restarts", "2", "-o", tmp_path)
    bars = invoke(*asked, flag).stderr
    assert ("networks:" in bars, "candidates:" in bars) == (shown, shown)


def test_layers_by_themselves(folder, tmp_path):
    found = answer("networks", folder, "-k", "2", "--by-layer", "--restarts", "1", "-o", tmp_path)
    assert [line["network"] for line in found["networks"]] == ["L00N00", "L00N01", "L01N00", "L01N01"]


def test_many_layers_are_told_by_where_most_units_are():
    space = fbn.UnitSpace("mlp.neurons", (10,) * 40)
    network = fbn.Network.from_indices(space, [*range(130, 135), *range(300, 303), 7])
    assert _largest_layers(fbn.Atlas.from_networks({"a": network}).to_dataframe()) == ["13 (5), 30 (3), 0 (1)"]


@pytest.mark.usefixtures("unchecked")  # the type checker of tests knows the words a user may get wrong
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["-k", "400"], "Record more, or ask for fewer networks"),
        (["-k", "1"], "-k 1 is no number of networks; give a whole number of at least 2, or auto"),
        (["-k", "many"], "-k many is no number"),
        (["-k", "auto", "--candidates", "2,x"], "--candidates x is no number"),
        (["-k", "auto", "--candidates", "400"], "allow at most 49 networks"),
        (["-k", "2", "--method", "magic"], "method must be 'spatial', 'temporal' or 'canica'; got 'magic'"),
        (["-k", "2", "--standardize", "maybe"], "--standardize must be no, yes or robust"),
        (["-k", "2", "--threshold", "magic"], "threshold must be a number or 'percentile' or 'mixture'; got 'magic'"),
        (["-k", "2", "--threshold", "-1"], "must be above 0"),
        (["-k", "2", "--by-layer", "--window", "2"], "give one of them"),
        (["-k", "2", "--window", "9"], "9 layers a window"),
        (["-k", "2", "--clip", "-1"], "clip=-1.0 above 0"),
        (["-k", "2", "--pool", "first"], "pool must be 'token', 'last' or 'mean'; got 'first'"),
        ([], "Missing option '-k'"),
    ],
)
def test_what_cannot_be_is_refused(asked, words, folder, tmp_path):
    assert words in refused("networks", folder, *asked, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
