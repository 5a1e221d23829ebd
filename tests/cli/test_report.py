"""``tl-fbn report``: everything saved in a folder becomes one page; and the whole pipeline, from prompts to
that page.
"""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.cli import answer, invoke, planted, refused, run
from tl_fbn.cli.report import _maps_of_networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "r"
    planted(path)
    answer("glm", path, "a - b", "--name", "task", "--top", "2")
    answer("networks", path, "-k", "2", "--restarts", "2")
    return path


def test_everything_saved_is_on_the_page_in_the_order_of_the_argument(folder):
    found = answer("report", folder, "--title", "What follows <a>?", "--intro", "Planted.")
    assert [one["kind"] for one in found["results"]] == ["Recording", "GLMFit", "Contrast", "Atlas", "Network"]
    page = Path(found["page"])
    assert page == folder / "report.html"
    assert found["bytes"] == page.stat().st_size
    html = page.read_text()
    assert "What follows &lt;a&gt;?" in html
    assert "Planted." in html
    assert html.index("Contrast task") < html.index("Atlas of 2 networks")


def test_several_folders_into_one_page(folder, tmp_path):
    planted(tmp_path / "other", seed=1)
    answer("glm", tmp_path / "other", "a - b")
    text = invoke("report", folder, tmp_path / "other", "-o", tmp_path / "both.html").stdout
    assert f"{folder}: contrast-task" in text
    assert f"{tmp_path / 'other'}: contrast-a-b" in text
    assert f"Page: {tmp_path / 'both.html'} (" in text
    assert (tmp_path / "both.html").exists()


