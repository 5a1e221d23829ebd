"""From results to sections: a heading, a few sentences, a picture and the table behind it.

A result says itself how it is shown, by ``_report_sections_()``: a list of dicts of a section's fields. Two more keys
may be in such a dict: ``picture`` names a function of ``fbn.plot`` (called with the result itself, or, in a tuple, with
what follows the name), and ``origin`` is a provenance that ends the text. A result without that method becomes one
section of its ``repr``, its picture and its table. Beside results a page shows tables, plotly figures, mappings of
names to maps or networks, and anything with ``_repr_html_()``.

Pictures are drawn by the page and not before, so that a result is laid out in milliseconds and a report can be saved
where plotly is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from tl_fbn.errors import InputTypeError
from tl_fbn.kinds import ShownText
from tl_fbn.reporting import plot
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitMap
from tl_fbn.units.result import Result
from tl_fbn.units.unit_map import TOP_UNITS, largest_units

SHOWABLE = (
    "a Section, a UnitMap, Network or Atlas (or a mapping of names to maps or networks), a DataFrame, a plotly figure, "
    "or an object with _report_sections_(), to_dataframe() or _repr_html_()"
)
_DISPLAY_METHODS = ("_report_sections_", "to_plotly_json", "to_dataframe", "_repr_html_")


@checked
@dataclass(frozen=True, eq=False)
class Section:
    """One section of a report.

    >>> Section("Method", "Six cycles of sort and rest, 64 tokens a block.").title
    'Method'

    Args:
        title: Heading of the section, in plain text.
        text: The sentences under the heading, in plain text; a blank line starts a new paragraph.
        figure: A plotly figure; a function of no arguments that draws one, called when the page is made; or a map, a
            network, or a mapping of names to either, drawn as a glass brain or a profile over layers.
        table: The numbers behind the figure, shown below it; None shows no table.
        html: HTML to put in as it is. Nothing in it is escaped, so it must not hold text of unknown origin; scripts in
            it do not run. None adds nothing.
    """

    title: ShownText
    text: ShownText = ""
    figure: Figure | Callable[[], Figure] | UnitMap | Network | Mapping[str, Any] | None = None
    table: pd.DataFrame | None = None
    html: str | None = None

    def draw(self) -> Figure:
        """The plotly figure; plotly must be installed.

        Raises:
            InputTypeError: The section's figure is, or its function returns, something that is no figure.
        """
        figure: Any = self.figure
        kind = kind_of_mapping(figure)
        if isinstance(figure, UnitMap) or kind is UnitMap:
            return plot.unit_map(figure)
        if isinstance(figure, Network) or kind is Network:
            return plot.layer_profile(figure)
        # a function draws what is too costly to draw before the page needs it
        drawn: Any = figure() if callable(figure) else figure
        if not callable(getattr(drawn, "to_plotly_json", None)):
            raise InputTypeError(
                f'section "{self.title}" has a {type(drawn).__name__} as its figure; give a plotly figure, a function '
                "that returns one, a UnitMap, a Network, or a mapping of names to these"
            )
        return drawn


def sections_of(result: Any) -> list[Section]:
    """Lay out one result of a report as sections.

    Args:
        result: A result, section, table, figure, mapping of names to maps or networks, or object with
            ``_repr_html_()``; :func:`require_showable` tells whether it is one of these.
    """
    if isinstance(result, Section):
        return [result]
    if callable(getattr(result, "_report_sections_", None)):
        # what the result says of itself: fields of a section, a section, or another result to lay out in turn
        sections: list[Section] = []
        for place, part in enumerate(result._report_sections_(), start=1):
            if isinstance(part, dict) and "title" in part:
                part = _section_from_fields(part, result)
            require_showable(part, place, f"{type(result).__name__}._report_sections_()")
            sections += sections_of(part)
        return sections
    kind = kind_of_mapping(result)
    if kind is Network:
        # networks given by name are shown as the atlas they make up
        return sections_of(Atlas.from_networks(result))
    if kind is UnitMap:
        return [_maps_section(result)]
    if callable(getattr(result, "to_plotly_json", None)):
        return [Section("Figure", figure=result)]
    if isinstance(result, pd.DataFrame):
        return [Section("Table", table=result)]
    title = _words(type(result).__name__)
    if callable(getattr(result, "to_dataframe", None)):
        return [_default_section(result, title)]
    return [Section(title, html=result._repr_html_())]


def require_showable(result: object, place: int, whose: str = "this report") -> None:
    """Raise an error unless :func:`sections_of` can lay out a result.

    Args:
        result: What was given to be shown.
        place: Its place among all that was given, counted from 1, for the message.
        whose: What it was given to, in words, for the message.

    Raises:
        InputTypeError: The result is of a type that no report can show; the message says which types can be shown.
    """
    known = isinstance(result, (Section, Result, pd.DataFrame)) or kind_of_mapping(result) is not None
    # a class, given instead of one of its objects, has the methods, too, but no numbers
    if not known and (isinstance(result, type) or not _has_display_method(result)):
        raise InputTypeError(f"result {place} of {whose} is of type {type(result).__name__}; a report shows {SHOWABLE}")


def _has_display_method(result: object) -> bool:
    return any(callable(getattr(result, name, None)) for name in _DISPLAY_METHODS)


def kind_of_mapping(result: object) -> type | None:
    """The type of the values of a mapping, :class:`UnitMap` or :class:`Network`, if they are all maps or all networks.

    Args:
        result: Any object; for one that is no such mapping the answer is None.
    """
    if not isinstance(result, Mapping) or not result:
        return None
    return next((kind for kind in (UnitMap, Network) if all(isinstance(v, kind) for v in result.values())), None)


def _section_from_fields(described: dict[str, Any], result: Any) -> Section:
    """A section from a dict of its fields, with the picture and the origin that it names."""
    fields = dict(described)  # a copy, for the result may keep its own
    picture = fields.pop("picture", None)
    origin = fields.pop("origin", {})
    if picture is not None:
        name, *arguments = (picture, result) if isinstance(picture, str) else picture
        fields["figure"] = partial(getattr(plot, name), *arguments)
    return Section(**{**fields, "text": with_origin(fields.get("text", ""), origin)})


def _default_section(result: Any, title: str) -> Section:
    """A section of the ``repr`` of a result, its picture if its class has one, and its table."""
    name = getattr(result, "_picture_", None)  # of a function of fbn.plot
    figure = None if name is None else partial(getattr(plot, name), result)
    origin = getattr(result, "provenance", {})
    text = with_origin(f"{result!r}.", origin if isinstance(origin, Mapping) else {})
    return Section(title, text, figure, result.to_dataframe())


def _maps_section(maps: Mapping[str, UnitMap]) -> Section:
    """A section of several maps: a picture of all, and a table of the largest units of each."""
    text = (
        f"{len(maps)} maps in one space. Maps of one kind share a colour scale, clipped at the 99.5th percentile of "
        f"their magnitudes. The table lists the {TOP_UNITS} units of largest magnitude of each."
    )
    tables = [largest_units(values) for values in maps.values()]
    for name, table in zip(maps, tables, strict=True):
        table.insert(0, "map", name)
    names = ", ".join(list(map(str, maps))[:4]) + (f" and {len(maps) - 4} more" if len(maps) > 4 else "")
    return Section(f"Maps of {names}", text, maps, pd.concat(tables, ignore_index=True))


def with_origin(text: str, provenance: Mapping[str, Any]) -> str:
    """Add where a result came from to a text, as a paragraph of its own.

    Args:
        text: The sentences about the result.
        provenance: What the result says about how it was made; an empty mapping adds nothing.
    """
    origin = _provenance_in_words(provenance)
    return f"{text}\n\nOrigin: {origin}." if origin else text


def _provenance_in_words(provenance: Mapping[Any, Any]) -> str:
    """A provenance in one line: long lists are counted, and digests are cut."""
    found = []
    for key, value in provenance.items():
        if key == "description":
            continue  # stands in the text already
        if isinstance(value, Mapping):
            value = f"({_provenance_in_words(value)})"
        elif isinstance(value, (list, tuple)) and (len(value) > 4 or key in ("parts", "prompts")):
            value = f"{len(value)} {'digests of texts' if key == 'prompts' else 'entries'}"
        elif isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value):
            value = value[:16]
        found.append(f"{key} {value}")
    return ", ".join(found)


def _words(name: str) -> str:
    """``LesionStudy`` as ``Lesion study``; ``GLMFit`` as ``GLM fit``."""
    # several capitals in a row are an abbreviation, and its last one begins the next word
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name) or [name]
    return " ".join([parts[0], *(part if part.isupper() else part.lower() for part in parts[1:])])
