"""The glass brain: every unit of a model in one picture, layers from bottom to top.

Wide layers are drawn as bins of neighbouring units that show their value of largest magnitude, so that a single strong
unit among thousands stays visible; a mean would hide it. Binning says nothing about space: neurons have no neighbours.

Cost: at most 1,500 cells a layer; a map of 32 x 11,008 units is drawn with 23,488 cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int32

from tl_fbn.reporting import paint
from tl_fbn.units import Network, UnitMap

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
else:
    Figure = Any  # run-time type checks must not need plotly

WIDEST, BINNED_COLUMNS = 1500, 768  # a bin should not be narrower than a pixel of a 1000-pixel picture


def unit_map(
    maps: UnitMap | Mapping[str, UnitMap],
    *,
    title: str | None = None,
    networks: Network | Mapping[str, Network] | None = None,
) -> Figure:
    """A glass brain: the value of every unit, layers from bottom to top, units from left to right.

    >>> unit_map({"sort": sort.z, "add": add.z}, networks=atlas)                # doctest: +SKIP

    Maps of one kind share one colour scale, symmetric about 0 and clipped at the 99.5th percentile of the magnitudes of
    all of them, so that they may be compared. Hovering shows the exact value. If any layer has more than 1,500 units,
    neighbouring units are drawn as one bin, which shows its value of largest magnitude.

    Args:
        maps: One map, or names to maps of one space.
        title: Heading; by default kind and space.
        networks: Members to mark with dots: one network for all maps, or one for each, under the same names.

    Raises:
        ValueError: Maps or networks of different spaces, or networks under other names than the maps.
    """
    panels = {"": maps} if isinstance(maps, UnitMap) else paint.named(maps, UnitMap, "unit_map")
    space = next(iter(panels.values())).space
    for other in panels.values():
        space.require_same(other.space, "draw in one picture")
    marked = _marked(networks, panels)
    kinds = list(dict.fromkeys(panel.kind for panel in panels.values()))
    limits = {kind: paint.colour_limit([m.values for m in panels.values() if m.kind == kind]) for kind in kinds}

    go, make_subplots = paint.plotly()
    n, widest = len(panels), max(space.widths)
    bin_width = 1 if widest <= WIDEST else -(-widest // BINNED_COLUMNS)
    panel, gap = int(np.clip(16 * space.n_layers, 96, 420)), 40
    height = n * panel + (n - 1) * gap
    titles = [paint.label(name, 80) for name in panels] if n > 1 else None
    spacing = gap / height if n > 1 else 0
    figure = make_subplots(rows=n, cols=1, shared_xaxes=True, vertical_spacing=spacing, subplot_titles=titles)
    for row, (name, values) in enumerate(panels.items(), start=1):
        image, units = _image(values, bin_width)
        kind, limit = paint.verbatim(values.kind), limits[values.kind]
        long = panel if len(kinds) > 1 else min(height, 160)
        bar = {"len": long / height, "y": 1 - (row - 1) * (panel + gap) / height, "yanchor": "top"}
        heat = go.Heatmap(
            z=image,
            customdata=units,
            x0=(bin_width - 1) / 2,
            dx=bin_width,
            zmin=-limit,
            zmax=limit,
            colorscale=paint.DIVERGING,
            hoverongaps=False,
            showscale=row == 1 or len(kinds) > 1,
            colorbar=paint.colour_bar(values.kind, **bar),
            hovertemplate=f"layer %{{y}}<br>unit %{{customdata}}<br>{kind} %{{z:.4g}}<extra></extra>",
        )
        figure.add_trace(heat, row=row, col=1)
        if name in marked:
            dots = _dots(go, marked[name], "the network" if isinstance(networks, Mapping) else marked[name].name)
            figure.add_trace(dots.update(showlegend=row == 1), row=row, col=1)
    words = "unit within the layer"
    if bin_width > 1:
        words += f", in bins of {bin_width} that show their largest |{kinds[0] if len(kinds) == 1 else 'value'}|"
    if len(set(space.widths)) > 1 or not all(np.isfinite(m.values).all() for m in panels.values()):
        words += " (grey: none)"
    figure.update_xaxes(range=[-0.5, widest - 0.5], showgrid=False)
    figure.update_xaxes(title_text=paint.verbatim(words), row=n, col=1)
    step = max(1, -(-space.n_layers * 22 // panel))  # a tick label needs 22 pixels
    figure.update_yaxes(title_text="layer", range=[-0.5, space.n_layers - 0.5], tick0=0, dtick=step, showgrid=False)
    heading = title or f"Every unit of {space.describe()}: {', '.join(kinds)}"
    return paint.finish(figure, heading, height, paper=paint.NOTHING)


def _image(values: UnitMap, bin_width: int) -> tuple[Float32[np.ndarray, "layer bin"], Int32[np.ndarray, "layer bin"]]:
    """A map as a picture, NaN where there is no unit, and the unit that each cell shows."""
    n_bins = -(-max(values.space.widths) // bin_width)
    padded = np.full((values.space.n_layers, n_bins * bin_width), np.nan, dtype=np.float32)
    for row, part in zip(padded, values.by_layer(), strict=True):
        row[: len(part)] = part
    bins = padded.reshape(values.space.n_layers, n_bins, bin_width)
    winner = np.where(np.isnan(bins), -np.inf, np.abs(bins)).argmax(axis=2)
    shown = np.take_along_axis(bins, winner[..., None], axis=2)[..., 0]
    return shown, (winner + bin_width * np.arange(n_bins)).astype(np.int32)


def _marked(networks: Network | Mapping[str, Network] | None, maps: Mapping[str, UnitMap]) -> dict[str, Network]:
    """The network to mark on each map."""
    if networks is None:
        return {}
    same = isinstance(networks, Network)
    marked = dict.fromkeys(maps, networks) if same else paint.named_networks(networks, "unit_map")
    if set(marked) != set(maps):
        raise ValueError(
            f"networks are named {', '.join(map(repr, marked))}, maps {', '.join(map(repr, maps))}; "
            "give one network for all maps, or one under the name of each"
        )
    for name, network in marked.items():
        maps[name].space.require_same(network.space, "mark")
    return marked


def _dots(go: Any, network: Network, name: str) -> Any:
    """A dot on every member."""
    members = network.to_dataframe()
    return go.Scatter(
        x=members["unit"].to_numpy(),
        y=members["layer"].to_numpy(),
        mode="markers",
        hoverinfo="skip",
        name=f"in {paint.verbatim(name)}",
        legendgroup="members",
        marker={"size": 5, "color": "#000", "line": {"color": "#fff", "width": 1}},
    )
