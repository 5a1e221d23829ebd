"""Tables and words of a null check."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.results import null_check


def test_a_summary_takes_the_worst_of_each_column() -> None:
    table = null_check().summary().set_index("number")
    assert table.loc["own"].to_dict() == {"model": 0.9, "untrained": 0.2, "reordered": 0.8, "stands": True}
    assert table.loc["other"].to_dict() == {"model": 0.8, "untrained": 1.0, "reordered": 0.7, "stands": False}


def test_p_counts_the_model_and_leaves_out_another_order() -> None:
    lines = null_check().to_dataframe().set_index(["number", "null"])
    assert lines["p"]["own", "untrained"] == pytest.approx(1 / 3)
    assert lines["p"]["other", "untrained"] == pytest.approx(2 / 3)
    assert np.isnan(lines["p"]["own", "reordered"])
    assert lines.loc[("other", "untrained"), ["median", "lowest", "highest"]].tolist() == [1.0, 1.0, 1.0]


def test_a_verdict_says_where_a_number_fails() -> None:
    said = null_check().verdict()
    assert said.startswith("1 of 2 numbers are larger in the model than in every run of an untrained twin (one without")
    assert "other: 0.8 in the model, 1 under an untrained twin and only 0.7 in another order." in said
    assert "own:" not in said


def test_maps_are_told_null_by_null(tmp_path) -> None:
    check = null_check()
    table = check.map_agreement().set_index("null")
    assert table.loc["reordered", ["lowest", "highest"]].tolist() == [0.9, 0.95]
    check.save(tmp_path / "check.safetensors")
    again = fbn.load(tmp_path / "check.safetensors")
    assert str(again) == str(check) and again.summary().equals(check.summary())
    fbn.Report("nulls", check).save(tmp_path / "page.html")
    assert "Where the claim should fail" in (tmp_path / "page.html").read_text(encoding="utf-8")
