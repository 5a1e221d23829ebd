"""What the demo says of its results, in a terminal and on a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import tl_fbn as fbn
from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.demo import story


def test_tables_and_page_tell_the_same_story(result, tmp_path):
    experiment, found = result
    text = story.tables(found, experiment)
    for name in formal.TASKS:
        assert name in text
    page = tmp_path / "report.html"
    story.report(found, experiment).save(page)
    html = page.read_text(encoding="utf-8")
    assert html.count("<h2") >= 8
    assert page.stat().st_size < 7_000_000
    drop = found.study.summary()["own"].max()
    assert f"{100 * drop:.0f}" in text
    assert {path.name for path in Path(found.folder).iterdir()} >= {
        "atlas.safetensors",
        "glm.safetensors",
        "lesions.safetensors",
        "lesions.csv",
        "amplification.csv",
    }
    assert fbn.Atlas.load(found.folder / "atlas.safetensors")["sort"] == found.atlas["sort"]
    np.testing.assert_array_equal(fbn.glm.GLMFit.load(found.folder / "glm.safetensors").rho, found.fit.rho)


def test_lesions_are_in_whole_points_beside_chance(result) -> None:
    _, found = result
    table = story.lesion_table(found).set_index("network")
    study, own = found.study, found.study.summary().set_index("network")
    assert list(table.columns[:7]) == list(study.tasks) == list(formal.TASKS)
    np.testing.assert_array_equal(table[list(study.tasks)], np.round(100 * study.drops()).astype(int))
    np.testing.assert_array_equal(table["| own"], np.diag(table[list(study.networks)]))
    np.testing.assert_allclose(table["random p95"], 100 * own["control_p95"], atol=0.5)
    assert table["p"].tolist() == own["p"].round(4).tolist()
    assert story.lesion_unit(found) == "points of exact match lost"


def test_tables_of_the_page_by_hand(result) -> None:
    _, found = result
    networks = story.network_table(found)
    assert networks["share"].tolist() == [f"{len(one) / one.space.n_units:.1%}" for one in found.atlas.values()]
    peaks = story._largest_effects(found)
    for name, of_network in peaks.groupby("network"):
        values = found.maps[name].values
        places = [
            found.atlas.space.index(layer, neuron)
            for layer, neuron in of_network[["layer", "neuron"]].to_numpy().tolist()
        ]
        assert set(places) == set(np.argsort(values)[-3:]) and list(of_network["effect"]) == sorted(values)[:-4:-1]
    courses = pd.DataFrame({"run": 0, "row": range(4), "condition": ["a", "b", "a", "b"], "n": [1.0, 2.0, 3.0, 6.0]})
    assert story._means_by_condition(courses).to_dict("list") == {"condition": ["a", "b"], "n": [2.0, 4.0]}
