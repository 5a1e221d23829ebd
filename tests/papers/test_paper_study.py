"""What came of a protocol: saved, loaded, drawn and told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tl_fbn as fbn
from tests.helpers.results import paper_study
from tl_fbn.papers import PaperStudy


@pytest.fixture
def study() -> PaperStudy:
    return paper_study()


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
