"""Tables of the page: short cells, and how small they are printed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tl_fbn.reporting.page import html_tables as tables


def test_cells_are_short_and_an_index_of_names_is_kept() -> None:
    table = pd.DataFrame({"a": [1 / 3, np.nan, np.inf], "b": [True, None, "x"]}, index=["r1", "r2", "r3"])
    shown = tables.lay_out(table)
    assert shown["head"] == [("index", ""), ("a", "n"), ("b", "")]
    assert shown["rows"] == [("r1", "0.3333", "yes"), ("r2", "\u2013", "\u2013"), ("r3", "inf", "x")]


def test_long_tables_are_cut_unless_they_are_to_be_whole() -> None:
    table = pd.DataFrame({"x": range(1000)})
    assert (len(tables.lay_out(table)["rows"]), tables.lay_out(table)["left_out"]) == (200, 800)
    assert (len(tables.lay_out(table, None)["rows"]), tables.lay_out(table, None)["left_out"]) == (1000, 0)


def test_wide_tables_are_printed_smaller() -> None:
    narrow = pd.DataFrame({"a": [1], "b": ["x"]})
    wide = pd.DataFrame({f"column {i}": ["twelve chars"] for i in range(10)})
    assert tables.lay_out(narrow)["fit"] == 1.0
    assert tables.lay_out(wide)["fit"] == round(tables.ACROSS / (10 * 15), 3)
    assert tables.lay_out(pd.concat([wide] * 5, axis=1))["fit"] == tables.SMALLEST


def test_headings_count_by_their_longest_word_and_unbreakable_words_are_told() -> None:
    table = pd.DataFrame({"control_median_of_all": [1.0], "text": ["x" * 40], "words": ["many short words " * 9]})
    shown = tables.lay_out(table)
    assert [kind for _, kind in shown["head"]] == ["n", "long", ""]
    assert shown["fit"] == round(min(1.0, tables.ACROSS / (7 + 3 + 2 * (tables.LONGEST + 3))), 3)


def test_an_empty_table_is_no_error() -> None:
    assert tables.lay_out(pd.DataFrame({"a": []}))["rows"] == []
