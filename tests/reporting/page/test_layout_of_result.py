"""Sections: every result is laid out with its own picture and its table, and every public noun shows itself in a notebook."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.results import contrast, lesions, results, study
from tests.helpers.units import TOY
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page import layouts
from tl_fbn.reporting.page.layout_of_result import sections_of
from tl_fbn.units import Atlas, Network

pytest.importorskip("plotly")


@pytest.mark.parametrize("result", results(), ids=lambda one: type(one).__name__)
def test_a_result_is_drawn_with_the_picture_of_its_kind(result: Any) -> None:
    sections = sections_of(result)
    drawn = [one for one in sections if one.figure is not None]
    assert drawn and all(one.table is not None and len(one.table) for one in drawn)  # every figure has its table
    names = [getattr(one.figure, "func", None) for one in drawn]
    assert getattr(figures, layouts.PICTURES[type(result).__name__]) in names
    for one in drawn:
        assert one.draw().data


def test_a_lesion_study_has_controls_matrix_and_pairs() -> None:
    drawn = {one.title: getattr(one.figure, "func", None) for one in sections_of(study())}
    assert drawn["What lesions show"] is figures.lesion_controls
    assert drawn["Lesion study"] is figures.lesion_matrix
    assert drawn["Double dissociations"] is figures.dissociation


def test_pairs_of_a_study_of_likelihoods_are_drawn_in_nats_with_their_controls() -> None:
    nats = dataclasses.replace(study(), metric="log_likelihood")
    (pairs,) = [one for one in sections_of(nats) if one.title == "Double dissociations"]
    figure = pairs.draw()
    assert figure.layout.yaxis.title.text == "drop (nats)" and " nats " in figure.layout.annotations[0].text
    own = next(trace for trace in figure.data if trace.name == "sort")
    assert own.y[0] == nats.dissociations()["first_own"][0]  # not times 100
    assert any("random" in (trace.name or "") for trace in figure.data)


def test_a_contrast_without_its_picture_falls_back_to_the_glass_brain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(figures, "contrast")
    (section,) = sections_of(contrast())
    assert section.draw().data[0].type == "heatmap" and "The picture shows z" in section.text


def test_known_tables_with_repeated_lines_are_shown_without_a_picture() -> None:
    line = {"a": "x", "b": "y", "correlation": 0.1, "p_correlation": 0.5, "dice": 0.1, "expected": 0.1, "p_dice": 0.5}
    once, twice = pd.DataFrame([line]), pd.DataFrame([line, line])
    assert sections_of(once)[0].title == "Do maps agree?" and sections_of(once)[0].figure is not None
    assert sections_of(twice)[0].title == "Table" and sections_of(twice)[0].figure is None


def test_a_recording_is_its_runs_and_time_courses_are_drawn(noise_recording: fbn.Recording) -> None:
    (section,) = sections_of(noise_recording)
    assert section.table is not None and section.table["rows"].tolist() == [80, 80]
    assert section.table["conditions"].tolist() == ["a, b", "a, b"]
    networks = {"x": Network.from_indices(noise_recording.space, [0, 1])}
    courses = sections_of(fbn.time_courses(noise_recording, networks))
    assert [one.title for one in courses] == ["Time courses", "Networks over tokens"]
    assert courses[1].draw().data


def test_stability_stands_beside_its_numbers() -> None:
    networks = {"a": Network.from_indices(TOY, [0]), "b": Network.from_indices(TOY, [4])}
    atlas = Atlas(TOY, networks, None, np.array([0.9, 0.4]), {}, np.array([0.01, 0.5]))
    section = next(one for one in sections_of(atlas) if one.title == "Stability")
    assert section.table is not None and section.table["stability"].tolist() == [0.9, 0.4]
    assert "No more stable than noise: b" in section.text


def test_a_type_of_the_same_name_from_elsewhere_is_no_result_of_ours() -> None:
    class Contrast:
        def to_dataframe(self) -> pd.DataFrame:
            return lesions()

    assert sections_of(Contrast())[0].title == "Contrast"


# What needs no notebook table: tools, and parts of results
NO_TABLE = {"Scanner", "Intervention", "Example", "Section", "UnitSpace"}


def test_every_public_result_shows_itself_in_a_notebook() -> None:
    public = {name: getattr(fbn, name) for name in fbn.__all__}
    nouns = {name: noun for name, noun in public.items() if inspect.isclass(noun)}
    missing = {name for name, noun in nouns.items() if not callable(getattr(noun, "_repr_html_", None))}
    assert missing <= NO_TABLE, f"no _repr_html_: {', '.join(sorted(missing - NO_TABLE))}"


@pytest.mark.parametrize("result", results(), ids=lambda one: type(one).__name__)
def test_notebook_tables_are_small(result: Any) -> None:
    html = result._repr_html_()
    assert html.count("<table") == 1 and len(html) < 20_000
