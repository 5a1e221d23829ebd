"""The viewer: one offline page in which a recording and its networks can be walked through, as volumes are in neuroimaging.

    fbn.view(recording, atlas, maps={"z": contrast.z}).save("networks.html")

The map of every unit (layers up, units across) with a threshold; a list of the networks and how far they overlap; the course
of the picked network or unit over the blocks; and the text itself, every token coloured by that course. Everything answers to
keys, ``?`` lists them.

The page is one file of about 8 MB at most: pictures are drawn on canvases by a small script of its own, without a library and
without a request, which its content security policy forbids. Tokens and names become text, never markup. What the page holds,
how it is rounded, and what had to be left out is decided in :mod:`tl_fbn.reporting.viewer.data` and stands at its foot.

What it does not do: nothing is tested here, no model is run, and the course of a unit can be shown only if it was kept.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.reporting import templates
from tl_fbn.reporting.viewer.data import viewer_data
from tl_fbn.units import Network, UnitMap, html_table

_INLINE = 2_000_000  # a notebook keeps what it shows; a larger page is better saved beside it
_SCRIPTS = ("viewer_draw.js", "viewer.js", "viewer_text.js")


@dataclass(frozen=True, eq=False)
class Viewer:
    """A page to be saved, made by :func:`view`.

    Args:
        title: Heading of the page.
        data: What it shows, as JSON-serialisable values.
    """

    title: str
    data: Mapping[str, Any] = field(repr=False)

    @cached_property
    def _json(self) -> str:
        """JSON that cannot end the element it stands in."""
        return json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

    @property
    def summary(self) -> str:
        """What is in it, in a line."""
        data = self.data
        text = self.data["text"]
        parts = [
            _count(len(data["networks"]), "network"),
            _count(len(data["maps"]), "map"),
            f"{sum(data['space']['widths']):,} units of {data['space']['words']}",
            f"{_count(text['rows'], 'row')} in {_count(len(text['runs']), 'run')}",
        ]
        return ", ".join(part for part in parts if not part.startswith("0 "))

    def to_html(self) -> str:
        """The page as one string."""
        return templates.render(
            "viewer/viewer.html.jinja",
            title=self.title,
            summary=self.summary,
            networks=self.data["networks"],
            notes=self.data["notes"],
            data=Markup(self._json),
            css=Markup(_source("viewer.css")),
            js=Markup("\n".join(map(_source, _SCRIPTS))),
            version=_version(),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the page to one HTML file."""
        templates.write(Path(path), self.to_html())

    def __repr__(self) -> str:
        return f'Viewer "{self.title}": {self.summary}, {len(self._json) / 1e6:.1f} MB; .save(path) writes the page'

    def _repr_html_(self) -> str:
        if len(self._json) <= _INLINE:
            page = html.escape(self.to_html(), quote=True)
            style = "width: 100%; height: 820px; border: 1px solid #cfcfcf"
            return (
                f'<iframe title="viewer" sandbox="allow-scripts allow-forms" style="{style}" srcdoc="{page}"></iframe>'
            )
        lines = [
            (one["name"], f"{one['units']:,}", "kept" if one["course"] else "no units") for one in self.data["networks"]
        ]
        caption = f'{self!r}, too large to show here: viewer.save("networks.html") and open that file in a browser'
        return html_table(caption, ("network", "units", "course"), lines)


def view(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    maps: UnitMap | Mapping[str, UnitMap] | None = None,
    units: Network | Iterable[Any] | None = None,
    title: str | None = None,
    run: int | Sequence[int] | None = None,
    max_units: int = 200,
    megabytes: float = 8.0,
) -> Viewer:
    """Put a recording and its networks into one page that can be walked through offline.

    >>> view(recording, atlas, maps={"z": contrast.z}).save("networks.html")    # doctest: +SKIP

    Args:
        recording: Activations, of one site (``recording.site(name)`` where there are several).
        networks: An atlas (its maps come along), a network, or names to networks; None with ``maps`` alone.
        maps: Further maps; one under a network's name is that network's own where the atlas brings none.
        units: Units whose course must be kept, as (layer, unit) pairs, flat indices or a network.
        title: Heading of the page.
        run: A run, or several; all by default, one behind the other.
        max_units: Most courses of single units; besides ``units`` the strongest of every network and map are kept.
        megabytes: Most the page may weigh. Values are rounded, weak ones and late rows left out to keep to it, and the foot of
            the page says so.

    Returns:
        The page, to be saved with ``.save(path)``; a notebook shows it where it is small.

    Raises:
        InputError: Networks or maps of other units than the recording's, neither of both, more ``units`` than ``max_units``, or sizes
            that no page can have.
        InputIndexError: A run or unit that is not there.
        InputTypeError: Networks, maps or units that are something else.
    """
    if not isinstance(recording, Recording):
        raise InputTypeError(
            f"view shows a recording: fbn.view(recording, networks); got {type(recording).__name__} as the recording"
        )
    if max_units < 0 or not 0 < megabytes < math.inf:
        raise InputError(f"max_units={max_units} must be at least 0 and megabytes={megabytes} a positive number")
    data = viewer_data(recording, networks, maps=maps, units=units, run=run, max_units=max_units, megabytes=megabytes)
    return Viewer(f"Networks of {recording.space.model}" if title is None else title, data)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _source(name: str) -> str:
    return resources.files("tl_fbn.reporting.viewer").joinpath(name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return metadata.version("tl-fbn")
    except metadata.PackageNotFoundError:
        return "(unknown version)"
