"""The glass brain: every unit of a model in one picture, layers from bottom to top.

If a layer has more than 1,500 units, units with neighbouring indices are drawn as one bin that shows its value of
largest magnitude, so that a single strong unit among thousands stays visible; a mean would hide it. A bin is no place:
neurons with neighbouring indices have nothing in common. For the same reason the units of every layer may be sorted by
value, which shows how values are distributed in each layer: how many units have large values, in which layers, and
whether on both sides of 0.

Cost: at most 1,500 cells a layer, with 4 bytes a cell (values are rounded to four digits) and 2 more where a cell has
to say which unit it shows; a map of 32 x 11,008 units is drawn with 23,488 cells, 0.2 MB of JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Integer

from tl_fbn.errors import InputError, one_of
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap, UnitSpace

UnitOrder = Literal["index", "sorted"]
WIDEST = 1500  # units of a layer that are drawn one by one
BINNED_COLUMNS = 768  # bins of a wider layer, at most: none is narrower than a pixel of a picture of 1,000 pixels
_AS_INFINITE = 1e38  # drawn in place of infinity, whose cell plotly would leave empty


@checked
def unit_map(
    maps: UnitMap | Mapping[str, UnitMap],
    *,
    title: str | None = None,
    networks: Network | Mapping[str, Network] | None = None,
    order: UnitOrder = "index",
) -> Figure:
    """A glass brain: the value of every unit, layers from bottom to top, units from left to right.

    >>> figure = fbn.plot.unit_map(contrast.z, networks=network)
    >>> figure.layout.title.text
    'Every unit of tl_fbn-demo mlp.neurons (3 x 384): z'
    >>> brain = fbn.plot.unit_map(contrast.z, order="sorted").data[0]
    >>> print(brain.z[:, 0].round(1))  # the largest z of layers 0, 1 and 2
    [8.6 7.2 5.5]

    Maps of one kind have one colour scale, symmetric about 0 and clipped at the 99.5th percentile of the magnitudes of
    all of them, so that they can be compared. Hovering shows the value. If any layer has more than 1,500 units,
    neighbouring units are drawn as one bin, which shows its value of largest magnitude.

    Args:
        maps: One map, or a mapping of names to maps of one unit space, drawn below each other.
        title: Heading of the picture; by default the kinds of the maps and their unit space.
        networks: Networks whose members get a dot: one network for all maps, or a mapping with one for the name of each
            map. None marks none.
        order: ``"index"`` draws the units of a layer in their order; ``"sorted"`` sorts those of every layer of every
            map by value, the largest on the left, so that a column is a rank and not a unit.

    Raises:
        InputTypeError: ``maps`` is neither a map nor a mapping of names to maps.
        InputError: Maps or networks are of different unit spaces, networks have other names than the maps, there is no
            map, or the order is unknown.
    """
    one_of(order, UnitOrder, "order")
    panels = {"": maps} if isinstance(maps, UnitMap) else theme.named(maps, UnitMap, "unit_map")
    space = next(iter(panels.values())).space
    for other in panels.values():
        space.require_same(other.space, "draw in one picture")
    marked = _network_of_each_map(networks, panels)
    kinds = list(dict.fromkeys(panel.kind for panel in panels.values()))
    limits = {kind: theme.colour_limit([m.values for m in panels.values() if m.kind == kind]) for kind in kinds}

    go, make_subplots = theme.plotly()
    n = len(panels)
    panel = height_of(space)  # this and the next two: pixels
    gap = 40
    height = n * panel + (n - 1) * gap
    titles = [theme.label(name, 80) for name in panels] if n > 1 else None
    spacing = gap / height if n > 1 else 0
    figure = make_subplots(rows=n, cols=1, shared_xaxes=True, vertical_spacing=spacing, subplot_titles=titles)
    for row, (name, values) in enumerate(panels.items(), start=1):
        limit = limits[values.kind]
        # a colour bar for each panel where kinds differ; else one at the top, which may reach over several panels
        long = panel if len(kinds) > 1 else min(height, 160)
        bar = {"len": long / height, "y": 1 - (row - 1) * (panel + gap) / height, "yanchor": "top"}
        style = {
            "zmin": -limit,
            "zmax": limit,
            "colorscale": theme.DIVERGING,
            "showscale": row == 1 or len(kinds) > 1,
            "colorbar": theme.colour_bar(values.kind, **bar),
        }
        figure.add_trace(heat(go, values, order, **style), row=row, col=1)
        if name in marked:
            network_name = "the network" if isinstance(networks, Mapping) else marked[name].name
            figure.add_trace(
                dots(go, marked[name], network_name, values, order).update(showlegend=row == 1), row=row, col=1
            )
        complete = not any(np.isnan(m.values).any() for m in panels.values())
        kind = kinds[0] if len(kinds) == 1 else "value"
        axes(figure, space, order, kind, complete=complete, words=row == n, row=row, col=1)
    heading = title or f"Every unit of {space.describe()}: {', '.join(kinds)}"
    theme.finish(figure, heading, height, paper=theme.NOTHING)
    return figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 14}})  # clear of the legend


def bin_width(space: UnitSpace) -> int:
    """Number of units that share a cell."""
    widest = max(space.widths)
    return 1 if widest <= WIDEST else -(-widest // BINNED_COLUMNS)


def height_of(space: UnitSpace) -> int:
    """Height of a glass brain in pixels: 16 a layer, but neither a strip nor more than a screen."""
    return int(np.clip(16 * space.n_layers, 96, 420))


def heat(go: Any, values: UnitMap, order: UnitOrder = "index", **style: Any) -> Any:
    """The cells of a glass brain; ``style`` gives range and colours, as arguments of plotly's ``Heatmap``."""
    width = bin_width(values.space)
    image, units = _binned_image(values, width, order)
    at_home = width == 1 and order == "index"  # then the axis says which unit a cell is
    return go.Heatmap(
        z=image,
        customdata=None if at_home else units,
        x0=(width - 1) / 2,  # middle of the first bin: the axis counts units, not bins
        dx=width,
        hoverongaps=False,
        hovertemplate=f"layer %{{y}}<br>unit %{{{'x' if at_home else 'customdata'}}}<br>"
        f"{theme.verbatim(values.kind)} %{{z:.4g}}<extra></extra>",
        **style,
    )


