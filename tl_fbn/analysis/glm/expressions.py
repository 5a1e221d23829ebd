"""Contrast expressions: ``"sort - (copy + reverse) / 2"`` becomes one weight for each column of the design.

An expression may hold column names, numbers, sums and differences, products and quotients with numbers, and
parentheses. ``others`` is the mean of all other conditions (:mod:`.others`). A name that is no identifier may stand in
backticks, as in ``DataFrame.query``, and must where the text has two readings: ``math-hard`` may be a column or a
difference of two (:mod:`.readings`). The text, with stand-ins for all names, is parsed as a Python syntax tree, and
every node of it becomes an affine form, a constant and one weight a column; nothing is evaluated as code.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tl_fbn.analysis.glm.others import default_name, unknown_name, with_others
from tl_fbn.analysis.glm.readings import Part, as_text, readings
from tl_fbn.errors import InputError

_SMALLEST = 1e-100  # magnitude of a weight: its square is a float too, and so is one over it
_HUGE = 10**300
_MOST_READINGS = 200  # that are tried; the parts of so many ambiguous names multiply
_SHOWN = 3  # readings in a message


def contrast_weights(
    expression: str, columns: Sequence[str], *, conditions: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Weights of the columns that an expression names.

    >>> contrast_weights("sort - (copy + `2 digits`) / 2", ["sort", "copy", "2 digits", "rest"])
    {'sort': 1.0, 'copy': -0.5, '2 digits': -0.5}

    Args:
        expression: Sums and differences of column names, times or divided by numbers.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of, for ``others``; None where that is not known.

    Returns:
        Column name to weight; columns of weight 0 are left out.

    Raises:
        InputError: A name is no column, the text has two readings, or the expression is not linear, only a number, or
            no expression at all.
    """
    return read_contrast(expression, columns, conditions).weights


class Reading(NamedTuple):
    """A contrast that was read.

    Args:
        expression: The contrast over columns: as it was written, with the columns in the place of ``others``.
        name: What it is called unless it is given a name.
        weights: Weight of every column that it names; columns of weight 0 are left out.
    """

    expression: str
    name: str
    weights: dict[str, float]


def read_contrast(expression: str, columns: Sequence[str], conditions: Mapping[str, str] | None = None) -> Reading:
    """A contrast by the only reading that its text has.

    Args:
        expression: Sums and differences of column names, times or divided by numbers.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of, for ``others``; None where that is not known.

    Raises:
        InputError: The text has no reading that is a contrast, or several, which the message shows.
    """
    of = conditions or {}
    found: dict[frozenset[tuple[str, float]], tuple[str, Reading]] = {}
    problem: InputError | None = None
    for number, parts in enumerate(readings(expression, columns, _MOST_READINGS + 1)):
        if number == _MOST_READINGS:
            raise InputError(
                f"contrast {expression!r} can be read in more than {_MOST_READINGS} ways; put its names in backticks"
            )
        try:
            written, weights = _of_parts(parts, expression, columns, of)
        except InputError as error:
            problem = problem or error  # of the first reading, which has most text in names
            continue
        reading = Reading(written, default_name(expression, weights, columns, of), weights)
        found.setdefault(frozenset(weights.items()), (as_text(parts, all_quoted=True), reading))
    if len(found) > 1:
        shown = [repr(text) for text, _ in found.values()]
        raise InputError(
            f"contrast {expression!r} has {len(found)} readings: {' or '.join(shown[:_SHOWN])}"
            f"{' or others' if len(shown) > _SHOWN else ''}; write the one you mean, with its backticks"
        )
    for _, reading in found.values():
        return reading
    assert problem is not None
    raise problem


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


def _of_parts(
    parts: Sequence[Part], expression: str, columns: Sequence[str], conditions: Mapping[str, str]
) -> tuple[str, dict[str, float]]:
    """What one reading of an expression comes to: the expression without ``others``, and the weights of its columns.

    Args:
        parts: The pieces of the expression.
        expression: The expression as the user wrote it, for messages.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of.

    Raises:
        InputError: This reading is no contrast.
    """
    complete = with_others(parts, expression, columns, conditions)
    written = expression if complete == tuple(parts) else as_text(complete)
    if any(part.kind == "text" and "#" in part.text for part in parts):  # to Python the rest would be a comment
        raise InputError(f"contrast {expression!r} has a # outside backticks; put a name that holds one in backticks")
    source, names = _with_stand_ins(complete, expression, columns)
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
    return written, weights


def _with_stand_ins(parts: Sequence[Part], expression: str, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The expression with an identifier in the place of every name, and the names that the identifiers stand for.

    Python's parser knows no backticks, and it replaces names by their compatible form (NFKC: the micro sign becomes the
    Greek letter), which need not be a column. It therefore never sees a name.

    Args:
        parts: The pieces of the expression.
        expression: The expression as the user wrote it.
        columns: Names of the columns of the design.
    """
    prefix = "_name"
    while prefix in expression or any(prefix in name for name in columns):
        prefix += "_"
    names: dict[str, str] = {}
    source = ""
    for part in parts:
        if part.kind == "text":
            source += part.text
            continue
        identifier = f"{prefix}{len(names)}_"
        names[identifier] = part.text
        source += f" {identifier} "
    return source, names


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
                raise unknown_name(name, expression, columns)
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
