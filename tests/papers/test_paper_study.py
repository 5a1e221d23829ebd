"""What came of a protocol: saved, loaded, drawn and told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tl_fbn.papers import PaperStudy
from tl_fbn.papers.claims import Claim
from tl_fbn.papers.paper_study import PaperTable


@pytest.fixture
def study() -> PaperStudy:
    space = fbn.UnitSpace("mlp.neurons", (4, 4), model="toy")
    claims = [
        Claim("It is so", "half of it", "share", 0.5, "holds", "Half.", 0.1, "chance", 0.4, 0.6, 0.01, "9 tasks"),
        Claim("It is more", "no figure known", "nats", -1.0, "does not hold", "It is less."),
    ]
    square = pd.DataFrame({"network": ["a", "b"], "a": [1.0, -0.5], "b": [0.5, 1.0]})
    lines = pd.DataFrame({"masks": ["x", "x", "y"], "share": [0.1, 0.2, 0.1], "exact": [1.0, 0.5, 0.7]})
    tables = {
        "square": PaperTable("A square", "What it is.", square, "matrix"),
        "lines": PaperTable("Lines", "What they are.", lines, "curves"),
        "plain": PaperTable("Numbers", "What they are.", lines),
    }
    results = {"network": fbn.Network.from_indices(space, [1, 5])}
    about = {"model": "toy", "seed": 0, "quick": False}
    return PaperStudy.of(fbn.papers.s1.settings, claims, tables, results, about)


def test_a_study_comes_back_from_its_file(study, tmp_path):
    study.save(tmp_path / "s.safetensors")
    again = fbn.load(tmp_path / "s.safetensors")
    assert isinstance(again, PaperStudy) and repr(again) == repr(study)
    pd.testing.assert_frame_equal(again.claims, study.claims)
    for name, one in study.tables.items():
        pd.testing.assert_frame_equal(again.table(name), one.table)
        assert (again.tables[name].title, again.tables[name].picture) == (one.title, one.picture)
    assert again.results["network"] == study.results["network"]
    assert again.settings.name == "s1_cgvst" and again.provenance["seed"] == 0


def test_a_study_says_what_holds(study):
    assert repr(study) == "PaperStudy s1 on toy: 2 claims (1 holds, 1 does not hold)"
    assert "It is more: does not hold. It is less." in study.verdict()
    assert "It is so" in str(study)
    with pytest.raises(fbn.InputError, match="tables: square, lines, plain"):
        study.table("none")


def test_pictures_and_page(study, tmp_path):
    assert set(study.pictures) == {"claims", "square", "lines"}
    page = study.report(tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "It is more" in html and "does not hold" in html and "What it is." in html
    assert [one.title for one in page.sections()][:2] == ["Claims", "A square"]
    assert "quick run" not in html
    assert np.isnan(study.to_dataframe()["control"].iloc[1])
    fbn.Report("Both", study).save(tmp_path / "both.html")
