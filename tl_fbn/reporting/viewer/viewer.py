"""The viewer: a recording and its networks in one offline page, to be explored as brain volumes are in neuroimaging.

The page has four parts: the map of every unit (layers up, units across) with a threshold; a list of the networks and
how far they overlap; the course of the picked network or unit over the blocks; and the text itself, every token
coloured by that course. All of it can be operated from the keyboard, too; ``?`` lists the keys.

The page is one file of about 8 MB at most. Pictures are drawn on canvases by a small script of its own: it uses no
library, and it makes no request, which the content security policy of the page forbids. Tokens and names become text,
never markup. What the page holds, how it is rounded and what has to be left out is decided in
:mod:`tl_fbn.reporting.viewer.data`, and the foot of the page says it.

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
from tl_fbn.errors import InputError, InputTypeError, visible
from tl_fbn.kinds import ShownText
from tl_fbn.reporting import templates
from tl_fbn.reporting.viewer.data import viewer_data
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, html_table

# a notebook file holds all that it shows, so a page with more data than this is better saved beside it
_MAX_CHARACTERS_IN_A_NOTEBOOK = 2_000_000
# in this order: one script, in which the later files use names of the earlier ones
_SCRIPTS = ("viewer_draw.js", "viewer.js", "viewer_text.js")


@dataclass(frozen=True, eq=False)
class Viewer:
    """A page in which a recording and its networks can be explored, made by :func:`view`; ``save`` writes it.

    Args:
        title: Heading of the page.
        data: All that the page shows, as the JSON-serialisable values of
            :func:`tl_fbn.reporting.viewer.data.viewer_data`.
    """

    title: ShownText
    data: Mapping[str, Any] = field(repr=False)

    @cached_property
    def _json(self) -> str:
        """The data as JSON that cannot end the script element it stands in."""
        # "<" would allow "</script>"; in JSON the escape means the same
        return json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

    @property
    def summary(self) -> str:
        """What the page shows, in one line: numbers of networks, maps, units, rows and runs."""
        data = self.data
        text = data["text"]
        parts = [
            _count(len(data["networks"]), "network"),
            _count(len(data["maps"]), "map"),
            f"{sum(data['space']['widths']):,} units of {data['space']['words']}",
            f"{_count(text['rows'], 'row')} in {_count(len(text['runs']), 'run')}",
        ]
        # a recording without networks, or without maps, does not mention them
        return ", ".join(part for part in parts if not part.startswith("0 "))

    def to_html(self) -> str:
        """The page as one string of HTML."""
        return templates.render(
            "viewer/viewer.html.jinja",
            title=self.title,
            summary=self.summary,
            networks=self.data["networks"],
            notes=self.data["notes"],
            data=Markup(self._json),
            css=Markup(_text_of_file("viewer.css")),
            js=Markup("\n".join(map(_text_of_file, _SCRIPTS))),
            version=_package_version(),
        )

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Write the page to one HTML file.

        Args:
            path: The file to write; a file that is there already is replaced.
        """
        templates.write(Path(path), self.to_html())

    def __repr__(self) -> str:
        size = f"{len(self._json) / 1e6:.1f} MB"
        return visible(f'Viewer "{self.title}": {self.summary}, {size}; .save(path) writes the page')

    def _repr_html_(self) -> str:
        if len(self._json) <= _MAX_CHARACTERS_IN_A_NOTEBOOK:
            # in a frame of its own, without the rights of the notebook's page
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


@checked
def view(
    recording: Recording,
    networks: Network | Mapping[str, Network] | None = None,
    *,
    maps: UnitMap | Mapping[str, UnitMap] | None = None,
    units: Network | Iterable[Any] | None = None,
    promoted: Any = None,
    title: ShownText | None = None,
    run: int | Sequence[int] | None = None,
    max_units: int = 200,
    megabytes: float = 8.0,
) -> Viewer:
    """Put a recording and its networks into one page that can be explored offline, in any browser.

    >>> page = fbn.view(recording, atlas, maps={"sort - reverse": contrast.z})
    >>> page.summary
    '8 networks, 9 maps, 1,152 units of tl_fbn-demo mlp.neurons (3 x 384), 1,536 rows in 2 runs'
    >>> page.save("networks.html")

    Args:
        recording: Activations of one site; where a recording has several sites, ``recording.site(name)`` gives one.
        networks: An atlas, one network, or names to networks of the recording's units; an atlas brings its maps. None
            shows ``maps`` alone.
        maps: One map, or names to maps, to show beside those of an atlas; a map that has the name of a network counts
            as that network's own where the atlas brings none.
        units: Units whose course is kept in any case, as (layer, unit) pairs, flat indices or a network; None names no
            unit.
        promoted: What ``fbn.networks.promoted_tokens(network, model)`` returned, whose words are shown with each of its
            units; None shows no words.
        title: Heading of the page; None writes "Networks of" and the model's name.
        run: Number of the run that is shown, counted from 0, or several; None shows all runs, one behind the other.
        max_units: Largest number of single units whose course is kept: ``units`` first, then the strongest of every
            network and map.
        megabytes: Largest size of the page, in 10^6 bytes. To keep to it values are rounded, and weak values and the
            last rows are left out; the foot of the page says what was.

    Returns:
        The page, to be saved with ``.save(path)``; a notebook shows it where it is small.

    Raises:
        InputError: Neither networks nor maps are given, their units are not the recording's, ``units`` names more units
            than ``max_units``, ``run`` is empty, or ``max_units`` or ``megabytes`` is a size that no page can have.
        InputIndexError: A run or unit that the recording does not have.
        InputTypeError: The recording, the networks, the maps, the units or ``promoted`` are of another type than those
            above.
    """
    if not isinstance(recording, Recording):
        raise InputTypeError(
            f"view shows a recording: fbn.view(recording, networks); got {type(recording).__name__} as the recording"
        )
    if max_units < 0 or not 0 < megabytes < math.inf:
        raise InputError(f"max_units={max_units} must be at least 0 and megabytes={megabytes} a positive number")
    data = viewer_data(
        recording,
        networks,
        maps=maps,
        units=units,
        promoted=promoted,
        run=run,
        max_units=max_units,
        megabytes=megabytes,
    )
    return Viewer(f"Networks of {recording.space.model}" if title is None else title, data)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _text_of_file(name: str) -> str:
    return resources.files("tl_fbn.reporting.viewer").joinpath(name).read_text(encoding="utf-8")


def _package_version() -> str:
    try:
        return metadata.version("tl-fbn")
    except metadata.PackageNotFoundError:
        return "(unknown version)"
