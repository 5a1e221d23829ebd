"""``tl-fbn prune``: the checkpoint is the library's, and every other command takes it as a model."""

from __future__ import annotations

import pytest
import torch

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, refused
from tl_fbn.models import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_model):
    path = tmp_path_factory.mktemp("prune")
    scores = fbn.attribution.random_scores(demo_model, seed=0)
    scores.save(path / "map.safetensors")
    network = scores.top(0.1, name="tenth")
    network.save(path / "network.safetensors")
    halves = {"N0": network.restrict(layers=[0]), "N1": network.restrict(layers=[1])}
    fbn.Atlas.from_networks(halves).save(path / "atlas.safetensors")
    return path


def test_a_network_is_removed_and_the_checkpoint_is_a_model(folder, demo_model, tmp_path):
    asked = (
        "prune",
        "demo",
        folder / "network.safetensors",
        "--remove",
        "-o",
        tmp_path / "small",
        "--battery",
        "demo",
        "--items",
        "5",
    )
    found = answer(*asked)
    expected = fbn.prune(demo_model, remove=fbn.Network.load(folder / "network.safetensors"), progress=False)
    assert (found["parameters_before"], found["parameters_after"]) == (
        expected.pruned.n_before,
        expected.pruned.n_after,
    )
    assert found["units_kept"] == 1152 - 115
    assert found["difference"] < 1e-3
    ids = torch.tensor([[5, 6, 7, 8]])
    small = load_model(str(tmp_path / "small"))
    assert torch.allclose(small(ids), expected(ids), atol=1e-4)
    after = fbn.demo.battery(n=5).evaluate(expected)["exact_match"].tolist()
    assert [line["after"] for line in found["scores"]] == after
    assert fbn.pruning.PruneReport.load(found["result"]).n_after == expected.pruned.n_after
    text = invoke(*asked).stdout  # into the same folder again
    assert "Checked: its logits differ from those of the masked model by at most" in text
    assert "layer  neurons  kept  removed" in text
    with pytest.raises(ValueError, match="leave dtype out"):
        load_model(str(tmp_path / "small"), dtype="bfloat16")


def test_atlases_are_kept_as_a_union_and_a_share_of_parameters_goes(folder, demo_model, tmp_path):
    kept = answer("prune", "demo", folder / "atlas.safetensors", "--protect-last", "1", "-o", tmp_path / "a")
    atlas = fbn.Atlas.load(folder / "atlas.safetensors")
    assert kept["units_kept"] == len(atlas.union()) + 384
    one = answer("prune", "demo", folder / "atlas.safetensors", "--only", "N1", "-o", tmp_path / "b")
    assert one["units_kept"] == len(atlas["N1"])
    share = answer("prune", "demo", folder / "map.safetensors", "--ratio", "0.1", "-o", tmp_path / "c")
    assert share["removed_share"] == pytest.approx(0.1, abs=0.001)


def test_heads(tmp_path, demo_model):
    space = fbn.Scanner(demo_model, site="attn.heads").space
    fbn.Network.from_indices(space, [0]).save(tmp_path / "heads.safetensors")
    found = answer("prune", "demo", tmp_path / "heads.safetensors", "--remove", "-o", tmp_path / "small")
    report = fbn.pruning.PruneReport.load(found["result"])
    assert report.heads is not None
    assert len(report.heads) == space.n_units - 1
    assert found["units_kept"] == 1152


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        ("map", [], "holds a UnitMap; give a network or an atlas (a map of scores goes with --ratio)"),
        ("network", ["--ratio", "0.1"], "holds a Network; give an atlas or a map of scores"),
        ("map", ["--ratio", "0.1", "--remove"], "give one of them"),
        ("map", ["--ratio", "2"], "ratio=2.0 is no share"),
        ("map", ["--ratio", "0.99"], "cannot be removed"),
        ("network", ["--only", "N0"], "--only chooses networks of an atlas"),
        ("atlas", ["--only", "N7"], "no network 'N7' in this atlas"),
        ("network", ["--compensate", "nowhere"], "no folder at nowhere"),
        ("network", ["--protect-first", "9"], "protect"),
    ],
)
def test_what_cannot_be_is_refused(network, options, words, folder, tmp_path):
    assert words in refused("prune", "demo", folder / f"{network}.safetensors", *options, "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_folders_that_hold_something_else_stay_as_they_are(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "holds something that is no pruned model" in refused(
        "prune", "demo", folder / "network.safetensors", "-o", tmp_path
    )
    assert "is a file" in refused("prune", "demo", folder / "network.safetensors", "-o", tmp_path / "notes.txt")


def test_units_of_another_model_are_refused(tmp_path):
    fbn.Network.from_indices(fbn.UnitSpace("mlp.neurons", (9, 9)), [0]).save(tmp_path / "n.safetensors")
    assert "Record or localise on this model first" in refused(
        "prune", "demo", tmp_path / "n.safetensors", "-o", tmp_path / "x"
    )
