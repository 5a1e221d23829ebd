"""Networks, atlases and maps to plain forms and back: exactly, from what others release, and with errors that say
where.
"""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

SPACE = UnitSpace("mlp.neurons", (4, 0, 6), model="toy", weights="d1ge57")
SIGNED = Network(
    SPACE,
    np.isin(np.arange(10), [1, 3, 4, 9]),
    np.array([0, 1, 0, -1, 1, 0, 0, 0, 0, 0], np.int8),
    "sort - rest",
    {"method": "glm", "threshold": np.float64(0.05), "prompts": ["p", "q"], "range": (1, math.inf)},
)


@pytest.mark.parametrize("way", ["text", "path", "string", "plain"])
def test_a_network_comes_back_from_its_json(tmp_path: Path, way: str) -> None:
    path = tmp_path / "deep" / "sort.json"
    text = SIGNED.to_json(path)
    assert path.read_text() == text
    source: Any = {"text": text, "path": path, "string": str(path), "plain": json.loads(text)}[way]
    back = Network.from_json(source)
    assert back == SIGNED
    assert (back.name, back.space.model, back.space.weights) == ("sort - rest", "toy", "d1ge57")
    assert np.array_equal(back.signs, SIGNED.signs)
    assert back.provenance["prompts"] == ["p", "q"]
    assert Network.from_json(source, SPACE, name="other").name == "other"


def test_the_json_is_plain() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    about = json.loads(SIGNED.to_json(), parse_constant=refuse)
    assert about["units"] == [[1, 3], [], [0, 5]]
    assert about["signs"] == [[1, -1], [], [1, 0]]
    assert about["widths"] == [4, 0, 6]
    assert about["provenance"] == {"method": "glm", "threshold": 0.05, "prompts": ["p", "q"], "range": [1, None]}
    assert "signs" not in json.loads((~SIGNED).to_json())
    with pytest.raises(TypeError, match="provenance holds <object"):
        Network(SPACE, SIGNED.members, provenance={"what": object()}).to_json()


INDICES = [[1, 3], [], [5, 0]]
MASKS = [[False, True, False, True], [], [True, False, False, False, False, True]]


@pytest.mark.parametrize(
    "released",
    [
        INDICES,
        json.dumps(INDICES),
        [np.array(one, int) for one in INDICES],
        [torch.tensor(one, dtype=torch.int64) for one in INDICES],  # Song et al. 2024, Tang et al. 2024
        MASKS,
        [torch.tensor(one, dtype=torch.bool) for one in MASKS],
        {0: [1, 3], 2: [5, 0]},
        {"0": [1, 3], "2": [5, 0]},
        {"blocks.0.mlp.hook_post": [1, 3], "blocks.2.mlp.hook_post": np.array([5, 0])},
        {"model.layers.0.mlp.down_proj": [1, 3], "layer_2": [0, 5]},
        {"units": {"2": [5, 0], "0": [1, 3]}, "name": "foreign"},
    ],
    ids=str,
)
def test_what_others_release_loads_in_one_line(released: Any) -> None:
    network = Network.from_json(released, SPACE)
    assert network.indices.tolist() == [1, 3, 4, 9]
    assert not network.signs.any()
    assert "prompts" not in network.provenance  # unknown, not none


