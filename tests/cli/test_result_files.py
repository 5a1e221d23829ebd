"""Where results lie, and what their files are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, planted, refused
from tests.helpers.models import tiny_model
from tests.helpers.units import TOY
from tl_fbn.cli import console as shell
from tl_fbn.cli import result_files


def test_names_of_files():
    assert result_files.file_for(Path("r"), "contrast", "sort - rest").name == "contrast-sort-rest.safetensors"
    assert result_files.file_for(Path("r"), "network", "`a b` / 2").name == "network-a-b-2.safetensors"
    assert result_files.file_for(Path("r"), "glm").name == "glm.safetensors"
    assert result_files.file_for(Path("r"), "network", "../../etc").name == "network-etc.safetensors"
    with pytest.raises(shell.InputError, match="would be saved as one file"):
        result_files.require_different_files(["a - b", "a  b"])
    with pytest.raises(shell.InputError, match="'Sort' and 'sort' would be saved as one file"):
        result_files.require_different_files(["Sort", "sort", "add"])


def test_results_lie_beside_their_recording(tmp_path):
    planted(tmp_path / "r")
    assert result_files.results_of(tmp_path / "r") == tmp_path / "r" / "results"
    assert result_files.results_of(tmp_path) == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(shell.InputError, match="is a file"):
        result_files.writable(tmp_path / "file" / "below")


def test_recordings_are_verified_before_anything_is_computed(tmp_path):
    """One flipped bit among the activations, which opening does not see."""
    planted(tmp_path / "r").save(tmp_path / "r")
    damaged = tmp_path / "r" / "run-02" / "activations.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-7] ^= 1
    damaged.write_bytes(content)
    fbn.Recording.open(tmp_path / "r")
    message = f"{damaged} is not what was committed (its checksum changed); delete {damaged.parent} and scan again"
    assert refused("glm", tmp_path / "r", "a - b", "--top", "2") == message
    assert refused("networks", tmp_path / "r", "-k", "2") == message
    answer("glm", tmp_path / "r", "a - b", "--top", "2", "--no-verify")
    assert refused("report", tmp_path / "r") == message
    assert answer("report", tmp_path / "r", "--no-verify")["verb"] == "report"
    with pytest.raises(shell.InputError, match="is not what was committed"):
        result_files.open_recording(tmp_path / "r")  # as lesion --reference and prune --compensate do


@pytest.fixture
def folder(tmp_path):
    """A network, an atlas of two, and a map."""
    one = fbn.Network.from_indices(TOY, [0], name="sort")
    one.save(tmp_path / "network-sort.safetensors")
    parts = {"N0": fbn.Network.from_indices(TOY, [1]), "N1": fbn.Network.from_indices(TOY, [2, 9])}
    fbn.Atlas.from_networks(parts).save(tmp_path / "atlas.safetensors")
    fbn.UnitMap(TOY, np.zeros(10), "t").save(tmp_path / "map.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "units"),
    [
        ("{}/network-sort.safetensors", {"sort": [0]}),
        ("mine={}/network-sort.safetensors", {"mine": [0]}),
        ("{}/atlas.safetensors", {"N0": [1], "N1": [2, 9]}),
        ("{}/atlas.safetensors:N1", {"N1": [2, 9]}),
        ("{}/a=b:c.safetensors", {"N0": [1], "N1": [2, 9]}),  # a file that is there is taken as it is called
        ("mine={}/atlas.safetensors:N1", {"mine": [2, 9]}),
        ("{}/a=b:c.safetensors:N1", {"N1": [2, 9]}),
        ("mine={}/a=b:c.safetensors:N1", {"mine": [2, 9]}),
        ("{}", {"N0": [1], "N1": [2, 9], "sort": [0]}),
    ],
)
def test_networks_are_named_in_many_ways(source, units, folder):
    if ":c" in source:
        (folder / "atlas.safetensors").rename(folder / "a=b:c.safetensors")
    found, where = result_files.load_networks([source.format(folder)])
    assert {name: network.indices.tolist() for name, network in found.items()} == units
    assert all(network.name == name for name, network in found.items())
    assert where == folder


def test_networks_of_several_sources_lie_with_the_first_and_can_be_chosen(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    fbn.Network.from_indices(TOY, [5], name="add").save(other / "n.safetensors")
    sources = [str(other / "n.safetensors"), str(folder)]
    found, where = result_files.load_networks(sources, only=["sort", "add"])
    assert list(found) == ["add", "sort"] and where == other
    with pytest.raises(ValueError, match="no network is called N7; networks: add, N0, N1, sort"):
        result_files.load_networks(sources, only=["sort", "N7"])


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["{0}/atlas.safetensors:N7"], "no network is called 'N7' in .*; networks: N0, N1"),
        (["x={0}/atlas.safetensors"], "holds 2 networks, which cannot all be called 'x'; leave x= out"),
        (["{0}/network-sort.safetensors", "{0}"], "two networks are called 'sort', in .*; call one of them otherwise"),
        (["{0}/map.safetensors"], "holds a UnitMap, neither a network nor an atlas"),
        (["{0}/maps"], "no networks in .*maps; tl-fbn glm, networks and cgvst write them"),
    ],
)
def test_networks_that_are_not_there_or_not_one(sources, words, folder):
    fbn.UnitMap(TOY, np.zeros(10), "t").save(folder / "maps" / "map.safetensors")
    with pytest.raises(ValueError, match=words):
        result_files.load_networks([source.format(folder) for source in sources])
    with pytest.raises(FileNotFoundError, match="no file at"):
        result_files.load_networks([str(folder / "nowhere.safetensors")])


def test_a_recording_of_several_sites_asks_which(tmp_path):
    design = fbn.block_design(
        {"a": [[1, 2], [3, 4]], "b": [[5, 6], [7, 8]]}, n_runs=1, n_cycles=1, tokens_per_block=2, seed=0
    )
    scanner = fbn.Scanner(tiny_model(), site=["mlp.neurons", "mlp.out"])
    scanner.scan(design, tmp_path / "r", progress=False)
    with pytest.raises(ValueError, match=r"holds the sites mlp\.neurons, mlp\.out; choose one with --site"):
        result_files.open_recording(tmp_path / "r")
    assert result_files.open_recording(tmp_path / "r", "mlp.out").space.site == "mlp.out"
    with pytest.raises(FileNotFoundError, match=r"no folder at .*; give the folder that tl-fbn scan wrote"):
        result_files.open_recording(tmp_path / "nowhere")


def test_what_was_saved_is_one_path_a_line():
    assert result_files.list_of_files([Path("a/b"), Path("c")]) == "Saved:\n  a/b\n  c"
