"""Contrast expressions: ``"sort - (copy + reverse) / 2"`` becomes one weight for each column of the design.

An expression may hold column names, numbers, sums and differences, products and quotients with numbers, and
parentheses. A name that is no identifier stands in backticks, as in ``DataFrame.query``; without them it is refused,
for ``math-hard`` may be a column or a difference of two. The text, with stand-ins for all names, is parsed as a Python
syntax tree, and every node of it becomes an affine form, a constant and one weight a column; nothing is evaluated as
code.
"""

from __future__ import annotations

import ast
import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from tl_fbn.errors import InputError

_SMALLEST = 1e-100  # magnitude of a weight: its square is a float too, and so is one over it
_HUGE = 10**300


def contrast_weights(expression: str, columns: Sequence[str]) -> dict[str, float]:
    """Weights of the columns that an expression names.

    >>> contrast_weights("sort - (copy + `2 digits`) / 2", ["sort", "copy", "2 digits", "rest"])
    {'sort': 1.0, 'copy': -0.5, '2 digits': -0.5}

    Args:
        expression: Sums and differences of column names, times or divided by numbers.
        columns: Names of the columns of the design.

    Returns:
        Column name to weight; columns of weight 0 are left out.

    Raises:
        InputError: A name is no column, or the expression is not linear, only a number, or no expression at all.
    """
    source, names = _with_stand_ins(expression, columns)
    try:
        tree = ast.parse(source.strip(), mode="eval").body
        constant, exact = _affine(tree, expression, columns, names)
        # the range of floats ends before that of fractions
        weights = {name: float(min(max(weight, -_HUGE), _HUGE)) for name, weight in exact.items() if weight != 0}
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'contrast {expression!r} cannot be read; write e.g. "sort - reverse" or "a - (b + c) / 2", a name that is '
            "no identifier in backticks, and numbers and sums that are not too long"
        ) from error
    extreme = [repr(weight) for weight in weights.values() if not _SMALLEST <= abs(weight) <= 1 / _SMALLEST]
    if extreme:
        raise InputError(
            f"contrast {expression!r} has the weight {extreme[0]}; magnitudes of {_SMALLEST:g} to {1 / _SMALLEST:g} "
            "can be computed with, and t depends on the ratios of weights alone: scale them all"
        )
    if constant != 0 or not weights:
        raise InputError(
            f"contrast {expression!r} adds up to a number, not to a comparison of columns; "
            f"columns: {', '.join(columns)}"
        )
    return weights


def as_vector(weights: dict[str, float], columns: Sequence[str]) -> Float[np.ndarray, " regressor"] | None:
    """The weights in the order of a design's columns; None if it lacks one of them."""
    if not set(weights) <= set(columns):
        return None
    return np.array([weights.get(name, 0.0) for name in columns])


def check_independent(
    weights: Sequence[Mapping[str, float]], expressions: Sequence[str], columns: Sequence[str]
) -> None:
    """Refuse contrasts of which one is a combination of the others: F needs the inverse of their correlations."""
    if not expressions:
        raise InputError("contrast got an empty list; give expressions")
    vectors = np.array([as_vector(dict(one), columns) for one in weights])
    # scaled to norm 1, so that contrasts of small weights are not taken for rounding
    if np.linalg.matrix_rank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) < len(vectors):
        raise InputError(
            f"the contrasts {', '.join(expressions)} follow from each other; leave out what the others imply"
        )


