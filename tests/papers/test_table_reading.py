"""Columns, lines and the lines with given values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tl_fbn.papers.table_reading import column, one_line, records, where

TABLE = pd.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 3]})


def test_lines_are_found_by_their_values():
    assert where(TABLE, a="x")["b"].tolist() == [1, 3]
    assert where(TABLE, a="x", b=3).index.tolist() == [2]
    assert one_line(TABLE, a="x") == {"a": "x", "b": 1} and one_line(TABLE, a="z") is None
    assert np.array_equal(column(TABLE, "b"), [1.0, 2.0, 3.0]) and column(TABLE, "b").dtype == float
    assert records(TABLE)[1] == {"a": "y", "b": 2}
