"""What a page is made of: a :class:`Section` is a heading, a few sentences, a picture and the table behind it.

Pictures are given as functions and drawn by the page, so that a result is laid out in milliseconds and a report can be saved where plotly is not
installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tl_fbn.reporting import plot as figures
from tl_fbn.units import Atlas, Network, UnitMap

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
else:
    Figure = Any  # run-time type checks must not need plotly

SHOWABLE = (
    "a Section, a UnitMap, Network or Atlas (or a mapping of names to maps or networks), a DataFrame, a plotly figure, "
    "or an object with _report_sections_(), to_dataframe() or _repr_html_()"
)


@dataclass(frozen=True, eq=False)
class Section:
    """One section of a report.

    >>> Section("Method", "Six cycles of sort and rest, 64 tokens a block.").title
    'Method'

    Args:
        title: Heading, plain text.
        text: Plain text; a blank line starts a new paragraph.
        figure: A plotly figure; a function of no arguments that draws one, called when the page is made; or a map, a
            network, or a mapping of names to either, drawn as a glass brain or a profile over layers.
        table: The numbers behind the figure.
        html: HTML to put in as it is. Nothing in it is escaped, so it must not hold text of unknown origin; scripts in
            it do not run.
    """

    title: str
    text: str
    figure: Figure | Callable[[], Figure] | UnitMap | Network | Mapping[str, Any] | None = None
    table: pd.DataFrame | None = None
    html: str | None = None

    def draw(self) -> Figure:
        """The figure itself; needs plotly."""
        figure: Any = self.figure
        kind = mapping_of(figure)
        if isinstance(figure, UnitMap) or kind is UnitMap:
            return figures.unit_map(figure)
        if isinstance(figure, Network) or kind is Network:
            return figures.layer_profile(figure)
        drawn: Any = figure() if callable(figure) else figure
        if not callable(getattr(drawn, "to_plotly_json", None)):
            raise TypeError(
                f'section "{self.title}" has a {type(drawn).__name__} as its figure; give a plotly figure, a function '
                "that returns one, a UnitMap, a Network, or a mapping of names to these"
            )
        return drawn


def require_showable(result: object, place: int, whose: str = "this report") -> None:
    """Raise TypeError, saying what can be shown, unless :func:`tl_fbn.reporting.page.layout_of_result.sections_of` has a way for the result."""
    methods = ("_report_sections_", "to_plotly_json", "to_dataframe", "_repr_html_")
    known = isinstance(result, (Section, UnitMap, Network, Atlas, pd.DataFrame)) or mapping_of(result) is not None
    # a class has these methods too, and none of the numbers
    if not known and (isinstance(result, type) or not any(callable(getattr(result, name, None)) for name in methods)):
        raise TypeError(f"result {place} of {whose} is of type {type(result).__name__}; a report shows {SHOWABLE}")


def mapping_of(result: object) -> type | None:
    """The type of the values of a mapping, if they are all maps or all networks."""
    if not isinstance(result, Mapping) or not result:
        return None
    return next((kind for kind in (UnitMap, Network) if all(isinstance(v, kind) for v in result.values())), None)
