"""The look that all pictures share, and the checks that they make on what they are given.

Signed quantities use a red-blue scale with white at 0 and the same range on both sides. Shares and overlaps use one
hue, from white. Categories use the eight colours of Okabe and Ito (2008). All three can be told apart with the common
colour blindnesses. Grey means that there is no value; it never means zero.

Names stand in a picture as they were given. plotly reads markup in labels, so :func:`verbatim` escapes it; and the
ticks of an axis of names are positions 0, 1, 2 ... with the names as texts, so that a network called "7" or
"2024-01-01" is not taken for a number or a date.

plotly is an optional extra; :func:`plotly` imports it when the first picture is drawn. Nothing here draws by itself,
and no global state of plotly (its default template, its renderer) is touched.
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from tl_fbn.errors import InputError, InputTypeError, MissingPackageError
from tl_fbn.units import Network

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
else:
    Figure = Any  # run-time type checks must not need plotly

# blue, orange, green, vermilion, purple, sky blue, yellow, black
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
DIVERGING = "RdBu_r"  # red is positive, as on maps of the brain
SEQUENTIAL = "Blues"
NOTHING = "#e2e2e2"  # behind cells that have no number, so that white is left to mean 0
# no font file is fetched: a picture has to look right on a machine without internet
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def plotly() -> tuple[Any, Any]:
    """plotly's graph objects and ``make_subplots``, or one clear ImportError."""
    try:
        return importlib.import_module("plotly.graph_objects"), importlib.import_module("plotly.subplots").make_subplots
    except ImportError as error:
        raise MissingPackageError('pictures need plotly, which is not installed: pip install "tl-fbn[plot]"') from error


@runtime_checkable
class HasTable(Protocol):
    """Anything that lays itself out as a table, such as a lesion study."""

    def to_dataframe(self) -> pd.DataFrame:
        """The result as a table."""
        ...


def table_of(result: HasTable | pd.DataFrame) -> pd.DataFrame:
    """The table of a result, or the table itself."""
    return result if isinstance(result, pd.DataFrame) else result.to_dataframe()


# Text and colour


def verbatim(words: object) -> str:
    """Text that plotly shows as it is, without reading markup in it."""
    return html.escape(str(words), quote=False)


def label(words: object, longest: int = 24) -> str:
    """A name short enough for an axis; hover texts give the full one."""
    name = str(words)
    return verbatim(name if len(name) <= longest else name[: longest - 1] + "\u2026")


def colour_limit(arrays: Sequence[np.ndarray], *, percentile: float = 99.5) -> float:
    """Half the range of a colour scale about 0: a percentile of the magnitudes, or their maximum where that is 0.

    Arrays without any finite number other than 0 give 1, as a scale needs some range.
    """
    sizes = np.abs(np.concatenate([array[np.isfinite(array)] for array in arrays]))
    if not sizes.size or not sizes.max() > 0:
        return 1.0
    # the percentile is 0 where nearly all values are 0, as in a map of a few units
    return float(np.percentile(sizes, percentile)) or float(sizes.max())


def colour_bar(title: object, **place: Any) -> dict[str, Any]:
    """A thin colour bar; ``place`` sets ``y`` and ``len``."""
    return {
        "title": {"text": verbatim(title), "font": {"size": 13}},
        "thickness": 10,
        "outlinewidth": 0,
        "xpad": 6,
        **place,
    }


def cells(z: np.ndarray, digits: int, starred: np.ndarray | None = None) -> list[list[str]]:
    """Numbers as cell text, with a star where ``starred`` is 1; no text where there is no number, and no "-0"."""
    stars = np.zeros(z.shape) if starred is None else starred
    return [
        # "z" writes a negative number that rounds to 0 without its sign
        [f"{value:z.{digits}f}{'*' if star == 1 else ''}" if np.isfinite(value) else "" for value, star in line]
        for line in (zip(*pair, strict=True) for pair in zip(z, stars, strict=True))
    ]


def matrix(z: np.ndarray, low: float | int, high: float | int, *, text: Any = None, **rest: Any) -> Any:
    """The cells of a matrix: diverging colours where ``low`` is negative, nothing drawn where there is no number.

    Args:
        z: (row, column) numbers.
        low, high: Ends of the colour scale, in the unit of ``z``; a negative ``low`` selects the red-blue scale.
        text: (row, column) texts that stand in the cells; None writes nothing.
        **rest: Further arguments of plotly's ``Heatmap``.
    """
    go, _ = plotly()
    return go.Heatmap(
        z=z,
        zmin=low,
        zmax=high,
        colorscale=DIVERGING if low < 0 else SEQUENTIAL,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        text=text,
        texttemplate=None if text is None else "%{text}",
        **rest,
    )


