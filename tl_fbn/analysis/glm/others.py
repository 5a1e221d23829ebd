"""One condition against the mean of all others: what ``others`` means in ``"plural - others"``.

``others`` is the mean of all conditions that the expression does not name, each with the same weight, however many rows
it has. In detail:

- **Conditions** are the kinds of events of the recording, those called ``rest`` or ``baseline`` among them: a rest that
  was recorded is one of the others. To leave it out, write the others out, or name it: in ``"plural - others + 0 *
  rest"`` it is none. ``intercept``, ``position``, ``first_token``, drift, confounds and columns of ``extra=`` are no
  conditions.
- **Phases and lags.** Where a condition has several columns, others are the columns of the same phase and lag:
  ``"sort_answer - others"`` is against ``reverse_answer`` and ``add_answer``, ``"sort_lag1 - others"`` against
  ``reverse_lag1`` and ``add_lag1``. An expression that names columns of two phases has no others.
- **Designs of your own** (``design=``) have others where every kind of event has a column of its name, or where they
  are made from what :func:`tl_fbn.design_matrix` returned.
- **A column that is called others** is what the word means then; ``fit.contrasts_against_others()`` still compares
  every condition with the mean of all others.

Nothing is computed here: an expression with ``others`` becomes the one that could have been written by hand.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import pandas as pd

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run_sums import Streamed
from tl_fbn.analysis.glm.readings import OTHERS, Part, as_text, quoted
from tl_fbn.errors import InputError

_KEY = "conditions"  # in the attributes of a design
_LONG = 40  # characters of an expression that a title still holds
_UNKNOWN = (
    "this design does not tell which columns are conditions (a design= of your own without a column for every kind of "
    "event, or a fit of an earlier version)"
)


def mark_conditions(design: pd.DataFrame, conditions: Mapping[str, str]) -> pd.DataFrame:
    """The design, which from now on knows which of its columns belong to which condition.

    Args:
        design: (row, regressor) design matrix.
        conditions: Name of a column to the condition that it is of.
    """
    design.attrs[_KEY] = {name: conditions[name] for name in map(str, design.columns) if name in conditions}
    return design


def condition_columns(design: pd.DataFrame) -> dict[str, str]:
    """Name of a column of a design to the condition that it is of; columns that the design knows no condition of lack.

    Args:
        design: (row, regressor) design matrix.
    """
    known = design.attrs.get(_KEY, {})
    return {name: known[name] for name in map(str, design.columns) if name in known}


def conditions_of(designs: Sequence[pd.DataFrame], recording: Recording | Streamed) -> dict[str, str]:
    """Name of a column to its condition, over all runs; empty where that is not known of every condition.

    Args:
        designs: One (row, regressor) design matrix for each run.
        recording: The runs, with their events.
    """
    found: dict[str, str] = {}
    for design, run in zip(designs, recording, strict=True):
        names = {name for name, _ in run.blocks()}
        known = condition_columns(design) or {name: name for name in map(str, design.columns) if name in names}
        # a condition without a column would silently be missing from the others
        if set(known.values()) != names or any(found.get(name, of) != of for name, of in known.items()):
            return {}
        found |= known
    return found


def others_of(named: Sequence[str], columns: Sequence[str], conditions: Mapping[str, str]) -> list[str]:
    """The columns of all conditions that are not named, of the phase and lag of those that are.

    Args:
        named: Columns that an expression names.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of.

    Returns:
        Their names, in the order of the design; empty where no named column is of a condition, where those named are of
        several phases or lags, or where no other is left.
    """
    of = {conditions[name] for name in named if name in conditions}
    ends = {_end(name, conditions) for name in named if name in conditions}
    if len(ends) != 1:
        return []
    return [
        name for name in columns if name in conditions and conditions[name] not in of and _end(name, conditions) in ends
    ]


def mean_of(names: Sequence[str]) -> str:
    """The mean of columns, as an expression.

    >>> mean_of(["add", "2 digits"])
    '(add + `2 digits`) / 2'

    Args:
        names: Names of the columns, at least one.
    """
    return as_text(_mean_parts(names))


def with_others(
    parts: Sequence[Part], expression: str, columns: Sequence[str], conditions: Mapping[str, str]
) -> tuple[Part, ...]:
    """An expression with the columns it means in the place of ``others``.

    Args:
        parts: The pieces of the expression.
        expression: The expression as it was written, for messages.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of.

    Raises:
        InputError: The others of this expression are not known: it names no condition, columns of several phases or
            lags, or all conditions; or the design does not tell which of its columns are conditions.
    """
    if not any(_is_others(part, columns) for part in parts):
        return tuple(parts)
    named = [part.text for part in parts if part.kind != "text" and not _is_others(part, columns)]
    if unknown := [name for name in named if name not in columns]:
        raise unknown_name(unknown[0], expression, columns)
    means = f'contrast "{expression}" means by "{OTHERS}" all conditions that it does not name'
    if not conditions:
        raise InputError(
            f'{means}, and {_UNKNOWN}; write them out, as in "a - (b + c) / 2"; columns: {", ".join(columns)}'
        )
    others = others_of(named, columns, conditions)
    if not others:
        ends = sorted({_end(name, conditions) for name in named if name in conditions})
        why = (
            "it names none"
            if not ends
            else f"it names columns of several phases or lags ({', '.join(named)})"
            if len(ends) > 1
            else "none is left"
        )
        raise InputError(f"{means}, and {why}; conditions have the columns {', '.join(conditions)}")
    mean = _mean_parts(others)
    return tuple(one for part in parts for one in (mean if _is_others(part, columns) else [part]))


def against_others(columns: Sequence[str], conditions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """For every condition's column the contrast with the mean of all others, and what it is called.

    >>> against_others(["a", "b", "position"], {"a": "a", "b": "b"})
    {'a': ('a - b', 'a - others'), 'b': ('b - a', 'b - others')}

    Args:
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of.

    Raises:
        InputError: No condition has others, or it is not known which columns are conditions.
    """
    others = {name: others_of([name], columns, conditions) for name in columns}
    if not any(others.values()):
        known = f"the conditions have the columns {', '.join(conditions)}" if conditions else _UNKNOWN
        raise InputError(f"no condition has others: {known}; columns: {', '.join(columns)}")
    return {
        name: (f"{quoted(name)} - {mean_of(rest)}", _name_against_others(name, columns))
        for name, rest in others.items()
        if rest
    }


def _name_against_others(column: str, columns: Sequence[str]) -> str:
    """Name of such a contrast; where a column is called others, it tells the two apart."""
    return f"{column} - all {OTHERS}" if OTHERS in columns else f"{column} - {OTHERS}"


def default_name(
    expression: str, weights: Mapping[str, float], columns: Sequence[str], conditions: Mapping[str, str]
) -> str:
    """What a contrast is called that was given no name.

    Args:
        expression: The contrast as it was written.
        weights: Its weight of every column it names.
        columns: Names of the columns of the design.
        conditions: Name of a column to the condition that it is of.

    Returns:
        The expression; of more than 40 characters that compare one condition with the mean of all others, the short
        form ``"plural - others"``.
    """
    if len(expression) <= _LONG:
        return expression
    for column in [name for name, weight in weights.items() if weight == 1 and name in conditions]:
        others = others_of([column], columns, conditions)
        if len(others) > 1 and weights == {column: 1.0, **dict.fromkeys(others, -1 / len(others))}:
            return _name_against_others(column, columns)
    return expression


def unknown_name(name: str, expression: str, columns: Sequence[str]) -> InputError:
    """The error of a name that is no column, with the column that may have been meant.

    Args:
        name: The name.
        expression: The whole expression.
        columns: Names of the columns of the design.
    """
    near = difflib.get_close_matches(name, columns, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return InputError(
        f'contrast "{expression}" names "{name}", which is no column of the design; '
        f"columns: {', '.join(columns)}.{hint}"
    )


def _mean_parts(names: Sequence[str]) -> list[Part]:
    """The mean of columns, as pieces of an expression."""
    alone = len(names) == 1
    parts = [Part("" if alone else "(", "text")]
    for number, name in enumerate(names):
        parts += [Part(" + " if number else "", "text"), Part(name, "name")]
    return [*parts, Part("" if alone else f") / {len(names)}", "text")]


def _is_others(part: Part, columns: Sequence[str]) -> bool:
    """Whether a part is the word and no column; in backticks it is a name."""
    return part.kind == "name" and part.text == OTHERS and OTHERS not in columns


def _end(column: str, conditions: Mapping[str, str]) -> str:
    """What a column's name adds to its condition: the phase and the lag."""
    return column[len(conditions[column]) :]