def test_what_is_no_result_is_left_out_and_said(folder, tmp_path):
    fbn.Network.load(folder / "results" / "network-task.safetensors").save(tmp_path / "n.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    result = invoke("report", tmp_path)
    assert f"left out: {tmp_path / 'junk.safetensors'}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "junk" not in result.stdout


def test_the_viewer(folder, tmp_path):
    found = answer("report", folder, "--viewer", "-o", tmp_path / "page.html")
    html = Path(found["viewer"]).read_text()
    assert Path(found["viewer"]) == tmp_path / "viewer.html"
    assert all(name in html for name in ("N00", "N01", "task"))
    contrast = fbn.glm.Contrast.load(folder / "results" / "contrast-task.safetensors")
    atlas = fbn.Atlas.load(next((folder / "results").glob("atlas-*")))
    maps = _maps_of_networks({"contrast-task": contrast, "network-task": atlas["N00"].rename("its name")}, [atlas])
    assert list(maps) == ["N00", "N01", "its name"]  # every network has the map it was cut from
    assert np.array_equal(maps["its name"].values, contrast.z.values)
    assert np.array_equal(maps["N01"].values, atlas.maps[1])


def test_what_cannot_be_is_refused(folder, tmp_path):
    assert "no folder at" in refused("report", tmp_path / "nowhere")
    assert "no result in" in refused("report", tmp_path)
    planted(tmp_path / "bare")
    assert "tl-fbn glm, networks, cgvst and lesion write them" in refused("report", tmp_path / "bare")
    assert "is a folder; give the page's file" in refused("report", folder, "-o", tmp_path)
    fbn.Network.load(folder / "results" / "network-task.safetensors").save(tmp_path / "n.safetensors")
    assert "is a recording" in refused("report", tmp_path, "--viewer", "-o", tmp_path / "p.html")


@pytest.mark.slow
def test_the_whole_pipeline_in_processes_of_their_own(tmp_path):
    def found(*arguments: str) -> dict:
        finished = run(*arguments, "--json", "--no-progress", cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    small = ("--runs", "2", "--cycles", "3", "--tokens-per-block", "32")
    scan = found("scan", "demo", "demo:sort,rest", "-o", "sort", *small)
    glm = found("glm", "sort", "sort - rest", "--top", "0.05", "--by", "effect", "--positive", "--name", "sort")
    networks = found("networks", "sort", "-k", "3", "--restarts", "3")
    cgvst = found("cgvst", "demo", "demo:sort", "--items", "10", "-o", "sort/results")
    lesion = found(
        "lesion", "demo", glm["contrasts"][0]["network"], "--battery", "demo", "--items", "6", "--controls", "2"
    )
    prune = found("prune", "demo", networks["atlas"], "--ratio", "0.1", "-o", "pruned", "--compensate", "sort")
    report = found("report", "sort", "--viewer")

    model = fbn.demo.load_model()
    recording = fbn.Recording.open(tmp_path / "sort")
    assert scan["key"] == recording.key
    network = fbn.fit_glm(recording).contrast("sort - rest").effect.top(0.05, name="sort")
    assert fbn.Network.load(tmp_path / glm["contrasts"][0]["network"]) == network
    scores = fbn.cgvst(model, fbn.chats("sort")[:10], progress=False)
    assert fbn.Network.load(tmp_path / cgvst["tasks"][0]["network"]) == scores.top(0.05)
    study = fbn.lesion_study(model, {"sort": network}, fbn.demo.battery(n=6), n_controls=2, seed=0, progress=False)
    assert [line["drop"] for line in lesion["lesions"]] == study.to_dataframe()["drop"].tolist()
    assert prune["removed_share"] == pytest.approx(0.1, abs=0.002)
    assert {one["kind"] for one in report["results"]} == {
        "Recording",
        "GLMFit",
        "Contrast",
        "Network",
        "Atlas",
        "UnitMap",
        "LesionStudy",
        "PruneReport",
    }
    assert (tmp_path / report["page"]).exists()
    assert (tmp_path / report["viewer"]).exists()
    again = run("scan", "pruned", "demo:sort,rest", "-o", "p", *small, cwd=tmp_path)
    assert again.returncode == 0, again.stderr  # a pruned model is a model


def test_the_viewer_does_not_replace_the_page(folder, tmp_path):
    assert "where --viewer puts the viewer" in refused("report", folder, "--viewer", "-o", tmp_path / "viewer.html")
    assert not (tmp_path / "viewer.html").exists()


def test_a_result_called_like_the_folder_leaves_the_recording_on_the_page(tmp_path, monkeypatch):
    planted(tmp_path / "sort")
    fbn.Network.from_indices(fbn.Recording.open(tmp_path / "sort").space, [0], name="n").save(
        tmp_path / "sort" / "results" / "sort.safetensors"
    )
    monkeypatch.chdir(tmp_path)
    assert [one["kind"] for one in answer("report", "sort")["results"]] == ["Recording", "Network"]


def test_words_beside_units_where_a_model_is_named(tmp_path, demo_model):
    design = fbn.block_design({t: fbn.prompts(t) for t in ("sort", "reverse")}, n_runs=2, n_cycles=2, seed=0)
    fbn.Scanner(demo_model).scan(design, tmp_path / "r", progress=False)
    answer("glm", tmp_path / "r", "sort - reverse", "--top", "12", "--name", "sort", "--no-save-fit")
    found = answer("report", tmp_path / "r", "--model", "demo", "--viewer")
    network = fbn.Network.load(tmp_path / "r" / "results" / "network-sort.safetensors")
    words = fbn.networks.promoted_tokens(network, demo_model, n_tokens=3)
    page = Path(found["page"]).read_text()
    assert "What the units of sort promote" in page and html.escape(words.promotes[1]) in page
    first = network.space.index(int(words.layer[1]), int(words.unit[1]))
    said = json.dumps({str(first): words.promotes[1]}, separators=(",", ":")).strip("{}").replace("<", "\\u003c")
    assert said in Path(found["viewer"]).read_text()
    assert "What the units of sort promote" not in Path(answer("report", tmp_path / "r")["page"]).read_text()