# Layout


def matrix_axes(figure: Figure, columns: Sequence[str], rows: Sequence[str], **at: Any) -> None:
    """Label the cells of a matrix whose first row is at the top."""
    places = list(range(len(columns)))
    span = [len(rows) - 0.5, -0.5]  # from the larger to the smaller: row 0 is at the top
    turn = [0, -45, -90]  # angles that plotly tries in this order until the names fit
    figure.update_xaxes(tickvals=places, ticktext=list(columns), autotickangles=turn, showgrid=False, **at)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=list(rows), range=span, showgrid=False, **at)


def finish(figure: Figure, title: str, panels: int, *, min_width: int = 0, paper: str = "white") -> Figure:
    """Put on the shared look: white page, system font, quiet axes.

    Args:
        figure: The picture with all its traces; it is changed in place.
        title: Heading of the picture, as plain text.
        panels: Height of the panels and the gaps between them, without heading and legend, in pixels.
        min_width: Width in pixels below which the picture cannot be read; the report scrolls a narrower one. It is
            handed on in ``layout.meta``.
        paper: Colour behind the marks of every panel.

    Returns:
        The same figure.
    """
    look: Any = figure.layout
    above = 26 if look.annotations else 6  # the legend stands above the titles of panels
    figure.update_layout(
        template="none",
        title={"text": verbatim(title), "x": 0, "xanchor": "left", "pad": {"l": 12}, "font": {"size": 15}},
        font={"family": FONT, "size": 13, "color": "#1a1a1a"},
        height=panels + 140,  # the margins of 84 and 56 pixels below
        margin={"l": 16, "r": 16, "t": 84, "b": 56},
        paper_bgcolor="white",
        plot_bgcolor=paper,
        legend={"orientation": "h", "x": 0, "y": 1 + above / panels, "yanchor": "bottom"},
        modebar={"remove": ["sendChartToCloud", "select2d", "lasso2d"]},  # the first would upload the data
        hoverlabel={"bgcolor": "white", "font": {"color": "#1a1a1a"}, "namelength": -1},
        meta={"min_width": min_width},
    )
    quiet = {
        "automargin": True,
        "zeroline": False,
        "gridcolor": "#e6e6e6",
        "ticks": "",
        "title_standoff": 8,
        "title_font_size": 13,
    }
    figure.update_xaxes(**quiet)
    figure.update_yaxes(**quiet)
    figure.update_annotations(font_size=13)
    return figure


# Tables


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, each as a mapping of column to value."""
    # tolist gives Python numbers, and each column keeps its type: an int beside a float is not made a float
    columns = {str(name): table[name].tolist() for name in table}
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


# Checks


def named(given: Any, kind: type, who: str) -> dict[str, Any]:
    """A mapping of names to ``kind``, or an error that says what came instead."""
    if not isinstance(given, Mapping):
        raise InputTypeError(f"{who} draws a {kind.__name__} or a mapping of names to them; got {type(given).__name__}")
    if not given:
        raise InputError(f"{who} was given no {kind.__name__}; give at least one")
    for name, value in given.items():
        if not isinstance(value, kind):
            raise InputTypeError(f"{who} needs every value to be a {kind.__name__}; {name!r} is {type(value).__name__}")
    return {str(name): value for name, value in given.items()}


def named_networks(networks: Network | Mapping[str, Network], who: str) -> dict[str, Network]:
    """Names to networks, of one network, an atlas or a mapping."""
    return {networks.name: networks} if isinstance(networks, Network) else named(networks, Network, who)


def require_lines(table: pd.DataFrame, columns: Sequence[str], key: Sequence[str], who: str) -> pd.DataFrame:
    """The table, if it has these columns and exactly one line for every ``key``."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{who} needs columns {', '.join(columns)}; this table lacks {', '.join(missing)}")
    if not len(table):
        raise InputError(f"{who} was given a table without lines; there is nothing to draw")
    repeated = table.loc[table.duplicated(list(key)), list(key)]
    if len(repeated):
        first = ", ".join(f"{name} {value!r}" for name, value in zip(key, repeated.iloc[0].tolist(), strict=True))
        raise InputError(f"{who} needs one line for every {', '.join(key)}; {first} occurs again. Average first")
    return table
