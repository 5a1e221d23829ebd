"""Are two models relatives? Their networks' likeness over the same texts, beside that over mismatched ones.

Left, the absolute rank correlation of the course of every network of one model with every network of the other; both are put in the order of the best one-to-one
pairing, whose pairs are framed, so that relatives show a dark diagonal. Right, the score (mean of those pairs) over the scores of mismatched texts.

That null says whether both models follow the text at all, which any two readers of a language do. Whether they are relatives is decided against unrelated models, with
:func:`tl_fbn.networks.calibrate_fingerprint`; its threshold can be drawn, as ``threshold=``.

The table behind it is ``fingerprint.to_dataframe()``, one line a pair; the null's draws are ``fingerprint.null``.
"""

from __future__ import annotations

import numpy as np

from tl_fbn.analysis.networks.fingerprint import Fingerprint
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure


def fingerprint(found: Fingerprint, *, threshold: float | None = None) -> Figure:
    """Likeness of every two networks of two models, and the score beside its null.

    >>> fingerprint(fbn.networks.fingerprint(recording_of_a, recording_of_b, seed=0))    # doctest: +SKIP

    Args:
        found: Two models compared.
        threshold: Score that related models reach, as :func:`tl_fbn.networks.calibrate_fingerprint` finds it.

    Raises:
        InputTypeError: Something else than a fingerprint.
    """
    wanted = "a Fingerprint of two recordings"
    panels.require(found, ("names", "correlation", "null", "score", "p", "to_dataframe"), "fingerprint", wanted)
    go, make_subplots = theme.plotly()
    rows, columns = _ordered(found)
    z = np.asarray(found.correlation)[np.ix_(rows, columns)]
    first, second = ([names[i] for i in order] for names, order in zip(found.names, (rows, columns), strict=True))
    titles = ["|rank correlation| of networks", "score, and scores of mismatched texts"]
    figure = make_subplots(rows=1, cols=2, column_widths=[0.58, 0.42], horizontal_spacing=0.14, subplot_titles=titles)
    crowded = len(second) > panels.CROWDED
    heat = theme.matrix(
        z,
        0,
        1,
        text=None if crowded else theme.cells(z, 2),
        customdata=[[f"{theme.verbatim(a)} and {theme.verbatim(b)}" for b in second] for a in first],
        hovertemplate="%{customdata}<br>|rank correlation| %{z:.3f}<extra></extra>",
        colorbar=theme.colour_bar("|r|", x=0.505, len=1),
    )
    figure.add_trace(heat, row=1, col=1)
    pairs = min(len(first), len(second))
    for i in range(pairs):
        frame = {"line": {"color": "#222", "width": 1.5}, "row": 1, "col": 1}
        figure.add_shape(type="rect", x0=i - 0.5, x1=i + 0.5, y0=i - 0.5, y1=i + 0.5, **frame)
    across, down = ([theme.label(name, 14) for name in names] for names in (second, first))
    theme.matrix_axes(figure, across, down, row=1, col=1)
    figure.update_xaxes(title_text="networks of the second model", row=1, col=1)
    figure.update_yaxes(title_text="of the first", row=1, col=1)
    null = np.asarray(found.null)
    counts, edges = np.histogram(null, bins=np.linspace(0, 1, 61))
    draws = go.Bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=counts,
        width=float(edges[1]),
        marker={"color": panels.thinned(panels.CHANCE, 0.6)},
        name=f"{len(null)} scores of mismatched texts",
        hovertemplate="about %{x:.3f}: %{y} draws<extra></extra>",
    )
    figure.add_trace(draws, row=1, col=2)
    lines = [("score of the matched texts", found.score, theme.OKABE_ITO[0], "solid")]
    if threshold is not None:
        lines.append(("threshold of relatives", threshold, theme.OKABE_ITO[3], "dash"))
    top = max(1.0, float(counts.max()))
    for name, x, colour, dash in lines:
        mark = go.Scatter(
            x=[x, x],
            y=[0, top],
            mode="lines",
            line={"color": colour, "width": 3, "dash": dash},
            name=name,
            hovertemplate=f"{name}: {x:.3f}<extra></extra>",
        )
        figure.add_trace(mark, row=1, col=2)
    figure.update_xaxes(title_text="mean |rank correlation| of the best pairing", range=[0, 1.02], row=1, col=2)
    figure.update_yaxes(title_text="draws", rangemode="tozero", row=1, col=2)
    heading = (
        f"Score {found.score:.3f} over {found.n_texts} texts, mismatched texts {np.mean(null):.3f} "
        f"({panels.p_words(found.p)}: both follow the text)"
    )
    cell = 22 if crowded else 34
    return panels.finish(figure, heading, max(220, cell * len(first)), min_width=max(720, 420 + 40 * len(second)))


def _ordered(found: Fingerprint) -> tuple[list[int], list[int]]:
    """Networks of both models in the order of their best pairing, best first, then those without a partner."""
    table = found.to_dataframe()
    orders = []
    for side, column in enumerate(("a", "b")):
        names = list(found.names[side])
        paired = [names.index(name) for name in table[column]]
        orders.append(paired + [i for i in range(len(names)) if i not in paired])
    return orders[0], orders[1]
