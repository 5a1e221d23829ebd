"""Saved results: any file says what it holds, and a folder becomes a page without a model."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import tl_fbn as fbn
from tests.helpers.results import contrast, dose, lesions, results, study
from tests.helpers.units import TOY
from tl_fbn import files
from tl_fbn import results as saved
from tl_fbn.reporting.page.report import Report
from tl_fbn.results import result_class, result_names
from tl_fbn.units import Atlas, Network, UnitMap


@pytest.fixture
def folder(tmp_path: Path, noise_recording: fbn.Recording) -> Path:
    study().save(tmp_path / "a study.safetensors")
    dose().save(tmp_path / "dose.safetensors")
    contrast(noise="ar1").save(tmp_path / "z contrast.safetensors")
    Network.from_indices(TOY, [1], name="n").save(tmp_path / "network.safetensors")
    UnitMap(TOY, np.arange(10.0), "t").save(tmp_path / "both.safetensors")
    lesions().to_csv(tmp_path / "both.csv", index=False)
    runs = [[np.asarray(run.layer(layer)) for layer in (0, 1)] for run in noise_recording]
    events = [run.events for run in noise_recording]
    fbn.Recording.from_arrays(runs, events=events, path=tmp_path / "recording")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "other").mkdir()
    (tmp_path / ".hidden").write_text("")
    return tmp_path


def test_every_kind_comes_back_as_itself(tmp_path: Path) -> None:
    for number, result in enumerate(one for one in results() if hasattr(one, "save")):
        result.save(tmp_path / f"{number}.safetensors")
        again = saved.load(tmp_path / f"{number}.safetensors")
        assert type(again) is type(result) and repr(again) == repr(result)


def test_everything_public_that_can_be_saved_is_known() -> None:
    nouns = {name: noun for name in fbn.__all__ if inspect.isclass(noun := getattr(fbn, name))}
    for space in (fbn.glm, fbn.ica, fbn.networks, fbn.attribution, fbn.behaviour, fbn.studies, fbn.pruning):
        nouns |= {name: noun for name in space.__all__ if inspect.isclass(noun := getattr(space, name))}
    can = {name for name, noun in nouns.items() if hasattr(noun, "save") and hasattr(noun, "load")}
    assert len(can) > 30 and can <= set(saved.result_names())
    for name in can:
        assert saved.result_class(name) is nouns[name]


def test_a_folder_comes_in_the_order_of_the_argument(folder: Path) -> None:
    found = saved.load_results(folder)
    assert list(found) == ["recording", "z contrast", "network", "both.safetensors", "a study", "dose", "both.csv"]
    assert set(found.skipped) == {"notes.txt", "broken.safetensors", "other"}
    assert "damaged" in found.skipped["broken.safetensors"]
    assert "7: recording (Recording)" in repr(found) and "notes.txt" in found._repr_html_()


def test_a_folder_makes_a_page(folder: Path) -> None:
    html = Report("Again", *saved.load_results(folder).values()).to_html()
    titles = (
        "Recording",
        "Contrast sort - rest",
        "Network n",
        "What lesions show",
        "Lesion study",
        "Dose response: sort",
        "Methods",
        "Provenance",
    )
    places = [html.index(f">{title}</a>") for title in titles]
    assert places == sorted(places)


def test_the_report_of_a_pruned_model_is_loaded_without_the_model(tmp_path: Path) -> None:
    report = results()[7]
    arrays, described = report._pack_()
    files.write_result(tmp_path / saved.PRUNED, "Pruned", arrays, {"report": described})
    assert repr(saved.load(tmp_path)) == repr(report)


def test_the_name_of_a_pruned_models_file_is_the_one_that_is_written() -> None:
    from tl_fbn.intervention.pruning import checkpoint

    assert saved.PRUNED == checkpoint.FILE


def test_wrong_paths_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file at"):
        saved.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"load_results\(folder\)"):
        saved.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder at"):
        saved.load_results(tmp_path / "none")
    with pytest.raises(ValueError, match="it is empty"):
        saved.load_results(tmp_path)
    files.write_result(tmp_path / "part.safetensors", "LesionPart", {"x": np.zeros(1)}, {})
    with pytest.raises(ValueError, match=r"holds a LesionPart, which is no result to load; results: .*Atlas"):
        saved.load(tmp_path / "part.safetensors")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="is no table"):
        saved.load(tmp_path / "empty.csv")


def test_the_noun_is_read_from_the_header(tmp_path: Path) -> None:
    Atlas.from_networks({"a": Network.from_indices(TOY, [0])}).save(tmp_path / "a")
    assert files.noun_of(tmp_path / "a") == "Atlas"


def test_tables_keep_their_columns(tmp_path: Path) -> None:
    lesions().to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    pd.testing.assert_frame_equal(saved.load(tmp_path / "t.tsv"), lesions())


def test_no_model_library_is_imported_to_load_maps(tmp_path: Path) -> None:
    contrast().save(tmp_path / "c.safetensors")
    code = f"import sys, tl_fbn as fbn; fbn.load({str(tmp_path / 'c.safetensors')!r}); assert 'torch' not in sys.modules and 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:.*saved by an earlier version")
@pytest.mark.parametrize("about", ["{}", "[]", "null", '"x"', '{"space": 5}'])
@pytest.mark.parametrize("noun", ['"Network"', '"PermutationTest"', '"Recording"', '["x"]', '"PruneReport"'])
def test_a_file_whose_description_is_wrong_is_damaged(tmp_path: Path, noun: str, about: str) -> None:
    Network.from_indices(TOY, [1], name="n").save(tmp_path / "good.safetensors")
    header = {"tl_fbn": f'{{"noun": {noun}, "format": 1, "about": {about}}}'}
    save_file({"values": np.zeros(3)}, tmp_path / "bad.safetensors", metadata=header)
    with pytest.raises(ValueError, match="damaged"):
        saved.load(tmp_path / "bad.safetensors")
    found = saved.load_results(tmp_path)
    assert list(found) == ["good"] and list(found.skipped) == ["bad.safetensors"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"noun": "Network", "format": Infinity, "about": {}}'])
def test_a_header_that_cannot_be_read_is_damaged(tmp_path: Path, text: str) -> None:
    save_file({"values": np.zeros(3)}, tmp_path / "bad.safetensors", metadata={"tl_fbn": text})
    with pytest.raises(ValueError, match="damaged"):
        saved.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("text", ["[]", '{"n_runs": "x", "format": 1}', "{bad"])
def test_a_recording_whose_description_is_wrong_is_left_out(tmp_path: Path, text: str) -> None:
    Network.from_indices(TOY, [1], name="n").save(tmp_path / "good.safetensors")
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "recording.json").write_text(text)
    assert list(saved.load_results(tmp_path).skipped) == ["rec"]


def test_pipes_and_loops_are_left_out(tmp_path: Path) -> None:
    Network.from_indices(TOY, [1], name="n").save(tmp_path / "good.safetensors")
    for name in ("pipe.csv", "pipe.safetensors"):
        os.mkfifo(tmp_path / name)  # reading it would wait for ever
    for name in ("loop.csv", "loop.safetensors", "loop"):
        (tmp_path / name).symlink_to(tmp_path / name)
    found = saved.load_results(tmp_path)
    assert list(found) == ["good"] and len(found.skipped) == 5


def test_no_result_takes_the_name_of_another(tmp_path: Path) -> None:
    Network.from_indices(TOY, [1], name="n").save(tmp_path / "x.csv.safetensors")
    for ending in ("csv", "tsv"):
        (tmp_path / f"x.{ending}").write_text("a\n1\n")
    assert sorted(saved.load_results(tmp_path)) == ["x.csv", "x.csv.safetensors", "x.tsv"]


def test_every_public_result_shows_itself_in_a_notebook() -> None:
    nouns = {name: result_class(name) for name in result_names()}
    assert len(nouns) > 30
    assert all(callable(getattr(noun, "_repr_html_", None)) for noun in nouns.values())


@pytest.mark.parametrize("result", results(), ids=lambda one: type(one).__name__)
def test_notebook_tables_are_small(result: Any) -> None:
    html = result._repr_html_()
    assert html.count("<table") == 1 and len(html) < 20_000
