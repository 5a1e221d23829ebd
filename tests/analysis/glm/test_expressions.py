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
        ("lambda - rest", {"lambda": 1, "rest": -1}),
        ("1e-100 * sort", {"sort": 1e-100}),
        ("2*sort-rest", {"sort": 2, "rest": -1}),
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


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "sort -",
        "sort rest",
        "(sort",
        "lambda sort: rest",
        "sort = rest",
        "sort if rest else copy",
        "sort; rest",
        "(" * 500 + "sort" + ")" * 500,
        "+".join(["sort"] * 50_000),
        "9" * 5000 + " * sort",
        "sort \0 rest",
        "1j2k * sort",
    ],
)
def test_not_readable(expression: str) -> None:
    with pytest.raises(ValueError, match=r'cannot be read; write e\.g\. "sort - reverse".* in backticks'):
        contrast_weights(expression, COLUMNS)


@pytest.mark.parametrize("expression", ["sort == rest", "2j * sort", "'sort'", "[sort]", "sort.real", "~sort"])
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


def test_weights_are_exact() -> None:
    """In floats .1 + .2 - .3 leaves 6e-17, which would count as a weight."""
    assert contrast_weights("0.1 * sort + 0.2 * sort - 0.3 * sort + rest", COLUMNS) == {"rest": 1}
    assert contrast_weights("0.1 * sort", COLUMNS) == {"sort": 0.1}


def test_a_column_with_a_sign_in_its_name_may_ask_for_backticks() -> None:
    """The reading as math less hard less rest is a contrast, too: of two, neither is taken."""
    columns = ["math", "hard", "rest", "math-hard"]
    with pytest.raises(
        ValueError, match=r"'math-hard - rest' has 2 readings: '`math-hard` - `rest`' or '`math`-`hard` - `rest`'; w"
    ):
        contrast_weights("math-hard - rest", columns)
    assert contrast_weights("`math-hard` - rest", columns) == {"math-hard": 1, "rest": -1}
    assert contrast_weights("math - hard - rest", columns) == {"math": 1, "hard": -1, "rest": -1}
    assert contrast_weights("math-hard - rest", ["math-hard", "rest"]) == {"math-hard": 1, "rest": -1}


def test_names_keep_their_letters() -> None:
    """Python reads identifiers by NFKC: the micro sign would become the Greek letter."""
    micro, mu = "\u00b5", "\u03bc"
    assert contrast_weights(f"{micro} - rest", [micro, "rest"]) == {micro: 1, "rest": -1}
    assert contrast_weights(f"{micro} - {mu}", [micro, mu]) == {micro: 1, mu: -1}
    assert contrast_weights(f"{mu} - rest", [micro, "rest"]) == {micro: 1, "rest": -1}  # one column only is meant
    assert contrast_weights("caf\u00e9 - rest", ["cafe\u0301", "rest"]) == {"cafe\u0301": 1, "rest": -1}
    assert contrast_weights("\ufb01nd", ["\ufb01nd", "find"]) == {"\ufb01nd": 1}
    assert contrast_weights("find", ["\ufb01nd", "find"]) == {"find": 1}


def test_backticks_hold_any_name() -> None:
    for name in ("a#b", "\u7b2c 1", "_name0_", "a\\b", "x`"[:1], "1"):
        assert contrast_weights(f"2 * `{name}` - rest", [name, "rest"]) == {name: 2, "rest": -1}
    for unpaired in ("`sort - rest", "sort` - rest", "`` - rest"):
        with pytest.raises(ValueError, match="a backtick without a partner, or nothing between two"):
            contrast_weights(unpaired, COLUMNS)
    with pytest.raises(ValueError, match="has a # outside backticks"):
        contrast_weights("sort - rest # - copy", COLUMNS)


@pytest.mark.parametrize("expression", ["1e-320 * (sort - rest)", "1e200 * sort - rest", "sort / 1e-300"])
def test_weights_that_floats_cannot_square(expression: str) -> None:
    with pytest.raises(ValueError, match=r"has the weight .*magnitudes of 1e-100 to 1e\+100 .*scale them all"):
        contrast_weights(expression, COLUMNS)
