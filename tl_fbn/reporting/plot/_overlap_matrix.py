"""How much networks overlap, beside what chance gives.

The overlap of networks A and B is their Dice coefficient, ``2 |A & B| / (|A| + |B|)``: 0 if they share no unit, 1 if
they are equal.

Chance: two random sets with ``a_l`` and ``b_l`` units in layer ``l`` of width ``w_l`` are expected to share
``E|A & B| = sum_l a_l b_l / w_l`` units, so their expected Dice is ``2 E|A & B| / (|A| + |B|)``. The range of these
expectations stands in the heading, and each in the hover text of its pair. An expectation is no test: with a seed the
null is drawn as :func:`tl_fbn.overlap` draws it, and each pair gets its exact p.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.networks.overlap import overlap
from tl_fbn.errors import InputError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Network


@checked
def overlap_matrix(
    networks: Mapping[str, Network], *, seed: int | None = None, n_null: int = 1000, title: str | None = None
) -> Figure:
    """Dice overlap of every two networks, 0 (disjoint) to 1 (equal), with what chance gives.

    Without a seed the heading gives the range of the overlaps expected by chance; hovering gives that of each pair.
    With a seed the null is drawn too: the matrix on the right shows the overlap that 95 % of layer-matched random pairs
    stay below, and a star marks a pair that shares more units than chance gives with p < .05 (exact, not corrected for
    the number of pairs). The number of units stands behind each name.

    >>> figure = fbn.plot.overlap_matrix(atlas, seed=0)
    >>> figure.layout.title.text  # plotly reads HTML, so "<" is escaped
    '1 of 28 pairs overlap more than chance (p &lt; .05, where chance alone gives at most 1.4)'

    Args:
        networks: An atlas, or a mapping of names to two or more networks of one unit space.
        seed: Seed of the random networks of the null; the same seed gives the same null, None draws none.
        n_null: Number of random pairs drawn for each pair of networks, at least 19; used with a seed alone.
        title: Heading of the picture; by default the number of stars, or the overlaps expected by chance.

    Raises:
        InputError: Fewer than two networks, networks of different unit spaces, or too few random pairs.
    """
    sets = theme.named_networks(networks, "overlap_matrix")
    pairs = dice_table(sets, seed=seed, n_null=n_null)
    place = {name: i for i, name in enumerate(sets)}
    dice = np.full((len(sets), len(sets)), np.nan)  # the diagonal stays empty: a network equals itself
    chance = dice.copy()
    stars = np.zeros(dice.shape, dtype=int)
    hover = np.full(dice.shape, "", dtype=object)
    for line in theme.records(pairs):
        i = place[line["a"]]
        j = place[line["b"]]
        at = ([i, j], [j, i])  # the cell of the pair in both triangles
        dice[at] = line["dice"]
        words = (
            f"{theme.verbatim(line['a'])} and {theme.verbatim(line['b'])}<br>{line['shared']:,} units in both<br>"
            f"dice {line['dice']:.3f}, by chance {line['chance']:.3f}"
        )
        if seed is not None:
            chance[at] = line["chance_95"]
            stars[at] = int(line["p"] < 0.05)
            words += f"; 95 % of chance below {line['chance_95']:.3f}<br>p {line['p']:.3g}, uncorrected"
        hover[at] = words
    go, make_subplots = theme.plotly()
    short = [theme.label(name, 14) for name in sets]
    sizes = [f"{theme.label(name)} ({len(network):,})" for name, network in sets.items()]
    low = f"{pairs['chance'].min():.3f}"
    high = f"{pairs['chance'].max():.3f}"
    heading = title or f"Dice overlap; layer-matched random sets give {low if low == high else f'{low} to {high}'}"
    width = 240 + 38 * len(sets)
    if seed is None:
        figure = go.Figure(_dice_heatmap(dice, hover, None))
        theme.matrix_axes(figure, short, sizes)
    else:
        titles = ["dice (* p < .05, uncorrected)", "95 % of random pairs stay below"]
        figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.03, subplot_titles=titles)
        figure.add_trace(_dice_heatmap(dice, hover, stars), row=1, col=1)
        figure.add_trace(_dice_heatmap(chance, hover, None).update(showscale=False), row=1, col=2)
        theme.matrix_axes(figure, short, sizes, row=1, col=1)
        theme.matrix_axes(figure, short, [""] * len(sets), row=1, col=2)
        figure.update_yaxes(showticklabels=False, row=1, col=2)
        width += 38 * len(sets)
        if title is None:
            heading = (
                f"{np.count_nonzero(pairs['p'] < 0.05):,} of {len(pairs):,} pairs overlap more than chance "
                f"(p < .05, where chance alone gives at most {0.05 * len(pairs):.3g})"
            )
    return theme.finish(figure, heading, 34 * len(sets) + 10, min_width=width, paper=theme.NOTHING)


def _dice_heatmap(dice: Float[np.ndarray, "network network"], hover: np.ndarray, stars: np.ndarray | None) -> Any:
    """The cells of a matrix of Dice, from 0 to 1."""
    return theme.matrix(
        dice,
        0,
        1,
        text=theme.cells(dice, 2, stars),
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        colorbar=theme.colour_bar("dice"),
    )


def dice_table(networks: Mapping[str, Network], *, seed: int | None = None, n_null: int = 1000) -> pd.DataFrame:
    """The numbers behind :func:`overlap_matrix`, one line for each pair of networks.

    Args:
        networks: An atlas, or a mapping of names to two or more networks of one unit space.
        seed: Seed of the random networks of the null; the same seed gives the same null, None draws none.
        n_null: Number of random pairs drawn for each pair of networks, at least 19; used with a seed alone.

    Returns:
        Columns a, b (names of the networks), shared (units in both), dice, chance (the Dice expected by chance); with a
        seed also chance_95 (95th percentile of the drawn null) and p (exact, uncorrected).

    Raises:
        InputError: Fewer than two networks, networks of different unit spaces, or too few random pairs.
    """
    sets = theme.named_networks(networks, "overlap_matrix")
    if len(sets) < 2:
        raise InputError(f"overlap needs two networks or more; got {', '.join(map(repr, sets))} alone")
    if seed is not None and n_null < 19:
        raise InputError(f"n_null={n_null} has no 95th percentile; give at least 19, better 1,000")
    for left, right in combinations(sets.values(), 2):
        left.space.require_same(right.space, "compare")
    shared, dice, chance = dice_of_all(sets)
    lines = []
    for number, ((i, a), (j, b)) in enumerate(combinations(enumerate(sets), 2)):
        line = {
            "a": a,
            "b": b,
            "shared": int(shared[i, j]),
            "dice": float(dice[i, j]),
            "chance": float(chance[i, j]),
        }
        if seed is not None:
            # a seed for each pair: their nulls are independent of each other
            drawn = overlap(sets[a], sets[b], seed=seed + number, n_null=n_null)
            line |= {"chance_95": float(np.quantile(drawn.null, 0.95)), "p": drawn.p}
        lines.append(line)
    return pd.DataFrame(lines)


def dice_of_all(sets: Mapping[str, Network]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shared units, Dice and the Dice expected by chance of every two networks of one unit space.

    Args:
        sets: Names to networks of one unit space.

    Returns:
        Three (network, network) arrays: number of shared units, Dice, and the Dice expected of random sets with as many
        units in every layer. Both Dice are NaN where both networks are empty.
    """
    n = len(sets)
    shared = np.zeros((n, n))
    expected = np.zeros((n, n))
    sizes = np.array([len(network) for network in sets.values()], dtype=np.float64)
    # layer by layer: memory for one layer of all networks, and chance is that of each layer
    for parts in zip(*(network.by_layer() for network in sets.values()), strict=True):
        inside = np.array(parts, dtype=np.float32)  # (network, unit of the layer): 1 for members
        counts = inside.sum(1, dtype=np.float64)  # a_l of every network
        shared += inside @ inside.T
        expected += np.outer(counts, counts) / max(inside.shape[1], 1)  # a_l b_l / w_l
    together = sizes[:, None] + sizes  # |A| + |B|
    together[together == 0] = np.nan
    return shared, 2 * shared / together, 2 * expected / together
