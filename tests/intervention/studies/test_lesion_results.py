"""Lesion studies as results: the table is arithmetic on item-level results, and comes back from its file."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn


def test_table_is_arithmetic_on_the_scores(study):
    table = study.to_dataframe()
    assert list(table.columns[:9]) == [
        "network",
        "task",
        "metric",
        "baseline",
        "lesioned",
        "drop",
        "control_median",
        "control_p95",
        "p",
    ]
    assert len(table) == 4
    np.testing.assert_allclose(table["drop"], table["baseline"] - table["lesioned"])
    row = table.iloc[1]
    drops = study.baseline[1, 0] - study.controls[0, :, 1, 0]
    assert row["p"] == pytest.approx((1 + (drops >= row["drop"] - 1e-12).sum()) / 100)
    assert row["control_median"] == pytest.approx(np.median(drops))
    likelihood = study.to_dataframe(metric="log_likelihood")
    assert set(likelihood["metric"]) == {"log_likelihood"}
    np.testing.assert_allclose(likelihood["baseline"], np.tile(study.baseline[:, 1], 2))


def test_save_and_load(study, tmp_path):
    study.save(tmp_path / "study")
    loaded = fbn.studies.LesionStudy.load(tmp_path / "study")
    assert loaded.to_dataframe().equals(study.to_dataframe())
    assert repr(loaded) == repr(study)
    assert "<table>" in study._repr_html_()
