"""What holds for maps, networks and atlases alike: files that refuse one another, and words for what is of the wrong
kind.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.helpers.units import TOY
from tl_fbn import files
from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace


def saved_nouns(folder: Path, atlas: Atlas) -> dict[str, Path]:
    UnitMap(TOY, np.arange(10.0), "t").save(folder / "map")
    atlas["z"].save(folder / "network")
    atlas.save(folder / "atlas")
    return {"UnitMap": folder / "map", "Network": folder / "network", "Atlas": folder / "atlas"}


NOUNS = {"UnitMap": UnitMap, "Network": Network, "Atlas": Atlas}


@pytest.mark.parametrize("noun", NOUNS)
def test_files_refuse_other_nouns_newer_formats_and_damage(tmp_path: Path, atlas: Atlas, noun: str) -> None:
    paths = saved_nouns(tmp_path, atlas)
    path = paths.pop(noun)
    for other, elsewhere in paths.items():
        with pytest.raises(ValueError, match=f"holds a {other}, not a {noun}; load it with {other}.load"):
            NOUNS[noun].load(elsewhere)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        header = json.loads(file.metadata()["tl_fbn"])
    assert header["format"] == files.FORMAT_VERSION
    save_file(arrays, tmp_path / "newer", metadata={"tl_fbn": json.dumps({**header, "format": 99})})
    with pytest.raises(ValueError, match="has format version 99, this tl_fbn reads up to 2; update tl_fbn"):
        NOUNS[noun].load(tmp_path / "newer")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="is damaged or no result file"):
        NOUNS[noun].load(path)
    with pytest.raises(FileNotFoundError, match="no file at"):
        NOUNS[noun].load(tmp_path / "nowhere")


@pytest.mark.usefixtures("unchecked")
def test_lists_and_numpy_integers_serve_where_nobody_checks_types(tmp_path: Path) -> None:
    space = UnitSpace("mlp.neurons", np.array([2, 1]))
    assert json.dumps(space.about()["widths"]) == "[2, 1]"
    scores = UnitMap(space, [1, 3, 2], "t")
    assert scores.values.dtype == np.float64
    picked = scores.top(np.int64(2))
    assert picked.indices.tolist() == [1, 2]
    picked.save(tmp_path / "a.net")
    assert Network.load(tmp_path / "a.net").provenance["selection"]["top"] == 2
    assert Network(space, [True, False, True], [1, 0, -1]).signs.tolist() == [1, 0, -1]


@pytest.mark.usefixtures("unchecked")
def test_wrong_kinds_are_refused_in_words() -> None:
    space = UnitSpace("mlp.neurons", (2, 1))
    with pytest.raises(ValueError, match=r"signs have shape \(1,\), members \(3,\); give one sign a unit"):
        Network(space, [True] * 3, [1])
    for numbers in ([1, 0, 1], np.array([0, 2])):
        with pytest.raises(
            ValueError, match=r"are 3 booleans; got int64 of shape .*Network\.from_indices takes indices"
        ):
            Network(space, numbers)
    with pytest.raises(TypeError, match="float"):
        Network.from_indices(space, [2.0])
    with pytest.raises(
        TypeError, match=r"a network combines with a network; got UnitMap\. Select units with \.top first"
    ):
        _ = Network(space, [True] * 3) | UnitMap(space, np.zeros(3), "t")
