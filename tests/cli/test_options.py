"""Options that several commands share."""

from __future__ import annotations

import pytest

from tl_fbn.cli import options


@pytest.mark.parametrize(("text", "value"), [("57", 57), ("0.05", 0.05), ("1", 1), (None, None)])
def test_amounts(text, value):
    assert options.amount(text, "--top") == value
    assert type(options.amount(text, "--top")) is type(value)


@pytest.mark.parametrize("text", ["0", "1.0", "-3", "2.5", "many", "nan", "inf"])
def test_amounts_out_of_range_are_errors_by_name(text):
    with pytest.raises(ValueError, match=f"--top {text} is neither"):
        options.amount(text, "--top")
