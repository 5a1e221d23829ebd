"""Recordings and results that version 0.1 wrote open, and say and hold what they did then.

``tests/data/version_0_1`` was written by commit 0a69ec3, before modules moved and fields were renamed; ``said.json``
beside the files holds what that version
said of each: its repr, the lines of its table, the sum of its numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.units.result import RESULT_CLASSES

FOLDER = Path(__file__).parent / "data" / "version_0_1"
SAID: dict[str, dict[str, Any]] = json.loads((FOLDER / "said.json").read_text(encoding="utf-8"))
# of files without a checksum of their own, which is said
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{words}:UserWarning")
    for words in ("saved by an earlier version, without a checksum", "recorded by an earlier version")
]
RESULTS = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def total(table: Any) -> float:
    return float(np.nansum(table.select_dtypes("number").to_numpy(float)))


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_what_it_was(name: str, tmp_path: Path) -> None:
    said = SAID[name]
    result = fbn.load(FOLDER / f"{name}.safetensors")
    assert type(result).__name__ == said["type"] and repr(result) == said["repr"]
    table = result.to_dataframe()
    assert len(table) == said["rows"] and total(table) == said["sum"]
    assert result.provenance is not None
    result.save(tmp_path / "again.safetensors")
    again = type(result).load(tmp_path / "again.safetensors")
    assert repr(again) == said["repr"] and again.to_dataframe().equals(table)


def test_every_kind_of_that_time_is_among_them() -> None:
    fbn.load_results(FOLDER)
    known = {SAID[name]["type"] for name in RESULTS}
    later = {
        "Collapse",
        "Concordance",
        "HarnessEvaluation",
        "InterModelCorrelation",
        "LeakEstimate",
        "Massive",
        "Matching",
        "Multiplicity",
        "NullCheck",
        "OrderSearch",
        "Reliability",
        "SecondLevel",
    }
    later |= {"LesionMap", "Retention", "ShapleyValues", "SlidingConnectivity", "TokenAblation", "Preset", "Recording"}
    later |= {"PaperStudy"}
    ours = {name for name, kind in RESULT_CLASSES.items() if kind.__module__.startswith("tl_fbn.")}
    assert ours - later == known


@pytest.mark.parametrize("name", ["recording", "scan"])
def test_a_recording_is_what_it_was(name: str) -> None:
    recording = fbn.Recording.open(FOLDER / name)
    recording.verify()
    assert recording.key == SAID[name]["key"]
    layers = [run.layer(layer) for run in recording for layer in run.layers]
    assert sum(float(np.asarray(values, float).sum()) for values in layers) == pytest.approx(
        SAID[name]["sum"], rel=1e-12
    )


def test_what_an_ica_measured_left_its_provenance() -> None:
    atlas = fbn.load(FOLDER / "atlas.safetensors")
    assert atlas.converged is True and len(atlas.explained) == len(atlas) and len(atlas.noise_iq) == 1
    assert not {"converged", "explained", "iq_of_noise_95"} & set(atlas.provenance)


def test_a_folder_makes_a_page() -> None:
    found = fbn.load_results(FOLDER)
    assert set(found) == {*RESULTS, "recording", "scan"}
    html = fbn.Report("Then", *found.values()).to_html()
    assert ">Methods</a>" in html and ">Provenance</a>" in html


def test_that_older_files_have_no_checksum_is_said() -> None:
    with pytest.warns(UserWarning, match=r"network\.safetensors was saved by an earlier version, without a checksum"):
        fbn.load(FOLDER / "network.safetensors")
    with pytest.warns(
        UserWarning, match=r"scan was recorded by an earlier version, whose recording\.json and run\.json"
    ):
        fbn.Recording.open(FOLDER / "scan")
