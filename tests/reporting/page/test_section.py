"""Sections: every result is laid out with its own picture and its table, and what cannot be shown is refused."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.paths import ROOT
from tests.helpers.results import lesions, results, study
from tests.helpers.units import TOY
from tl_fbn.analysis.networks.concordance import Concordance
from tl_fbn.reporting import plot as figures
from tl_fbn.reporting.page.report import Report
from tl_fbn.reporting.page.section import sections_of
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.result import RESULT_CLASSES, Result

pytest.importorskip("plotly")


@pytest.mark.parametrize("result", results(), ids=lambda one: type(one).__name__)
def test_a_result_is_drawn_with_the_picture_of_its_kind(result: Any) -> None:
    sections = sections_of(result)
    drawn = [one for one in sections if one.figure is not None]
    assert drawn and all(one.table is not None and len(one.table) for one in drawn)  # every figure has its table
    names = [getattr(one.figure, "func", None) for one in drawn]
    assert getattr(figures, type(result)._picture_) in names
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


def test_tables_are_shown_as_they_are_and_nouns_bring_their_picture() -> None:
    line = {"a": "x", "b": "y", "correlation": 0.1, "p_correlation": 0.5, "dice": 0.1, "expected": 0.1, "p_dice": 0.5}
    table = pd.DataFrame([line])
    assert sections_of(table)[0].title == "Table" and sections_of(table)[0].figure is None
    (section,) = sections_of(Concordance(table, {"seed": 0, "top": 0.05, "n_null": 9}))
    assert section.title == "Do maps agree?" and section.draw().data


def test_a_result_that_says_nothing_is_its_repr_its_picture_and_its_table() -> None:
    @dataclasses.dataclass(frozen=True)
    class Mine(Result, step="comparison", picture="concordance"):
        table: pd.DataFrame

        def to_dataframe(self) -> pd.DataFrame:
            return self.table

    line = {"a": "x", "b": "y", "correlation": 0.1, "p_correlation": 0.5, "dice": 0.1, "expected": 0.1, "p_dice": 0.5}
    (section,) = sections_of(Mine(pd.DataFrame([line])))
    assert section.title == "Mine" and "Mine(table=" in section.text and section.draw().data
    assert section.table is not None and len(section.table) == 1
    RESULT_CLASSES.pop("Mine")


def test_every_named_picture_exists() -> None:
    pictures = {kind._picture_ for kind in RESULT_CLASSES.values() if kind._picture_}
    assert len(pictures) >= 12 and pictures <= set(figures.__all__)


def test_every_picture_that_a_section_names_exists() -> None:
    named = set()
    for file in (ROOT / "tl_fbn").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "_report_sections_":
                dicts = [one for one in ast.walk(node) if isinstance(one, ast.Dict)]
                values = [v for one in dicts for k, v in zip(one.keys, one.values, strict=True) if _is(k, "picture")]
                first = [v.elts[0] if isinstance(v, ast.Tuple) else v for v in values]
                named |= {one.value for one in first if isinstance(one, ast.Constant)}
    assert len(named) >= 8 and named <= set(figures.__all__)


def _is(key: ast.expr | None, name: str) -> bool:
    return isinstance(key, ast.Constant) and key.value == name


def test_a_recording_is_its_runs_and_time_courses_are_drawn(noise_recording: fbn.Recording) -> None:
    (section,) = sections_of(noise_recording)
    assert section.table is not None and section.table["rows"].tolist() == [80, 80]
    assert section.table["conditions"].tolist() == ["a, b", "a, b"]
    networks = {"x": Network.from_indices(noise_recording.space, [0, 1])}
    courses = sections_of(fbn.networks.time_courses(noise_recording, networks))
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


@pytest.mark.parametrize("wrong", [3, object(), UnitMap, {"a": 1}, {}, [1, 2]])
def test_what_cannot_be_shown_is_refused_at_once(scores: UnitMap, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"result 2 of this report is of type .*; a report shows a Section"):
        Report("R", scores, wrong)


def test_the_coloured_tokens_are_a_section(demo_model: Any) -> None:
    html = Report("R", fbn.token_layout(demo_model, fbn.chats("sort", n=1)[0])).to_html()
    assert "background:#fdb863" in html and ">Tokens</a>" in html
