"""Contrast expressions: arithmetic of column names, and errors that help."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_fbn.analysis.glm.expressions import as_vector, contrast_weights

COLUMNS = ["sort", "copy", "rest", "2 digits", "lambda", "position"]


@pytest.mark.parametrize(
    ("expression", "weights"),
    [
        ("sort", {"sort": 1}),
        ("-sort", {"sort": -1}),
        (" sort - rest ", {"sort": 1, "rest": -1}),
        ("sort - (copy + rest) / 2", {"sort": 1, "copy": -0.5, "rest": -0.5}),
        ("2 * (sort - rest) * 0.5", {"sort": 1, "rest": -1}),
        ("-(sort - -rest)", {"sort": -1, "rest": -1}),
        ("sort * (1 + 1) / 4", {"sort": 0.5}),
        ("sort + sort - rest + 1 - 1", {"sort": 2, "rest": -1}),
        ("sort - rest + copy - copy", {"sort": 1, "rest": -1}),
        ("`2 digits` - `rest`", {"2 digits": 1, "rest": -1}),
        ("`lambda` - `2 digits` / 2", {"lambda": 1, "2 digits": -0.5}),
        ("3e-1 * +sort", {"sort": 0.3}),
    ],
)
def test_arithmetic(expression: str, weights: dict[str, float]) -> None:
    assert contrast_weights(expression, COLUMNS) == pytest.approx(weights)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(COLUMNS), st.integers(-9, 9).filter(bool), min_size=1))
def test_any_weights_can_be_written(weights: dict[str, int]) -> None:
    expression = " + ".join(f"{weight} * `{name}`" for name, weight in weights.items())
    assert contrast_weights(expression, COLUMNS) == weights


@pytest.mark.parametrize("expression", ["sort * copy", "sort / copy", "1 / sort", "sort ** 2", "abs(sort)", "sort / 0"])
def test_not_linear(expression: str) -> None:
    with pytest.raises(ValueError, match=r"is not linear in the columns; allowed are names, numbers, \+ - and"):
        contrast_weights(expression, COLUMNS)


@pytest.mark.parametrize("expression", ["sort - 1", "1 + 1", "sort - sort", "0 * sort"])
def test_no_comparison(expression: str) -> None:
    with pytest.raises(ValueError, match="adds up to a number, not to a comparison of columns; columns: sort, copy"):
        contrast_weights(expression, COLUMNS)


@pytest.mark.parametrize("expression", ["", "sort -", "sort rest", "(sort", "lambda - rest", "sort = rest"])
def test_not_readable(expression: str) -> None:
    with pytest.raises(ValueError, match=r'cannot be read; write e\.g\. "task - rest".* in backticks'):
        contrast_weights(expression, COLUMNS)


@pytest.mark.parametrize(
    "expression", ["sort if rest else copy", "sort == rest", "'sort'", "[sort]", "sort.real", "~sort"]
)
def test_nothing_else_is_python(expression: str) -> None:
    with pytest.raises(ValueError, match="not linear in the columns"):
        contrast_weights(expression, COLUMNS)


def test_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(ValueError) as caught:
        contrast_weights("sort - rst", COLUMNS)
    assert str(caught.value) == (
        'contrast "sort - rst" names "rst", which is no column of the design; columns: '
        'sort, copy, rest, 2 digits, lambda, position. Did you mean "rest"?'
    )
    with pytest.raises(ValueError, match=r'names "2 digit", which.*Did you mean "2 digits"'):
        contrast_weights("`2 digit`", COLUMNS)
    with pytest.raises(ValueError, match='names "zzz"') as far:
        contrast_weights("zzz", COLUMNS)
    assert "Did you mean" not in str(far.value)


def test_as_vector_follows_the_columns_of_a_run() -> None:
    weights = {"rest": -1.0, "sort": 1.0}
    np.testing.assert_array_equal(as_vector(weights, ["sort", "position", "rest"]), [1, 0, -1])
    assert as_vector(weights, ["sort", "position"]) is None
