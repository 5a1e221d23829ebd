"""Fingerprints: the best pairs come first and stand on the diagonal, the score beside every draw of its null."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.reporting import plot as figures

pytest.importorskip("plotly")


def found() -> fbn.networks.Fingerprint:
    correlation = np.full((2, 3), 0.1)
    correlation[0, 2], correlation[1, 0] = 0.7, 0.9
    null = np.random.default_rng(0).uniform(0.1, 0.3, 99)
    return fbn.networks.Fingerprint((("a0", "<b>a1</b>"), ("b0", "b1", "b2")), correlation, null, 12)


def test_pairs_are_on_the_diagonal_best_first() -> None:
    figure = figures.fingerprint(found())
    heat = figure.data[0]
    np.testing.assert_allclose(heat.z, [[0.9, 0.1, 0.1], [0.1, 0.7, 0.1]])
    assert list(figure.layout.xaxis.ticktext) == ["b0", "b2", "b1"]
    assert list(figure.layout.yaxis.ticktext) == ["&lt;b&gt;a1&lt;/b&gt;", "a0"]
    assert "<b>a1" not in str(figure.to_json())


def test_the_score_stands_beside_its_null() -> None:
    figure = figures.fingerprint(found(), threshold=0.6)
    draws, score, threshold = figure.data[1:]
    assert sum(draws.y) == 99 and list(score.x) == pytest.approx([0.8, 0.8]) and list(threshold.x) == [0.6, 0.6]
    assert max(score.y) == max(draws.y)
    assert "Score 0.800 over 12 texts" in figure.layout.title.text and "p = 0.01" in figure.layout.title.text
    assert len(figures.fingerprint(found()).data) == 3


def test_the_heading_says_that_models_follow_the_text_where_p_is_small_alone() -> None:
    one = found()
    assert "p = 0.01: both follow the text)" in figures.fingerprint(one).layout.title.text
    unlike = dataclasses.replace(one, correlation=np.full((2, 3), 0.2))
    assert unlike.p > 0.05
    heading = figures.fingerprint(unlike).layout.title.text
    assert "both follow" not in heading and f"p = {unlike.p:.2g}: not shown to follow the text)" in heading
