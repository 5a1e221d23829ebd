"""Which networks do models share? Correlation of each model's course with the mean of all others', beside chance.

One row for each network. The large dot is the mean over models with its 95 % interval over texts, filled where r > 0
and p <= .05 (one of twenty is so by chance alone); small hollow dots are single models, so that one of other kin stands
apart. The grey bar reaches from the 5th to the 95th percentile of the null, and the tick in it is its median: it is not
at 0 where places in texts are alike. Dotted is 0.

The tables behind it are ``found.to_dataframe()`` and ``found.by_model()``.
"""

from __future__ import annotations

import numpy as np

from tl_fbn.analysis.networks.inter_model_correlation import InterModelCorrelation
from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a result
PARTS = ("models", "networks", "correlation", "null", "n_texts", "shared", "to_dataframe", "by_model")


@checked
def inter_model_correlation(found: InterModelCorrelation) -> Figure:
    """Correlation of each network between models that read the same texts, beside chance.

    >>> courses = fbn.networks.time_courses(recording, atlas)
    >>> found = fbn.inter_model_correlation({"a": courses, "b": courses}, n_null=39, seed=0)
    >>> figure = fbn.plot.inter_model_correlation(found)
    >>> figure.layout.title.text
    '8 of 8 networks are shared by 2 models over 109 texts (p &lt;= .05, where chance gives 0.4)'

    Args:
        found: What :func:`tl_fbn.inter_model_correlation` found.

    Raises:
        InputTypeError: ``found`` is no such result.
    """
    panels.require(found, PARTS, "inter_model_correlation", "an InterModelCorrelation")
    go, _ = theme.plotly()
    table = found.to_dataframe()
    rows = np.arange(len(table))
    figure = go.Figure()
    colour = theme.OKABE_ITO[0]
    if len(found.null):
        low, middle, high = np.quantile(found.null[:, -1], [0.05, 0.5, 0.95], axis=0)
        figure.add_trace(panels.bars(low, high, rows, name="chance, 5 to 95 %", hoverinfo="skip"))
        figure.add_trace(
            panels.ticks(middle, rows, name="chance, median", hovertemplate="chance %{x:.3f}<extra></extra>")
        )
    single = go.Scatter(
        x=np.asarray(found.correlation).T.ravel(),
        y=np.repeat(rows, len(found.models)),
        mode="markers",
        marker={"symbol": "circle-open", "size": 7, "color": theme.OKABE_ITO[5], "line": {"width": 1.4}},
        name="single models",
        customdata=[theme.verbatim(name) for name in found.models] * len(rows),
        hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
    )
    figure.add_trace(single)
    hover = [
        f"{theme.verbatim(line['network'])}<br>r {line['r']:.3f} [{line['low']:.3f}, {line['high']:.3f}]<br>chance "
        f"{line['chance']:.3f}, {panels.p_words(line['p'])}, uncorrected"
        for line in theme.records(table)
    ]
    r, low, high = (table[name].to_numpy(dtype=float) for name in ("r", "low", "high"))
    mean = panels.whiskers(
        r,
        rows,
        low,
        high,
        colour,
        marker=panels.filled([name in found.shared for name in found.networks], colour),
        name="mean over models, 95 % over texts (filled: p <= .05)",
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.add_trace(mean)
    panels.line_at(figure, 0.0)
    panels.name_rows(figure, [theme.label(name) for name in found.networks])
    figure.update_xaxes(title_text="correlation with the mean of all other models")
    heading = (
        f"{len(found.shared)} of {len(rows)} networks are shared by {len(found.models)} models over "
        f"{found.n_texts:,} texts (p <= .05, where chance gives {0.05 * len(rows):.2g})"
    )
    return panels.finish(figure, heading, 26 * len(rows) + 60, min_width=420)
