"""Are two models relatives? How much their networks resemble each other over the same texts, and over mismatched ones.

Left is the absolute rank correlation over time of every network of one model with every network of the other. Both
models' networks are in the order of the best one-to-one pairing, whose pairs are framed, so that relatives show a dark
diagonal. Right is the score (the mean correlation of these pairs) over the histogram of the scores that mismatched
texts give.

This null says whether both models follow the text at all, as any two models of one language may: the heading says so
where p < .05. Whether they are relatives has to be decided against unrelated models, with
:func:`tl_fbn.networks.calibrate_fingerprint`; its threshold can be drawn, as ``threshold=``.

The table behind it is ``fingerprint.to_dataframe()``, one line for each pair; the scores of the null are
``fingerprint.null``.
"""

from __future__ import annotations

import numpy as np

from tl_fbn.analysis.networks.fingerprint import Fingerprint
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked


@checked
def fingerprint(found: Fingerprint, *, threshold: float | None = None) -> Figure:
    """Likeness of every two networks of two models, and the score beside its null.

    >>> pruned = fbn.prune(model, remove=network, progress=False)  # a relative of the model
    >>> texts = fbn.block_design(tasks, n_runs=1, n_cycles=2, seed=0)
    >>> first = fbn.Scanner(model).scan(texts, "recordings/whole", progress=False)
    >>> second = fbn.Scanner(pruned).scan(texts, "recordings/pruned", progress=False)
    >>> found = fbn.networks.fingerprint(first, second, n_components=4, n_restarts=2, n_null=39, seed=0)
    >>> figure = fbn.plot.fingerprint(found, threshold=0.8)
    >>> figure.layout.title.text  # doctest: +ELLIPSIS
    'Score 0.9... over 29 texts, mismatched texts 0.5... (p = 0.025: both follow the text)'

    Args:
        found: What :func:`tl_fbn.networks.fingerprint` found when it compared two models.
        threshold: Score from 0 to 1 that related models reach, as :func:`tl_fbn.networks.calibrate_fingerprint` finds
            it; it is drawn as a dashed line. None draws none.

    Raises:
        InputTypeError: ``found`` is no fingerprint.
    """
    wanted = "a Fingerprint of two recordings"
    panels.require(found, ("names", "correlation", "null", "score", "p", "to_dataframe"), "fingerprint", wanted)
    go, make_subplots = theme.plotly()
    rows, columns = _pairing_orders(found)
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
    pairs = min(len(first), len(second))  # the model with fewer networks has a partner for each of them
    for i in range(pairs):
        frame = {"line": {"color": "#222", "width": 1.5}, "row": 1, "col": 1}
        figure.add_shape(type="rect", x0=i - 0.5, x1=i + 0.5, y0=i - 0.5, y1=i + 0.5, **frame)
    across, down = ([theme.label(name, 14) for name in names] for names in (second, first))
    theme.matrix_axes(figure, across, down, row=1, col=1)
    figure.update_xaxes(title_text="networks of the second model", row=1, col=1)
    figure.update_yaxes(title_text="of the first", row=1, col=1)
    null = np.asarray(found.null)
    # bars of 1 / 60 from 0 to 1, whatever the scores: pictures of different models can be compared
    counts, edges = np.histogram(null, bins=np.linspace(0, 1, 61))
    draws = go.Bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=counts,
        width=float(edges[1]),  # the first edge is 0
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
    # p is of mismatched texts: a small one says that both models follow the text, not that they are relatives
    verdict = "both follow the text" if found.p < 0.05 else "not shown to follow the text"
    heading = (
        f"Score {found.score:.3f} over {found.n_texts} texts, mismatched texts {np.mean(null):.3f} "
        f"({panels.p_words(found.p)}: {verdict})"
    )
    cell = 22 if crowded else 34
    return panels.finish(figure, heading, max(220, cell * len(first)), min_width=max(720, 420 + 40 * len(second)))


def _pairing_orders(found: Fingerprint) -> tuple[list[int], list[int]]:
    """Indices of both models' networks in the order of the best pairing, the best pair first.

    Networks without a partner, of the model that has more, come last.
    """
    table = found.to_dataframe()
    orders = []
    for side, column in enumerate(("a", "b")):
        names = list(found.names[side])
        paired = [names.index(name) for name in table[column]]
        orders.append(paired + [i for i in range(len(names)) if i not in paired])
    return orders[0], orders[1]