def test_signs_follow_the_order_in_which_units_are_listed() -> None:
    network = Network.from_json({"units": [[3, 1], [], []], "signs": [[-1, 1], [], []]}, SPACE)
    assert network.signs[[1, 3]].tolist() == [1, -1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([[1], []], r"units has 2 layers, toy mlp\.neurons .* has 3; .* Atlas\.from_json for all of it"),
        ([[[1], [], [2]]], r"units has 1 layers"),
        ([[[1]], [], []], r"layer 0, entry 0 is a list itself"),
        ([[1], [0], []], r"layer 1, entry 0: unit 0 is not in toy .* has 0 units"),
        ([[1], [], [2, 6]], r"layer 2, entry 1: unit 6 is not in toy .* that layer has 6 units"),
        ([[1, -1], [], []], r"layer 0, entry 1: unit -1"),
        ([[1.0], [], []], r"layer 0, entry 0 is 1\.0, no integer"),
        ([["1"], [], []], r"layer 0, entry 0 is '1', no integer"),
        ([[True, 2], [], []], r"layer 0, entry 0 is True, no integer"),
        ([[1, 3, 1], [], []], r"layer 0 lists unit 1 twice"),
        ([[True], [], []], r"layer 0 is a mask of 1 units, toy .* has 4 there"),
        ([[1], [], 7], r"layer 2 of units is 7, no list"),
        ([1, 3, 4], r"layer 0 of units is 1, no list"),
        (torch.tensor(3), r"units is 3, no list"),
        ({3: [0]}, r"layer 3 \(from the key 3 of units\) is not in toy .*; layers: 0 to 2"),
        ({"0": [0], 0: [1]}, r"layer 0 \(from the key 0 of units\) comes twice"),
        ({"sort": [0]}, r"the key 'sort' names no layer"),
        ({"blocks.0.mlp.experts.1": [0]}, r"names no layer"),
        ({"units": INDICES, "signs": [[1], [], [1, 1]]}, r"layer 0 lists 2 units and the signs \[1\]"),
        ({"units": INDICES, "signs": [[1, 2], [], [1, 1]]}, r"and the signs \[1, 2\]; give -1, 0 or 1"),
        (
            {"units": INDICES, "site": "mlp.out", "widths": [4, 0, 6]},
            r"cannot read units of unknown mlp\.out .* and toy",
        ),
        ({"units": INDICES, "widths": [4, 0, 6]}, r"gives widths but no site"),
        ("[[1,", r"the text given is no JSON"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network.from_json(source, SPACE)


def test_a_space_is_needed_and_files_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not say where its units are .* give space=UnitSpace"):
        Network.from_json(INDICES)
    with pytest.raises(FileNotFoundError, match=r"no file at .*sort\.json; give the path of a JSON file"):
        Network.from_json(tmp_path / "sort.json")
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(ValueError, match=r"torn\.json is no JSON"):
        Network.from_json(tmp_path / "torn.json")


def test_an_atlas_comes_back_from_its_json(tmp_path: Path) -> None:
    empty = Network.from_indices(SPACE, [])
    given = Atlas(
        SPACE,
        {"z": SIGNED, "a": empty},
        np.zeros((2, 10)),
        np.array([0.9, math.nan]),
        {"converged": False},
        np.array([0.01, 0.5]),
    )
    given.to_json(tmp_path / "atlas.json")
    back = Atlas.from_json(tmp_path / "atlas.json")
    assert list(back) == ["z", "a"]
    assert dict(back) == dict(given)
    assert np.array_equal(back["z"].signs, SIGNED.signs)
    assert back["z"].provenance["prompts"] == ["p", "q"]
    assert (back.unstable, back.provenance) == (["a"], {"converged": False})
    assert back.stability is not None and np.array_equal(back.stability, [0.9, math.nan], equal_nan=True)
    assert back.maps is None


def test_an_atlas_of_released_masks() -> None:
    by_language = [[torch.tensor(one, dtype=torch.int64) for one in INDICES], [[0], [], []]]
    assert {name: len(one) for name, one in Atlas.from_json(by_language, SPACE).items()} == {"N00": 4, "N01": 1}
    assert list(Atlas.from_json(by_language, SPACE, names=["en", "zh"])) == ["en", "zh"]
    assert Atlas.from_json({"en": INDICES}, SPACE)["en"].indices.tolist() == [1, 3, 4, 9]
    with pytest.raises(ValueError, match=r"2 networks, but the names \['en'\]"):
        Atlas.from_json(by_language, SPACE, names=["en"])
    with pytest.raises(ValueError, match=r"these have names: en"):
        Atlas.from_json({"en": INDICES}, SPACE, names=["en"])
    with pytest.raises(ValueError, match=r"network 'zh': layer 0, entry 0: unit 9"):
        Atlas.from_json({"en": INDICES, "zh": [[9], [], []]}, SPACE)
    with pytest.raises(ValueError, match=r"network 'en': this JSON does not say where"):
        Atlas.from_json({"en": INDICES})


MAP = UnitMap(SPACE, np.arange(10) - 4.5, "t")


def test_a_map_comes_back_from_its_table() -> None:
    shuffled = MAP.to_dataframe().sample(frac=1, random_state=0)
    back = UnitMap.from_dataframe(shuffled.assign(note="x"), SPACE, kind="t")
    assert np.array_equal(back.values, MAP.values)
    assert (back.space, back.kind) == (SPACE, "t")
    renamed = shuffled.rename(columns={"value": "t"}).astype({"layer": "Int64", "unit": float})
    assert np.array_equal(UnitMap.from_dataframe(renamed, SPACE, kind="t", value="t").values, MAP.values)


def test_units_that_the_table_lacks_are_nan() -> None:
    back = UnitMap.from_dataframe(MAP.to_dataframe().iloc[[2, 9]], SPACE, kind="t")
    assert np.flatnonzero(~np.isnan(back.values)).tolist() == [2, 9]
    some = pd.DataFrame({"layer": [0, 0], "unit": [0, 1], "value": pd.array([None, 2], dtype="Int64")})
    assert np.isnan(UnitMap.from_dataframe(some, SPACE, kind="t").values[0])


def test_widths_are_told_by_a_complete_table_only() -> None:
    whole = UnitMap(UnitSpace("resid.post", (2, 3)), np.arange(5.0), "effect").to_dataframe()
    back = UnitMap.from_dataframe(whole[::-1], kind="effect", site="resid.post")
    assert back.space == UnitSpace("resid.post", (2, 3))
    assert back.values.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"unit 1 of layer 1 is not in the table, so .* give space=UnitSpace"):
        UnitMap.from_dataframe(whole.drop(index=3), kind="effect")
    with pytest.raises(ValueError, match=r"layer 1 is not in the table"):
        UnitMap.from_dataframe(MAP.to_dataframe(), kind="t")  # its width is 0, which no table shows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": [0, 3]}, r"line 1 has layer 3, unit 1, which is not in toy"),
        ({"layer": [0, -1]}, r"line 1 has layer -1, unit 1"),
        ({"layer": [0, 1]}, r"line 1 has layer 1, unit 1"),
        ({"unit": [0, 4]}, r"line 1 has layer 0, unit 4"),
        ({"unit": [0, -1]}, r"line 1 has layer 0, unit -1"),
        ({"unit": [0, 0.5]}, r"line 1 has the unit 0\.5, no whole number"),
        ({"unit": [0, math.nan]}, r"line 1 has the unit nan, no whole number"),
        ({"layer": [math.inf, 0]}, r"line 0 has the layer inf, no whole number"),
        ({"unit": [1, 1]}, r"layer 0, unit 1 is in line 0 and in line 1"),
        ({"value": [0, "high"]}, r"line 1 has the value 'high', no number"),
    ],
    ids=str,
)
def test_a_wrong_line_is_named(change: dict[str, list], message: str) -> None:
    table = pd.DataFrame({"layer": [0, 0], "unit": [0, 1], "value": [1.0, 2.0]} | change)
    with pytest.raises(ValueError, match=message):
        UnitMap.from_dataframe(table, SPACE, kind="t")


