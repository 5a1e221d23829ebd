"""Which characters of an expression are names: one reading is taken, of two neither is."""

from __future__ import annotations

import pytest

from tl_fbn.analysis.glm.expressions import contrast_weights
from tl_fbn.analysis.glm.readings import Part, as_text, quoted, readings


def texts(expression: str, columns: list[str]) -> list[str]:
    return [as_text(parts, all_quoted=True) for parts in readings(expression, columns, 100)]


def test_readings_are_listed_by_hand() -> None:
    assert texts("a - b", ["a", "b"]) == ["`a` - `b`"]
    assert texts("a-b - c", ["a-b", "c"]) == ["`a-b` - `c`"]
    assert texts("a-b - c", ["a-b", "a", "b", "c"]) == ["`a-b` - `c`", "`a`-`b` - `c`"]
    # b alone is no column: of the three words two are one name, this way or that
    assert texts("a-b-c", ["a-b", "b-c", "a", "c"]) == ["`a-b`-`c`", "`a`-`b-c`"]
    assert texts("a-b-c", ["a-b-c", "a-b", "b-c", "a", "b", "c"]) == [
        "`a-b-c`",
        "`a-b`-`c`",
        "`a`-`b-c`",
        "`a`-`b`-`c`",
    ]
    # two places of two readings each
    assert len(texts("a-b + a-b", ["a-b", "a", "b"])) == 4
    assert texts("`a-b` - c", ["a-b", "a", "b", "c"]) == ["`a-b` - `c`"]
    assert texts("aa-b - ca-b", ["a-b", "aa", "ca", "b"]) == ["`aa`-`b` - `ca`-`b`"]  # at the edges of words only
    assert texts("a-a-a", ["a-a", "a"]) == ["`a-a`-`a`", "`a`-`a-a`", "`a`-`a`-`a`"]


def test_parts_keep_every_character() -> None:
    (parts,) = readings(" 2 *`x y`-(sort+ b-c )", ["x y", "sort", "b-c"], 9)
    assert "".join(part.text for part in parts) == " 2 *x y-(sort+ b-c )"
    assert [part for part in parts if part.kind != "text"] == [
        Part("x y", "quoted"),
        Part("sort", "name"),
        Part("b-c", "name"),
    ]
    assert as_text(parts) == " 2 *`x y`-(sort+ `b-c` )"
    assert [quoted(name) for name in ("sort", "b-c", "1")] == ["sort", "`b-c`", "`1`"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("singular-plural", []),
        ("singular-plural", ["singular"]),
        ("singular-plural", ["plural"]),
        ("2 digits", ["digits"]),
        ("a b", ["a", "b"]),  # the words a and b without a sign are no expression
        ("a*b", ["a", "b"]),  # nor is a product a contrast
        ("a/b", ["a", "b"]),
        ("a.b", ["a", "b"]),
        ("2a", ["a"]),
        ("gpt-4", ["gpt"]),  # a column less a number is none either
        ("what is 1+1?", []),
        ("a#b", ["a", "b"]),
        ("第 1", []),
    ],
)
def test_the_only_reading_needs_no_backticks(name: str, parts: list[str]) -> None:
    columns = [name, *parts, "rest"]
    assert contrast_weights(f"{name} - rest", columns) == {name: 1, "rest": -1}
    assert contrast_weights(f"rest-{name}", columns) == {name: -1, "rest": 1}
    assert contrast_weights(f"`{name}` - rest", columns) == {name: 1, "rest": -1}


@pytest.mark.parametrize(
    ("name", "parts", "shown"),
    [
        ("singular-plural", ["singular", "plural"], "'`singular-plural` - `rest`' or '`singular`-`plural` - `rest`'"),
        ("a+b", ["a", "b"], "'`a+b` - `rest`' or '`a`+`b` - `rest`'"),
        ("(a)", ["a"], "'`(a)` - `rest`' or '(`a`) - `rest`'"),
        ("2 * a", ["a"], "'`2 * a` - `rest`' or '2 * `a` - `rest`'"),
        ("a-rest", ["a", "b"], None),
    ],
)
def test_two_readings_are_shown_and_refused(name: str, parts: list[str], shown: str | None) -> None:
    columns = [name, *parts, "rest"]
    with pytest.raises(ValueError) as caught:
        contrast_weights(f"{name} - rest" if shown else f"{name} - b", columns)
    assert (shown or "'`a-rest` - `b`' or '`a`-`rest` - `b`'") in str(caught.value)
    assert "has 2 readings" in str(caught.value) and "write the one you mean, with its backticks" in str(caught.value)
    # what the message shows can be pasted
    for text in str(caught.value).split(" readings: ")[1].split("; ")[0].split(" or "):
        contrast_weights(text.strip("'"), columns)


def test_many_readings_are_not_all_shown_or_tried() -> None:
    columns = ["a-b-c", "a-b", "b-c", "a", "b", "c"]
    with pytest.raises(ValueError, match=r"has 4 readings: '`a-b-c`' or '`a-b`-`c`' or '`a`-`b-c`' or others; write"):
        contrast_weights("a-b-c", columns)
    with pytest.raises(ValueError, match=r"can be read in more than 200 ways; put its names in backticks"):
        contrast_weights(" - ".join(["a-b"] * 40), columns)
    # hyphens in many names cost nothing where their parts are no columns
    names = [f"task-{number}-of-many" for number in range(300)]
    weights = contrast_weights(f"{names[0]} - ({' + '.join(names[1:])}) / 299", names)
    assert len(weights) == 300 and weights[names[7]] == -1 / 299


def test_numbers_and_signs_are_themselves() -> None:
    columns = ["1", "-2", "1e3", "+", "2.5", "sort", "rest"]
    assert contrast_weights("1 * sort - rest", columns) == {"sort": 1, "rest": -1}
    assert contrast_weights("sort -2 * rest", columns) == {"sort": 1, "rest": -2}
    assert contrast_weights("1e3 * sort + rest", columns) == {"sort": 1000, "rest": 1}
    for name in columns[:-1]:
        assert contrast_weights(f"`{name}` - rest", columns) == {name: 1, "rest": -1}
    for name in ("1", "-2", "2.5"):
        with pytest.raises(ValueError, match="adds up to a number"):
            contrast_weights(f"{name} - rest + rest", columns)


def test_what_has_no_reading_says_what_is_wrong_with_the_first() -> None:
    with pytest.raises(ValueError, match=r'names "rst", which is no column .*Did you mean "rest"'):
        contrast_weights("math-hard - rst", ["math-hard", "math", "hard", "rest"])
    with pytest.raises(ValueError, match=r'names "easy", which is no column'):
        contrast_weights("math-easy - rest", ["math-hard", "math", "rest"])
    with pytest.raises(ValueError, match="has a # outside backticks"):
        contrast_weights("a#b - rest # - c", ["a#b", "c", "rest"])
