"""How a network, or a map, is spread over the layers of a model.

For a network: the share of each layer's units that belong to it. For a map: how large its values are in each layer, as
quantiles of their magnitudes, since the mean of a map that is nearly zero nearly everywhere says little. The median
says how strong an ordinary unit of the layer is, the 99th percentile and the maximum how strong its strongest units
are: a layer can lead in one and not in the other. A wider layer has a larger maximum by chance alone; the other
quantiles do not depend on width. Values are in the unit of the map. Nothing is tested here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap

QUANTILES = {"median": 0.5, "95 %": 0.95, "99 %": 0.99, "largest": 1.0}
_DASHES = ("solid", "dash", "dot", "dashdot")
_MOST_MAPS = 16  # a panel each


@checked
def layer_profile(
    networks: Network | UnitMap | Mapping[str, Any],
    *,
    share: bool = True,
    title: str | None = None,
) -> Figure:
    """How much of each layer belongs to a network, or how large the values of a map are in each layer.

    Up to eight networks are drawn as bars, more as a matrix. With a single network a dotted line shows the share it
    would have of every layer if it were spread evenly. For maps, lines follow the median, the 95th and 99th percentile
    and the maximum of \\|value\\| over layers, in a panel for each map; maps of one kind have the same vertical axis.
    :func:`profile_table` gives the numbers.

    >>> figure = fbn.plot.layer_profile(network)
    >>> figure.data[0].y.round(2)  # % of the units of layers 0, 1 and 2
    array([4.69, 1.3 , 0.  ])
    >>> figure.layout.annotations[0].text  # the dotted line
    'if even:<br>2 %'
    >>> figure = fbn.plot.layer_profile(contrast.z)
    >>> quantiles = {line.name: line.y.round(1).tolist() for line in figure.data}  # of |z| in each layer
    >>> quantiles["median"], quantiles["largest"]
    ([3.1, 3.2, 1.6], [10.1, 8.4, 6.9])

    Args:
        networks: A network, an atlas or a mapping of names to networks; or a map or a mapping of names to maps.
        share: For networks: True draws the share of each layer's units in %, False the number of units.
        title: Heading of the picture; by default what is shown, and of which network or kind of map.

    Raises:
        InputTypeError: ``networks`` is none of these.
        InputError: The mapping is empty, or has more than 16 maps.
    """
    if isinstance(networks, UnitMap):
        return _map_profile({"": networks}, title)
    if isinstance(networks, Mapping) and any(isinstance(value, UnitMap) for value in networks.values()):
        return _map_profile(theme.named(networks, UnitMap, "layer_profile"), title)
    sets = theme.named_networks(networks, "layer_profile")
    # networks may live in models of different depth: layers that a model does not have stay NaN
    n_layers = max(network.space.n_layers for network in sets.values())
    counts, widths = (np.full((len(sets), n_layers), np.nan) for _ in range(2))
    for row, network in enumerate(sets.values()):
        counts[row, : network.space.n_layers] = network.per_layer()
        widths[row, : network.space.n_layers] = network.space.widths
    shares = 100 * counts / np.where(widths > 0, widths, np.nan)  # a layer without units has no share
    shown = shares if share else counts
    what = "% of layer" if share else "units"
    hover = [
        [f"layer {layer}: {n:.0f} of {width:.0f} units" for layer, (n, width) in enumerate(zip(*pair, strict=True))]
        for pair in zip(counts, widths, strict=True)
    ]
    if len(sets) > len(theme.OKABE_ITO):  # more than there are colours
        return _profile_matrix(list(sets), shown, what, hover, title)
    go, _ = theme.plotly()
    figure = go.Figure()
    for row, name in enumerate(sets):
        bar = go.Bar(
            x=np.arange(n_layers),
            y=shown[row],
            name=theme.verbatim(name),
            marker={"color": theme.OKABE_ITO[row]},
            customdata=hover[row],
            hovertemplate="%{customdata}, %{y:.4g} %" if share else "%{customdata}",
        )
        figure.add_trace(bar)
    first = next(iter(sets))
    single = len(sets) == 1
    bargap = 0.25 if n_layers * len(sets) > 8 else 0.6
    figure.update_xaxes(title_text="layer", dtick=-(-n_layers // 16), showgrid=False)
    figure.update_yaxes(title_text=what, rangemode="tozero")
    figure.update_layout(barmode="group", bargap=bargap, showlegend=not single)
    whose = f"network {first}" if single else f"{len(sets)} networks"
    theme.finish(figure, title or f"Units of {whose} in each layer", 232 + 8 * len(sets))
    if share and single:
        even = 100 * sets[first].share  # its share of all units, in %
        figure.add_hline(y=even, line={"dash": "dot", "color": "#444", "width": 1.5})
        where = {"x": 1, "xref": "x domain", "xanchor": "left", "y": even, "showarrow": False, "align": "left"}
        figure.add_annotation(text=f"if even:<br>{even:.3g} %", font={"color": "#444"}, xshift=4, **where)
        figure.update_layout(margin_r=76)
    return figure


def profile_table(networks: Network | UnitMap | Mapping[str, Any]) -> pd.DataFrame:
    """The numbers behind :func:`layer_profile`.

    Args:
        networks: A network, an atlas or a mapping of names to networks; or a map or a mapping of names to maps.

    Returns:
        For networks, one line for each network and layer: network, layer, members (units of the layer in the network),
        units (of the layer), share (members over units). For maps, one line for each map and layer: map, kind, layer,
        units (with a finite value), and the quantiles of \\|value\\|: median, 95 %, 99 %, largest.
    """
    several = isinstance(networks, Mapping)
    if isinstance(networks, UnitMap) or (several and any(isinstance(one, UnitMap) for one in networks.values())):
        maps = {"": networks} if isinstance(networks, UnitMap) else theme.named(networks, UnitMap, "profile_table")
        lines = [
            {"map": name, "kind": one.kind, "layer": layer, "units": int(np.isfinite(part).sum()), **_quantiles(part)}
            for name, one in maps.items()
            for layer, part in enumerate(one.by_layer())
        ]
        return pd.DataFrame(lines)
    lines = [
        {"network": name, "layer": layer, "members": int(n), "units": width, "share": n / width if width else np.nan}
        for name, one in theme.named_networks(networks, "profile_table").items()
        for layer, (n, width) in enumerate(zip(one.per_layer(), one.space.widths, strict=True))
    ]
    return pd.DataFrame(lines)


def _quantiles(part: np.ndarray) -> dict[str, float]:
    """Quantiles of the finite magnitudes of a layer; NaN where there are none."""
    sizes = np.abs(part[np.isfinite(part)])
    found = np.quantile(sizes, list(QUANTILES.values())) if sizes.size else [np.nan] * len(QUANTILES)
    return dict(zip(QUANTILES, map(float, found), strict=True))


def _map_profile(maps: Mapping[str, UnitMap], title: str | None) -> Figure:
    """Quantiles of the magnitudes over layers, a panel a map."""
    if len(maps) > _MOST_MAPS:
        raise InputError(f"layer_profile draws up to {_MOST_MAPS} maps, a panel each; got {len(maps)}. Give fewer")
    go, make_subplots = theme.plotly()
    n = len(maps)
    panel = 200 if len(maps) == 1 else 130
    gap = 36
    height = n * panel + (n - 1) * gap
    figure = make_subplots(
        rows=n,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=gap / height if n > 1 else 0,
        subplot_titles=[theme.label(name, 80) for name in maps] if n > 1 else None,
    )
    table = profile_table(maps)
    # upper end of the axis of each kind of map; 1 where all values are 0 or missing
    tops = {
        kind: 1.06 * float(np.nanmax(table.loc[table["kind"] == kind, "largest"].to_numpy(), initial=0.0)) or 1.0
        for kind in dict.fromkeys(table["kind"])
    }
    for row, (name, one) in enumerate(maps.items(), start=1):
        lines = [line for line in theme.records(table) if line["map"] == name]
        kind = theme.verbatim(one.kind)
        for (quantile, dash), colour in zip(zip(QUANTILES, _DASHES, strict=True), theme.OKABE_ITO, strict=False):
            line = go.Scatter(
                x=[line["layer"] for line in lines],
                y=np.array([line[quantile] for line in lines]),
                name=quantile,
                legendgroup=quantile,
                showlegend=row == 1,
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"size": 6},
                hovertemplate=f"layer %{{x}}<br>{quantile} of |{kind}|: %{{y:.4g}}<extra></extra>",
            )
            figure.add_trace(line, row=row, col=1)
        figure.update_yaxes(title_text=f"|{kind}|", range=[0, tops[one.kind]], row=row, col=1)
    n_layers = max(one.space.n_layers for one in maps.values())
    figure.update_xaxes(range=[-0.5, n_layers - 0.5], dtick=-(-n_layers // 16), showgrid=False)
    figure.update_xaxes(title_text="layer", row=n, col=1)
    kinds = " and ".join(dict.fromkeys(one.kind for one in maps.values()))
    theme.finish(figure, title or f"How large {kinds} is in each layer: quantiles of magnitudes", height)
    return figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 14}})  # clear of the legend


def _profile_matrix(
    names: Sequence[str],
    shown: Float[np.ndarray, "network layer"],
    what: str,
    hover: Sequence[Sequence[str]],
    title: str | None,
) -> Figure:
    """The profile of more networks than there are colours that can be told apart."""
    go, _ = theme.plotly()
    heat = theme.matrix(
        shown,
        0,
        theme.colour_limit([shown], percentile=100.0),
        customdata=[
            [f"{theme.verbatim(name)}<br>{cell}" for cell in line] for name, line in zip(names, hover, strict=True)
        ],
        hovertemplate="%{customdata}<br>%{z:.4g}<extra></extra>",
        colorbar=theme.colour_bar(what),
    )
    figure = go.Figure(heat)
    layers = [str(layer) for layer in range(shown.shape[1])]
    theme.matrix_axes(figure, layers, [theme.label(name) for name in names])
    figure.update_xaxes(title_text="layer")
    return theme.finish(
        figure, title or f"Units of {len(names)} networks in each layer", 20 * len(names), paper=theme.NOTHING
    )