def test_a_table_without_the_columns() -> None:
    with pytest.raises(ValueError, match=r"has the columns layer, value, but no unit; .* \(value= names another"):
        UnitMap.from_dataframe(pd.DataFrame({"layer": [0], "value": [0.0]}), kind="t")
    with pytest.raises(ValueError, match=r"the table has no lines"):
        UnitMap.from_dataframe(MAP.to_dataframe().iloc[:0], SPACE, kind="t")
    with pytest.raises(TypeError, match="kind"):
        inspect.unwrap(UnitMap.from_dataframe)(MAP.to_dataframe(), SPACE)  # a map of nothing in particular is none


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": "406"}, "widths '406' are no list"),
        ({"widths": [4.0, 0, 6]}, "no list of numbers of units"),
        ({"provenance": [1]}, "provenance is .1., no object"),
    ],
)
def test_a_description_that_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    text = json.dumps({**json.loads(SIGNED.to_json()), **change})
    with pytest.raises(ValueError, match=message):
        Network.from_json(text)


def test_a_name_that_is_a_number_becomes_text() -> None:
    assert Network.from_json({**json.loads(SIGNED.to_json()), "name": 5}).name == "5"


@pytest.mark.parametrize(
    ("source", "message"), [(None, "got None"), (5, "got 5"), (SIGNED.to_json(), "one network, no")]
)
def test_what_is_no_atlas_is_named(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Atlas.from_json(source, SPACE)


def test_marks_and_damage_of_json_files_are_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "sort.json"
    text = SIGNED.to_json()
    for marked in (text, "\ufeff" + text.replace("\n", "\r\n")):
        path.write_bytes(marked.encode())
        assert Network.from_json(path) == Network.from_json(marked) == SIGNED
    for damaged, message in (
        (text.replace('"units"', '"name"'), r"the name 'name' comes twice"),
        ("[" * 5000, "Expecting|nested"),
        (text.replace("toy", r"\ud800"), "half of a surrogate pair"),
    ):
        path.write_text(damaged)
        with pytest.raises(InputError, match=r"sort\.json is no JSON .*" + message):
            Network.from_json(path)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match=r"sort\.json is no text in UTF-8 but in UTF-16"):
        Network.from_json(path)
