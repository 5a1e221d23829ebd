"""Pictures of the page: fewer bytes, the same numbers, and nothing that ends a script element."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tl_fbn.reporting.page import plotly_embed as pictures

go = pytest.importorskip("plotly.graph_objects")


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"]))
    return values.reshape([int(n) for n in str(packed.get("shape", values.size)).split(",")])


def embedded(*traces: Any) -> list[dict[str, Any]]:
    return json.loads(pictures.embed(go.Figure(list(traces)), "F")["json"])["data"]


def test_floats_become_four_bytes_and_integers_the_fewest() -> None:
    z = np.random.default_rng(0).normal(size=(20, 30))
    units = np.arange(600).reshape(20, 30)
    (heat,) = embedded(go.Heatmap(z=z, customdata=units))
    assert heat["z"]["dtype"] == "f4" and heat["customdata"]["dtype"] == "i2"
    np.testing.assert_allclose(unpacked(heat["z"]), z, rtol=1e-6)
    np.testing.assert_array_equal(unpacked(heat["customdata"]), units)


def test_missing_units_stay_missing() -> None:
    z = np.where(np.arange(600).reshape(20, 30) % 7 == 0, np.nan, 1.5)
    np.testing.assert_array_equal(unpacked(embedded(go.Heatmap(z=z))[0]["z"]), z)


def test_numbers_that_four_bytes_cannot_tell_apart_keep_eight() -> None:
    x = 1e9 + np.arange(50.0)
    (line,) = embedded(go.Scatter(x=x, y=x))
    assert line["x"]["dtype"] == "f8"
    np.testing.assert_array_equal(unpacked(line["x"]), x)


def test_short_arrays_and_lists_have_six_digits() -> None:
    (bar,) = embedded(go.Bar(x=np.array([1.0, 2.0]), y=[1 / 3, 123456.789]))
    assert bar["x"] == [1, 2] and bar["y"] == [0.333333, 123457]
    assert pictures.small([True, None, "1.23456789", 7]) == [True, None, "1.23456789", 7]


def test_labels_cannot_end_the_script() -> None:
    name = "</script><!-- &amp; \u2028"
    text = str(pictures.embed(go.Figure(go.Bar(x=[name], y=[1])), "F")["json"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["data"][0]["x"] == [name]


def test_infinite_and_very_large_numbers_are_kept_without_a_warning() -> None:
    z = np.full((5, 5), np.inf)
    z[0] = 1.0
    np.testing.assert_array_equal(unpacked(embedded(go.Heatmap(z=z))[0]["z"]), z)
    z[1] = 1e200  # beyond 4 bytes
    np.testing.assert_array_equal(unpacked(embedded(go.Heatmap(z=z))[0]["z"]), z)