def _with_stand_ins(expression: str, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The expression with an identifier in the place of every name, and the names that the identifiers stand for.

    Python's parser knows no backticks, and it replaces names by their compatible form (NFKC: the micro sign becomes the
    Greek letter), which need not be a column. It therefore never sees a name.

    Args:
        expression: The expression as the user wrote it.
        columns: Names of the columns of the design.

    Raises:
        InputError: A name that is no identifier stands there without backticks, or backticks do not pair.
    """
    outside, inside = (expression.split("`")[start::2] for start in (0, 1))
    if len(inside) == len(outside) or not all(inside):
        raise InputError(f"contrast {expression!r} has a backtick without a partner, or nothing between two of them")
    if any("#" in text for text in outside):  # to Python the rest would be a comment
        raise InputError(f"contrast {expression!r} has a # outside backticks; put a name that holds one in backticks")
    _refuse_unquoted(expression, outside, columns)
    prefix = "_name"
    while prefix in expression or any(prefix in name for name in columns):
        prefix += "_"
    names: dict[str, str] = {}

    def stand_in(name: str) -> str:
        identifier = f"{prefix}{len(names)}_"
        names[identifier] = name
        return identifier

    source = ""
    for number, text in enumerate(outside):
        at = 0
        for first, stop in _identifiers(text):
            name = text[first:stop]
            if name not in columns:  # a name in another form of the same letters, if only one column is
                alike = [one for one in columns if _compatible(one) == _compatible(name)]
                name = alike[0] if len(alike) == 1 else name
            source += text[at:first] + stand_in(name)
            at = stop
        source += text[at:] + (f" {stand_in(inside[number])} " if number < len(inside) else "")
    return source, names


def _refuse_unquoted(expression: str, outside: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse an expression that holds a column's name that is no identifier outside backticks.

    ``math-hard - rest`` may mean the column math-hard, or math less hard.

    Args:
        expression: The whole expression, for the message.
        outside: The parts of it that are outside backticks.
        columns: Names of the columns of the design.
    """
    for name in columns:
        # a number is a number: a column of such a name is reached in backticks only
        if name.isidentifier() or re.fullmatch(r"[\d.]*", name) or not re.search(r"\w", name):
            continue
        whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        if any(whole.search(text) for text in outside):
            raise InputError(
                f"contrast {expression!r} holds {name!r}, which is a column and no identifier: write `{name}` in "
                "backticks for the column; for a sum or difference of other columns put spaces around its signs"
            )


def _identifiers(text: str) -> Iterator[tuple[int, int]]:
    """Where identifiers start and stop in a text; letters of numbers, as in ``1e5``, are none."""
    at = 0
    while at < len(text):
        stop = at + 1
        is_name = text[at].isidentifier()
        if is_name or text[at].isdigit() or text[at] == ".":
            while stop < len(text) and (f"_{text[stop]}".isidentifier() or (text[stop] == "." and not is_name)):
                stop += 1
        if is_name:
            yield at, stop
        at = stop


def _compatible(name: str) -> str:
    """A name with its letters in the form that Python's own identifiers have."""
    return unicodedata.normalize("NFKC", name)


def _affine(
    node: ast.AST, expression: str, columns: Sequence[str], names: dict[str, str]
) -> tuple[Fraction, dict[str, Fraction]]:
    """A node as (constant, weights): every expression allowed here is affine in the columns.

    Fractions keep sums exact: of ``0.1 * a + 0.2 * a - 0.3 * a`` floats would leave a weight of 6e-17.

    Args:
        node: Node of the syntax tree.
        expression: The whole expression, for messages.
        columns: Names of the columns of the design.
        names: Identifier that stands in for a name of the expression, to that name.
    """
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return Fraction(repr(value)), {}  # of 0.1 the tenth, not the nearest float
        case ast.Name(id=identifier):
            name = names.get(identifier, identifier)
            if name not in columns:
                near = difflib.get_close_matches(name, columns, 1)
                hint = f' Did you mean "{near[0]}"?' if near else ""
                raise InputError(
                    f'contrast "{expression}" names "{name}", which is no column of the design; '
                    f"columns: {', '.join(columns)}.{hint}"
                )
            return Fraction(0), {name: Fraction(1)}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _scaled(
                _affine(operand, expression, columns, names), Fraction(-1 if isinstance(sign, ast.USub) else 1)
            )
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            constant, weights = _affine(left, expression, columns, names)
            other, more = _scaled(
                _affine(right, expression, columns, names), Fraction(-1 if isinstance(sign, ast.Sub) else 1)
            )
            return constant + other, {
                name: weights.get(name, Fraction(0)) + more.get(name, Fraction(0)) for name in {**weights, **more}
            }
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as kind, right=right):
            first = _affine(left, expression, columns, names)
            second = _affine(right, expression, columns, names)
            # number * form, form * number and form / number are affine; a product of two forms is not
            if isinstance(kind, ast.Mult) and not first[1]:
                return _scaled(second, first[0])
            if not second[1] and (isinstance(kind, ast.Mult) or second[0] != 0):
                return _scaled(first, second[0] if isinstance(kind, ast.Mult) else 1 / second[0])
    raise InputError(
        f"contrast {expression!r} is not linear in the columns; allowed are names, numbers, + - and parentheses, "
        "and * or / by a number"
    )


def _scaled(part: tuple[Fraction, dict[str, Fraction]], factor: Fraction) -> tuple[Fraction, dict[str, Fraction]]:
    """An affine form, (constant, weights), times a number."""
    return factor * part[0], {name: factor * weight for name, weight in part[1].items()}
