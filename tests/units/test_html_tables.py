"""Tables for notebooks, and tables of units from elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tl_fbn.units import html_table
from tl_fbn.units.html_tables import complete_widths, frame_columns, html_frame, refuse_repeated


def test_html_tables_escape_everything() -> None:
    page = html_table("<c>", ("<h>",), [("<d> & '",)])
    assert page == (
        "<table><caption>&lt;c&gt;</caption><tr><th>&lt;h&gt;</th></tr><tr><td>&lt;d&gt; &amp; &#x27;</td></tr></table>"
    )


def test_numbers_of_a_frame_are_shortened_and_words_are_not() -> None:
    frame = pd.DataFrame({"n": [1200], "share": [0.123456], "name": ["a<b"], "ok": [True]})
    assert html_frame("c", frame) == (
        "<table><caption>c</caption><tr><th>n</th><th>share</th><th>name</th><th>ok</th></tr>"
        "<tr><td>1200</td><td>0.123</td><td>a&lt;b</td><td>True</td></tr></table>"
    )
    assert "<td>12%</td>" in html_frame("c", frame, digits=".0%")


def test_columns_of_a_table_are_numbers_whatever_they_are_written_as() -> None:
    table = pd.DataFrame({"unit": ["2", 0.0], "layer": [1, "0"], "t": [None, "1.5"], "other": 0})
    layers, units, values = frame_columns(table, "t")
    assert layers.tolist() == [1, 0] and units.tolist() == [2, 0] and layers.dtype == units.dtype == np.int64
    assert np.isnan(values[0]) and values[1] == 1.5
    with pytest.raises(ValueError, match=r"line 1 has the layer nan, no whole number"):
        frame_columns(table.assign(layer=[0, np.nan]), "t")


def test_widths_of_a_table_that_has_every_unit() -> None:
    assert complete_widths(np.array([1, 0, 0, 1, 1]), np.array([2, 0, 1, 0, 1])) == (2, 3)
    with pytest.raises(ValueError, match="unit 1 of layer 0 is not in the table"):
        complete_widths(np.array([0, 0]), np.array([0, 2]))
    with pytest.raises(ValueError, match=r"^layer 1 is not in the table"):
        complete_widths(np.array([0, 2]), np.array([0, 0]))


def test_a_unit_with_two_lines_is_named_with_both() -> None:
    layers, units = np.array([0, 1, 0, 1]), np.array([3, 0, 3, 0])
    refuse_repeated(np.array([3, 4, 5, 6]), layers, units)
    with pytest.raises(ValueError, match="layer 0, unit 3 is in line 0 and in line 2; give one line a unit"):
        refuse_repeated(np.array([3, 4, 3, 4]), layers, units)
