"""Values that nobody should give, but somebody will: a table of them, by the words that a test names them with."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

# functions that make a value, so that no call sees what another has used up or written to
NASTY: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "0": lambda: 0,
    "-1": lambda: -1,
    "1": lambda: 1,
    "3.7": lambda: 3.7,
    "4.0": lambda: 4.0,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "1e-320": lambda: 1e-320,
    "2 ** 63": lambda: 2**63,
    "10 ** 400": lambda: 10**400,
    "a complex number": lambda: 1j,
    "a Decimal": lambda: Decimal("1.5"),
    "a date": lambda: datetime.date(2025, 1, 1),
    "no text": lambda: "",
    "a number as text": lambda: "2",
    "a word": lambda: "x",
    "an escape sequence": lambda: "\x1b[31mred\x07",
    "a null byte": lambda: "a\0b",
    "a lone surrogate": lambda: "\ud800",
    "bytes": lambda: b"x",
    "no items": list,
    "[None]": lambda: [None],
    "[NaN]": lambda: [float("nan")],
    "[-1]": lambda: [-1],
    "[10 ** 12]": lambda: [10**12],
    "[3.7]": lambda: [3.7],
    "a word twice": lambda: ["a", "a"],
    "lists in lists": lambda: [[]],
    "pairs": lambda: [("a", 1)],
    "an empty mapping": dict,
    "a mapping to None": lambda: {"x": None},
    "a mapping of numbers": lambda: {1: 2},
    "a mapping to lists": lambda: {"a": [1, None]},
    "a set": lambda: {"a", "b"},
    "a range": lambda: range(3),
    "an iterator": lambda: iter([1, 2]),
    "a slice": lambda: slice(None),
    "an empty array": lambda: np.array([]),
    "a matrix": lambda: np.array([[1.0, np.nan], [3.0, 4.0]]),
    "an array of text": lambda: np.array(["a", "b"]),
    "an array of objects": lambda: np.array([None, "a"], dtype=object),
    "an array of dates": lambda: np.array(["2025-01-01"], dtype="datetime64[D]"),
    "booleans": lambda: np.array([True, False]),
    "a masked array": lambda: np.ma.masked_array([1.0, 2.0], mask=[True, False]),
    "a tensor with gradients": lambda: torch.ones(2, requires_grad=True),
    "an empty table": pd.DataFrame,
    "a table of None": lambda: pd.DataFrame({"a": [None, None], "trial_type": [1, None]}),
    "a table of text": lambda: pd.DataFrame({"onset": ["a"], "duration": ["b"], "trial_type": ["c"]}),
    "a column": lambda: pd.Series([1.0, 2.0]),
    "a path": lambda: Path("no") / "such" / "file",
    "a folder": Path,
    "an object": object,
    "a class": lambda: int,
    "a function": lambda: lambda *_, **__: None,
    "an object with anything": lambda: SimpleNamespace(cfg=None, space=None, hook_dict=None),
}
