"""Contrast expressions: ``"sort - (copy + reverse) / 2"`` becomes one weight for each column of the design.

An expression may hold column names, numbers, sums and differences, products and quotients with numbers, and
parentheses. A name that is no identifier stands in backticks, as in ``DataFrame.query``. The text is parsed as a
Python syntax tree, and every node of it becomes an affine form, a constant and one weight a column; nothing is
evaluated as code.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tl_fbn.errors import InputError

_NAME_IN_BACKTICKS = re.compile(r"`([^`]+)`")


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
    quoted: list[str] = []

    # Python's parser knows no backticks: each quoted name is replaced by an identifier while it parses
    def stand_in(match: re.Match[str]) -> str:
        quoted.append(match[1])
        return f"_quoted_{len(quoted) - 1}_"

    try:
        tree = ast.parse(_NAME_IN_BACKTICKS.sub(stand_in, expression).strip(), mode="eval").body
    except SyntaxError as error:
        raise InputError(
            f'contrast {expression!r} cannot be read; write e.g. "task - rest" or "(a + b) / 2 - c", a name that is no '
            "identifier in backticks"
        ) from error
    names = {f"_quoted_{i}_": name for i, name in enumerate(quoted)}
    constant, weights = _affine(tree, expression, columns, names)
    weights = {name: weight for name, weight in weights.items() if weight != 0}
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


def _affine(
    node: ast.AST, expression: str, columns: Sequence[str], names: dict[str, str]
) -> tuple[float, dict[str, float]]:
    """A node as (constant, weights): every expression allowed here is affine in the columns.

    Args:
        node: Node of the syntax tree.
        expression: The whole expression, for messages.
        columns: Names of the columns of the design.
        names: Identifier that stands in for a name in backticks, to that name.
    """
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value), {}
        case ast.Name(id=identifier):
            name = names.get(identifier, identifier)
            if name not in columns:
                near = difflib.get_close_matches(name, columns, 1)
                hint = f' Did you mean "{near[0]}"?' if near else ""
                raise InputError(
                    f'contrast "{expression}" names "{name}", which is no column of the design; '
                    f"columns: {', '.join(columns)}.{hint}"
                )
            return 0.0, {name: 1.0}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _scaled(_affine(operand, expression, columns, names), -1.0 if isinstance(sign, ast.USub) else 1.0)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            constant, weights = _affine(left, expression, columns, names)
            other, more = _scaled(
                _affine(right, expression, columns, names), -1.0 if isinstance(sign, ast.Sub) else 1.0
            )
            return constant + other, {
                name: weights.get(name, 0.0) + more.get(name, 0.0) for name in {**weights, **more}
            }
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as kind, right=right):
            first = _affine(left, expression, columns, names)
            second = _affine(right, expression, columns, names)
            # number * form, form * number and form / number are affine; a product of two forms is not
            if isinstance(kind, ast.Mult) and not first[1]:
                return _scaled(second, first[0])
            if not second[1] and (isinstance(kind, ast.Mult) or second[0] != 0):
                return _scaled(first, second[0] if isinstance(kind, ast.Mult) else 1.0 / second[0])
    raise InputError(
        f"contrast {expression!r} is not linear in the columns; allowed are names, numbers, + - and parentheses, "
        "and * or / by a number"
    )


def _scaled(part: tuple[float, dict[str, float]], factor: float) -> tuple[float, dict[str, float]]:
    """An affine form, (constant, weights), times a number."""
    return factor * part[0], {name: factor * weight for name, weight in part[1].items()}
