"""Lists of units that commands print: largest first, all of them in the JSON, words where a model is there."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, planted, refused
from tl_fbn.cli import unit_lists
from tl_fbn.cli.console import WIDTH, Console


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "r"
    planted(path)
    return path


def test_members_come_by_magnitude_and_those_without_a_value_last():
    space = fbn.UnitSpace("mlp.neurons", (3, 2))
    values = fbn.UnitMap(space, np.array([1.0, np.nan, -5.0, 2.0, 9.0]), "t")
    found = unit_lists.unit_list(fbn.Network.from_indices(space, [0, 1, 2, 3]), values)
    assert list(found) == ["layer", "unit", "t"]
    assert found[["layer", "unit"]].to_numpy().tolist() == [[0, 2], [1, 0], [0, 0], [0, 1]]
    assert unit_lists.first_units(found, "x").splitlines()[:3] == [
        "All 4 units of x, largest |t| first:",
        "layer  unit   t",
        "    0     2  -5",
    ]
    assert unit_lists.first_units(found[:0], "x") == "x: no units."
    assert "largest t first" in unit_lists.first_units(found[1:3], "x")


def test_words_are_the_librarys_beside_as_many_units_as_asked(demo_model):
    space = fbn.Scanner(demo_model).space
    values = fbn.UnitMap(space, np.arange(1152.0), "effect")
    network = fbn.Network.from_indices(space, [3, 500, 1000], name="n")
    found = unit_lists.unit_list(network, values, demo_model, words_of=2)
    words = fbn.networks.promoted_tokens(network, demo_model, n_tokens=unit_lists.N_WORDS).promotes.tolist()[1:]
    assert found["promotes"].tolist() == [words[2], words[1], ""]  # largest first: unit 1000, 500, 3
    assert unit_lists.unit_list(network, values, demo_model)["promotes"].tolist() == words[::-1]
    atlas = fbn.Atlas.from_networks({"n": network, "none": fbn.Network.from_indices(space, [])})
    whole = fbn.networks.promoted_tokens(network, demo_model, n_tokens=unit_lists.N_WORDS).promotes[0]
    assert unit_lists.words_of_networks(atlas, demo_model) == {"n": whole, "none": ""}


def test_a_model_whose_units_have_no_words_is_noted(demo_model, capsys):
    heads = fbn.Scanner(demo_model, site="attn.heads").space
    assert unit_lists.speaking(Console(), demo_model, heads) is None
    assert "no words beside units: units of attn.heads have no direction" in capsys.readouterr().err
    assert unit_lists.speaking(Console(), demo_model, fbn.Scanner(demo_model).space) is demo_model


def test_long_words_are_cut():
    assert unit_lists.clip("abc", 3) == "abc"
    assert unit_lists.clip("abcd", 3) == "ab…"


def test_glm_lists_the_units_it_found(folder, tmp_path):
    asked = ("glm", folder, "a - b", "--fwe", "0.01", "-o", tmp_path)
    (test,) = answer(*asked)["contrasts"]
    contrast = fbn.fit_glm(fbn.Recording.open(folder)).contrast("a - b")
    assert {(line["layer"], line["unit"]) for line in test["unit_list"]} == {(0, 3), (1, 7)}
    assert [line["t"] for line in test["unit_list"]] == sorted(contrast.t.values[[3, 27]], reverse=True)
    text = invoke(*asked).stdout
    assert "All 2 units of a - b, largest t first:" in text and unit_lists.HINT in text
    largest = answer("glm", folder, "a - b", "--top", "12", "--by", "effect", "-o", tmp_path)["contrasts"][0]
    assert len(largest["unit_list"]) == 12 and "effect" in largest["unit_list"][0]
    assert "First 10 of 12 units of a - b" in invoke("glm", folder, "a - b", "--top", "12", "-o", tmp_path).stdout
    none = invoke("glm", folder, "a - b", "--fwe", "1e-40", "-o", tmp_path).stdout
    assert "0 of 50 units pass" in none and unit_lists.HINT not in none


def test_networks_list_the_first_units_of_each(folder, tmp_path):
    asked = ("networks", folder, "-k", "3", "--restarts", "1", "-o", tmp_path)
    found = answer(*asked)
    atlas = fbn.Atlas.load(found["atlas"])
    lines = invoke(*asked).stdout.splitlines()
    assert len(atlas.empty) < len(atlas)
    for name, network in atlas.items():
        units = found["unit_lists"][name]
        assert {space_index(atlas.space, one) for one in units} == set(network.indices.tolist())
        if name in atlas.empty:
            continue
        first = units[0]
        assert any(line.startswith(f"{name} ") and f"{first['layer']}:{first['unit']} (" in line for line in lines)


def space_index(space: fbn.UnitSpace, one: dict) -> int:
    return space.index(one["layer"], one["unit"])


def test_words_beside_units_that_a_command_found(tmp_path, demo_model):
    design = fbn.block_design({t: fbn.prompts(t) for t in ("sort", "reverse")}, n_runs=2, n_cycles=2, seed=0)
    fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)
    asked = ("glm", tmp_path / "r", "sort - reverse", "--top", "12", "--by", "effect", "--model", "demo")
    units = answer(*asked)["contrasts"][0]["unit_list"]
    network = fbn.Network.from_indices(fbn.Scanner(demo_model).space, [(u["layer"], u["unit"]) for u in units])
    words = fbn.networks.promoted_tokens(network, demo_model, n_tokens=3).set_index(["layer", "unit"])["promotes"]
    assert [line["promotes"] for line in units] == [words[line["layer"], line["unit"]] for line in units]
    text = invoke(*asked).stdout
    assert units[0]["promotes"] in text and unit_lists.READING in text and unit_lists.HINT not in text
    asked = ("networks", tmp_path / "r", "-k", "2", "--restarts", "1", "--model", "demo")
    found = answer(*asked)
    text = invoke(*asked).stdout
    assert all(line["promotes"] in text for line in found["networks"])
    assert found["unit_lists"]["N00"][0]["promotes"]
    tables = [line for line in text.splitlines() if line.startswith(("N0", "network"))]
    assert max(map(len, tables)) <= WIDTH


def test_a_model_of_other_units_is_refused_before_the_work(folder, tmp_path):
    assert "the network is of external" in refused("glm", folder, "a - b", "--model", "demo", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