def axes(
    figure: Figure, space: UnitSpace, order: UnitOrder, kind: str, *, complete: bool, words: bool, **at: Any
) -> None:
    """Label a glass brain: layers up, units across.

    Args:
        figure: The picture; it is changed in place.
        space: Unit space of the map.
        order: Order of the units within a layer, which the title of the axis says.
        kind: Kind of the values, for the title of the axis.
        complete: Whether every unit has a value; otherwise the title explains grey.
        words: Whether the axis of units has its title; true for the lowest of several panels.
        **at: ``row`` and ``col`` of the panel.
    """
    said = "unit within the layer" if order == "index" else f"units of the layer by {kind}, largest first"
    if (width := bin_width(space)) > 1:
        said += f", in bins of {width} that show their largest |{kind}|"
    if len(set(space.widths)) > 1 or not complete:
        said += " (grey: none)"
    figure.update_xaxes(range=[-0.5, max(space.widths) - 0.5], showgrid=False, **at)
    if words:
        figure.update_xaxes(title_text=theme.verbatim(said), **at)
    step = max(1, -(-space.n_layers * 22 // height_of(space)))  # a tick label needs 22 pixels
    figure.update_yaxes(
        title_text="layer", range=[-0.5, space.n_layers - 0.5], tick0=0, dtick=step, showgrid=False, **at
    )


def dots(go: Any, network: Network, name: str, values: UnitMap, order: UnitOrder = "index") -> Any:
    """A dot on every member of a network; where units are sorted, at the unit's rank in its layer."""
    members = network.to_dataframe()
    x = members["unit"].to_numpy()
    if order == "sorted":
        # argsort of an order gives the rank of each unit in it
        rank = np.concatenate([np.argsort(_units_by_value(part)) for part in values.by_layer()])
        x = rank[network.members]
    return go.Scatter(
        x=x,
        y=members["layer"].to_numpy(),
        mode="markers",
        hoverinfo="skip",
        name=f"in {theme.verbatim(name)}",
        legendgroup="members",
        marker={"size": 5, "color": "#000", "line": {"color": "#fff", "width": 1}},
    )


def _units_by_value(part: np.ndarray) -> Integer[np.ndarray, " unit"]:
    """Units of a layer, the largest value first, ties by index, NaN last."""
    return np.argsort(-part, kind="stable")


def _binned_image(
    values: UnitMap, width: int, order: UnitOrder
) -> tuple[Float32[np.ndarray, "layer bin"], Integer[np.ndarray, "layer bin"]]:
    """A map as a picture, NaN where there is no unit, and the unit that each cell shows."""
    widest = max(values.space.widths)
    n_bins = -(-widest // width)
    # layers of different width as one array, NaN beyond the end of each
    padded = np.full((values.space.n_layers, n_bins * width), np.nan, dtype=np.float32)
    small = np.uint16 if widest <= 2**16 else np.int32  # 2 bytes a cell where they can hold every index
    places = np.tile(np.arange(n_bins * width), (values.space.n_layers, 1)).astype(small)
    for row, place, part in zip(padded, places, values.by_layer(), strict=True):
        chosen = _units_by_value(part) if order == "sorted" else slice(None)
        row[: len(part)] = np.clip(part[chosen], -_AS_INFINITE, _AS_INFINITE)
        place[: len(part)] = place[: len(part)][chosen]
    shape = values.space.n_layers, n_bins, width
    bins = padded.reshape(shape)
    # (layer, bin, 1) place of the largest magnitude in its bin; NaN loses against any number
    winner = np.where(np.isnan(bins), -np.inf, np.abs(bins)).argmax(axis=2)[..., None]
    shown, units = (np.take_along_axis(cells, winner, axis=2)[..., 0] for cells in (bins, places.reshape(shape)))
    return significant(shown), units


def significant(values: Float32[np.ndarray, "*any"], digits: int = 4) -> Float32[np.ndarray, "*any"]:
    """Values rounded to some significant digits: what hovering shows, in fewer characters of JSON."""
    sizes = np.abs(values.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        # value of the last digit that is kept: 10^(floor(log10 |value|) - digits + 1)
        step = 10.0 ** (np.floor(np.log10(np.where(sizes > 0, sizes, 1.0))) - digits + 1)
        return np.where(np.isfinite(values), np.round(values / step) * step, values).astype(np.float32)


def _network_of_each_map(
    networks: Network | Mapping[str, Network] | None, maps: Mapping[str, UnitMap]
) -> dict[str, Network]:
    """The network to mark on each map."""
    if networks is None:
        return {}
    same = isinstance(networks, Network)
    marked = dict.fromkeys(maps, networks) if same else theme.named_networks(networks, "unit_map")
    if set(marked) != set(maps):
        raise InputError(
            f"networks are named {', '.join(map(repr, marked))}, maps {', '.join(map(repr, maps))}; "
            "give one network for all maps, or one under the name of each"
        )
    for name, network in marked.items():
        maps[name].space.require_same(network.space, "mark")
    return marked
