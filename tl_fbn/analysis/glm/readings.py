"""How a contrast's text may be read: which of its characters are names of columns.

Names come from data, and may hold signs and spaces. In ``"singular-plural - rest"`` the first name is the column
``singular-plural`` where there is one and no columns ``singular`` and ``plural``; with all three the text has two
readings. :func:`readings` lists them all, and :mod:`.expressions` keeps those that are contrasts: of one, the user need
not think; of two, neither is taken.

What decides nothing:

- text in backticks is one name, as in ``DataFrame.query``;
- identifiers are whole names, never parts of longer ones;
- a number is a number, and a sign a sign: a column of such a name (``1``, ``-2``, ``1e3``, ``+``) is reached in
  backticks only.

Only names that overlap are tried against each other, and of these only choices that leave no word that is no column.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tl_fbn.errors import InputError

OTHERS = "others"
"""The word for the mean of all other conditions, unless a column has that name."""

_Span = tuple[int, int, str]  # where a name starts and stops in a text, and the name


class Part(NamedTuple):
    """A piece of an expression.

    Args:
        text: The characters; of a name, those of the column it stands for.
        kind: ``"text"`` (signs, numbers, spaces), ``"name"``, or ``"quoted"`` for a name that stood in backticks.
    """

    text: str
    kind: Literal["text", "name", "quoted"]


def quoted(name: str) -> str:
    """A name as an expression holds it: in backticks unless it is an identifier."""
    return name if name.isidentifier() else f"`{name}`"


def as_text(parts: Sequence[Part], *, all_quoted: bool = False) -> str:
    """The expression again, of which only the names' backticks may differ.

    Args:
        parts: The pieces of the expression.
        all_quoted: Whether every name stands in backticks, so that no second reading is left.
    """
    return "".join(
        part.text if part.kind == "text" else f"`{part.text}`" if all_quoted else quoted(part.text) for part in parts
    )


def readings(expression: str, columns: Sequence[str], n_most: int) -> Iterator[tuple[Part, ...]]:
    """Every way to read an expression, that with most text in names first; one at least, be it a contrast or not.

    Args:
        expression: The expression as the user wrote it.
        columns: Names of the columns of the design.
        n_most: Number of choices that are listed for each place where names overlap.

    Raises:
        InputError: Backticks do not pair, or hold nothing.
    """
    pieces = expression.split("`")  # every second one stood in backticks
    if len(pieces) % 2 == 0 or not all(pieces[1::2]):
        raise InputError(f"contrast {expression!r} has a backtick without a partner, or nothing between two of them")
    known = {*columns, OTHERS}
    by_form: dict[str, list[str]] = {}  # columns by the form that Python's own identifiers would have
    for name in dict.fromkeys(columns):
        by_form.setdefault(_compatible(name), []).append(name)
    unusual = [name for name in columns if _is_unusual(name)]
    places = [
        (number, list(itertools.islice(_choices(text, spans, known, by_form), n_most)) or [_longest(spans)])
        for number, text in enumerate(pieces)
        if number % 2 == 0
        for spans in _overlapping(text, unusual)
    ]
    for chosen in itertools.product(*(choices for _, choices in places)):
        spans_of: dict[int, list[_Span]] = {}
        for (number, _), spans in zip(places, chosen, strict=True):
            spans_of.setdefault(number, []).extend(spans)
        parts: list[Part] = []
        for number, text in enumerate(pieces):
            if number % 2:
                parts.append(Part(text, "quoted"))
            else:
                parts += _parts(text, spans_of.get(number, []), known, by_form)
        yield tuple(parts)


def _is_unusual(name: str) -> bool:
    """Whether a name is neither an identifier nor a number, and more than signs."""
    if name.isidentifier() or "`" in name or not re.search(r"\w", name):
        return False
    try:
        float(name)
    except ValueError:
        return True
    return False


def _overlapping(text: str, names: Sequence[str]) -> Iterator[list[_Span]]:
    """The places of names in a text, those that overlap together, from left to right and the longest first."""
    spans = [
        (found.start(), found.start() + len(name), name)
        for name in names
        # looked for ahead, so that a name may overlap itself; at the edges of words only
        for found in re.finditer(rf"(?<!\w)(?={re.escape(name)}(?!\w))", text)
    ]
    group: list[_Span] = []
    for span in sorted(spans, key=lambda one: (one[0], -one[1])):
        if group and span[0] >= max(stop for _, stop, _ in group):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _choices(
    text: str, spans: Sequence[_Span], known: set[str], by_form: dict[str, list[str]]
) -> Iterator[tuple[_Span, ...]]:
    """Which of overlapping names are taken: all choices that leave no unknown word."""
    first, stop = spans[0][0], max(end for _, end, _ in spans)

    def choose(at: int, rest: Sequence[_Span]) -> Iterator[tuple[_Span, ...]]:
        for number, span in enumerate(rest):
            if not _all_known(text[at : span[0]], known, by_form):
                return  # later names start even later
            after = [one for one in rest[number + 1 :] if one[0] >= span[1]]
            for more in choose(span[1], after):
                yield (span, *more)
        if _all_known(text[at:stop], known, by_form):
            yield ()

    return choose(first, spans)


def _longest(spans: Sequence[_Span]) -> tuple[_Span, ...]:
    """Names from left to right, each the longest that starts there: for messages, where no choice is right."""
    taken: list[_Span] = []
    for span in spans:
        if not taken or span[0] >= taken[-1][1]:
            taken.append(span)
    return tuple(taken)


def _all_known(text: str, known: set[str], by_form: dict[str, list[str]]) -> bool:
    return all(_column_of(text[first:stop], known, by_form) in known for first, stop in _identifiers(text))


def _parts(text: str, spans: Sequence[_Span], known: set[str], by_form: dict[str, list[str]]) -> Iterator[Part]:
    """A text as its names and what is between them."""
    at = 0
    for first, stop, name in [*spans, (len(text), len(text), "")]:
        between = text[at:first]
        done = 0
        for start, end in _identifiers(between):
            yield Part(between[done:start], "text")
            yield Part(_column_of(between[start:end], known, by_form), "name")
            done = end
        yield Part(between[done:], "text")
        if name:
            yield Part(name, "name")
        at = stop


def _column_of(name: str, known: set[str], by_form: dict[str, list[str]]) -> str:
    """The column that an identifier means: of that name, or the only one with its letters in another form."""
    if name in known:
        return name
    alike = by_form.get(_compatible(name), [])
    return alike[0] if len(alike) == 1 else name


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
