"""Pictures of networks: where their units lie, and how much they overlap.

Chance. Two random sets with ``a_l`` and ``b_l`` units in layer ``l`` of width ``w_l`` are expected to share
``E|A & B| = sum_l a_l b_l / w_l`` units, so their expected Dice is ``2 E|A & B| / (|A| + |B|)``. That expectation stands
in the title and the hover text of every overlap. It is no test: ``tl_fbn.overlap`` draws the null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.reporting import paint
from tl_fbn.units import Network

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
else:
    Figure = Any  # run-time type checks must not need plotly


def layer_profile(networks: Network | Mapping[str, Network], *, share: bool = True) -> Figure:
    """How many units of each layer belong to a network, as bars; as a matrix above eight networks.

    For a single network a dotted line shows the share it would take of every layer if it were spread evenly.

    >>> layer_profile(contrast.threshold(fdr=0.05))                             # doctest: +SKIP

    Args:
        networks: A network, an atlas, or names to networks.
        share: Bars are the share of the layer's units, in %; otherwise the number of units.
    """
    sets = paint.named_networks(networks, "layer_profile")
    n_layers = max(network.space.n_layers for network in sets.values())
    counts, widths = (np.full((len(sets), n_layers), np.nan) for _ in range(2))
    for row, network in enumerate(sets.values()):
        counts[row, : network.space.n_layers] = network.per_layer()
        widths[row, : network.space.n_layers] = network.space.widths
    shares = 100 * counts / np.where(widths > 0, widths, np.nan)  # a layer without units has no share
    shown, what = (shares, "% of layer") if share else (counts, "units")
    hover = [
        [f"layer {layer}: {n:.0f} of {width:.0f} units" for layer, (n, width) in enumerate(zip(*pair, strict=True))]
        for pair in zip(counts, widths, strict=True)
    ]
    if len(sets) > len(paint.OKABE_ITO):
        return _profile_matrix(list(sets), shown, what, hover)
    go, _ = paint.plotly()
    figure = go.Figure()
    for row, name in enumerate(sets):
        bar = go.Bar(
            x=np.arange(n_layers),
            y=shown[row],
            name=paint.verbatim(name),
            marker={"color": paint.OKABE_ITO[row]},
            customdata=hover[row],
            hovertemplate="%{customdata}, %{y:.4g} %" if share else "%{customdata}",
        )
        figure.add_trace(bar)
    first, single = next(iter(sets)), len(sets) == 1
    bargap = 0.25 if n_layers * len(sets) > 8 else 0.6
    figure.update_xaxes(title_text="layer", dtick=-(-n_layers // 16), showgrid=False)
    figure.update_yaxes(title_text=what, rangemode="tozero")
    figure.update_layout(barmode="group", bargap=bargap, showlegend=not single)
    whose = f"network {first}" if single else f"{len(sets)} networks"
    paint.finish(figure, f"Units of {whose} in each layer", 232 + 8 * len(sets))
    if share and single:
        even = 100 * sets[first].share
        figure.add_hline(y=even, line={"dash": "dot", "color": "#444", "width": 1.5})
        where = {"x": 1, "xref": "x domain", "xanchor": "left", "y": even, "showarrow": False, "align": "left"}
        figure.add_annotation(text=f"if even:<br>{even:.3g} %", font={"color": "#444"}, xshift=4, **where)
        figure.update_layout(margin_r=76)
    return figure


def overlap_matrix(networks: Mapping[str, Network]) -> Figure:
    """Dice overlap of every two networks, 0 (disjoint) to 1 (equal), with what chance gives.

    The title gives the range of the chance levels, hovering that of each pair. Whether an overlap exceeds chance is a
    question for ``tl_fbn.overlap``, which draws the null. Sizes stand behind the names.

    >>> overlap_matrix(atlas)                                                   # doctest: +SKIP

    Args:
        networks: An atlas, or names to two or more networks of one space.
    """
    sets = paint.named_networks(networks, "overlap_matrix")
    pairs = dice_table(sets)
    place = {name: i for i, name in enumerate(sets)}
    dice = np.full((len(sets), len(sets)), np.nan)  # the diagonal stays empty: a network equals itself
    hover = np.full(dice.shape, "", dtype=object)
    for line in paint.records(pairs):
        i, j = place[line["a"]], place[line["b"]]
        dice[i, j] = dice[j, i] = line["dice"]
        hover[i, j] = hover[j, i] = (
            f"{paint.verbatim(line['a'])} and {paint.verbatim(line['b'])}<br>{line['shared']:,} units in both<br>"
            f"dice {line['dice']:.3f}, by chance {line['chance']:.3f}"
        )
    go, _ = paint.plotly()
    heat = go.Heatmap(
        z=dice,
        zmin=0,
        zmax=1,
        colorscale=paint.SEQUENTIAL,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        text=paint.cells(dice, 2),
        texttemplate="%{text}",
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        colorbar=paint.colour_bar("dice"),
    )
    figure = go.Figure(heat)
    sizes = [f"{paint.label(name)} ({len(network):,})" for name, network in sets.items()]
    paint.matrix_axes(figure, [paint.label(name, 14) for name in sets], sizes)
    low, high = f"{pairs['chance'].min():.3f}", f"{pairs['chance'].max():.3f}"
    heading = f"Dice overlap; layer-matched random sets give {low if low == high else f'{low} to {high}'}"
    width = 240 + 38 * len(sets)
    return paint.finish(figure, heading, 34 * len(sets) + 10, min_width=width, paper=paint.NOTHING)


def dice_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """The numbers behind :func:`overlap_matrix`: a, b, shared (units in both), dice, chance (its expectation).

    Raises:
        ValueError: Fewer than two networks, or networks of different spaces.
    """
    sets = paint.named_networks(networks, "overlap_matrix")
    if len(sets) < 2:
        raise ValueError(f"overlap needs two networks or more; got {', '.join(map(repr, sets))} alone")
    lines = []
    for (a, left), (b, right) in combinations(sets.items(), 2):
        left.space.require_same(right.space, "compare")
        shared, size = int((left.members & right.members).sum()), len(left) + len(right)
        expected = (left.per_layer() * right.per_layer() / np.maximum(left.space.widths, 1)).sum()
        dice, chance = (2 * shared / size, 2 * expected / size) if size else (np.nan, np.nan)
        lines.append((a, b, shared, float(dice), float(chance)))
    return pd.DataFrame(lines, columns=["a", "b", "shared", "dice", "chance"])


def _profile_matrix(
    names: Sequence[str], shown: Float[np.ndarray, "network layer"], what: str, hover: Sequence[Sequence[str]]
) -> Figure:
    """The profile of more networks than there are colours that can be told apart."""
    go, _ = paint.plotly()
    heat = go.Heatmap(
        z=shown,
        zmin=0,
        zmax=paint.colour_limit([shown], percentile=100.0),
        colorscale=paint.SEQUENTIAL,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        customdata=[
            [f"{paint.verbatim(name)}<br>{cell}" for cell in line] for name, line in zip(names, hover, strict=True)
        ],
        hovertemplate="%{customdata}<br>%{z:.4g}<extra></extra>",
        colorbar=paint.colour_bar(what),
    )
    figure = go.Figure(heat)
    layers = [str(layer) for layer in range(shown.shape[1])]
    paint.matrix_axes(figure, layers, [paint.label(name) for name in names])
    figure.update_xaxes(title_text="layer")
    return paint.finish(figure, f"Units of {len(names)} networks in each layer", 20 * len(names), paper=paint.NOTHING)
