"""A picture of a design matrix: what the GLM expects of every row, and which columns it cannot tell apart.

Left is the matrix, time from top to bottom as neuroimagers draw it, with every column divided by its largest magnitude.
Right are the correlations of its columns, with the variance inflation factor (VIF) of each beside its name: pairs that
cannot be told apart are dark. The heading gives the efficiency of contrasts where these are given.

A run of more than 1,000 rows is drawn as means of so many neighbouring rows that at most 1,000 lines remain. VIF,
correlations and efficiency are always those of all rows (:mod:`tl_fbn.analysis.glm.efficiency`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32

from tl_fbn.analysis.glm.efficiency import collinearity_table, correlations, efficiency
from tl_fbn.analysis.glm.fit import GLMFit
from tl_fbn.errors import InputError, InputIndexError, InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

_MOST_LINES = 1000  # more lines than a screen has pixels would not be seen


@checked
def design_matrix(
    design: pd.DataFrame | GLMFit, *, run: int = 0, contrasts: Sequence[str] = (), title: str | None = None
) -> Figure:
    """Draw a design matrix beside the correlations of its columns.

    >>> figure = fbn.plot.design_matrix(fbn.fit_glm(recording), contrasts=["sort - reverse"])
    >>> figure.layout.title.text
    'Design of 768 rows, 7 columns; efficiency of sort - reverse 126'
    >>> figure.layout.yaxis2.ticktext[:4]  # VIF: the conditions add up to a constant, and so imply each other
    ('sort (implied)', 'reverse (implied)', 'add (implied)', 'position (1.2)')

    Args:
        design: (row, regressor) design matrix with named columns, such as :func:`tl_fbn.design_matrix` returns; or a
            fit, whose matrix of one run is drawn.
        run: Index of the run, counted from 0, whose matrix is drawn where ``design`` is a fit.
        contrasts: Expressions, such as ``"sort - reverse"``, whose efficiency the heading gives.
        title: Heading of the picture; by default the numbers of rows and columns, and the efficiencies.

    Raises:
        InputIndexError: ``design`` is a fit and has no run ``run``.
        InputTypeError: ``design`` is neither a DataFrame nor a fit.
        InputError: The matrix has no rows or no columns, or a contrast names a column that it does not have.
    """
    if isinstance(design, GLMFit):
        if not 0 <= run < len(design.designs):
            raise InputIndexError(
                f"run {run} of a fit of {len(design.designs)} runs; give 0 to {len(design.designs) - 1}"
            )
        design = design.designs[run]
    if not isinstance(design, pd.DataFrame):
        raise InputTypeError(f"design_matrix draws a DataFrame (row, regressor) or a fit; got {type(design).__name__}")
    if not design.size:
        raise InputError(
            f"design_matrix was given {len(design)} rows and {design.shape[1]} columns; give at least one each"
        )
    table = collinearity_table(design)
    names = [str(name) for name in design.columns]
    width = -(-len(design) // _MOST_LINES)  # rows that are averaged for one line of the picture
    image = _column_means(design.to_numpy(float), width)
    heading = title or f"Design of {len(design):,} rows, {len(names)} columns"
    if contrasts and title is None:
        heading += "; efficiency of " + ", ".join(f"{one} {efficiency(design, one):.3g}" for one in contrasts)

    short = [theme.label(name, 14) for name in names]
    factors = [f"{name} ({_vif_label(factor)})" for name, factor in zip(short, table["vif"], strict=True)]
    gap = 20 + 7 * max(map(len, factors))  # pixels that the labels between the panels need
    wide = 300 + gap + 34 * len(names)  # width of a picture that has room for both panels and the labels

    go, make_subplots = theme.plotly()
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.56, 0.44],
        horizontal_spacing=gap / (wide - 110),
        subplot_titles=["each column over its largest magnitude", "correlation of columns (VIF)"],
    )
    # a trace for each column: its name then stands once in the data, and not in the hover text of every cell
    for place, (name, column) in enumerate(zip(names, image.T, strict=True)):
        left = go.Heatmap(
            z=column[:, None],
            x0=place,
            y0=(width - 1) / 2,  # middle of the first line, in rows
            dy=width,
            zmin=-1,
            zmax=1,
            colorscale=theme.DIVERGING,
            showscale=False,
            hovertemplate=f"row %{{y}}<br>{theme.verbatim(name)}: %{{z:.3g}} of its largest<extra></extra>",
        )
        figure.add_trace(left, row=1, col=1)
    r = correlations(design.to_numpy(float))
    right = theme.matrix(
        r,
        -1,
        1,
        colorbar=theme.colour_bar("r"),
        customdata=[[f"{theme.verbatim(a)} and {theme.verbatim(b)}" for b in names] for a in names],
        hovertemplate="%{customdata}<br>r %{z:.3f}<extra></extra>",
    )
    figure.add_trace(right, row=1, col=2)
    theme.matrix_axes(figure, short, factors, row=1, col=2)
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=short, tickangle=-90, showgrid=False, row=1, col=1)
    figure.update_xaxes(tickangle=-90, row=1, col=2)
    rows_title = "row" if width == 1 else f"row (means of {width})"
    figure.update_yaxes(title_text=rows_title, range=[len(design) - 0.5, -0.5], showgrid=False, row=1, col=1)
    return theme.finish(figure, heading, max(300, 22 * len(names)), min_width=wide, paper=theme.NOTHING)


def _column_means(values: Float[np.ndarray, "row regressor"], width: int) -> Float32[np.ndarray, "shown regressor"]:
    """Every column over its largest magnitude, as means of ``width`` neighbouring rows."""
    largest = np.abs(values).max(0)
    scaled = values / np.where(largest > 0, largest, 1.0)  # a column of zeros stays as it is
    edges = np.arange(0, len(scaled), width)
    counts = np.minimum(width, len(scaled) - edges)  # the last mean may be of fewer rows
    means = np.add.reduceat(scaled, edges) / counts[:, None]
    return means.astype(np.float32)


def _vif_label(value: float) -> str:
    """A variance inflation factor as text; "constant" where there is none, "implied" where it is infinite."""
    return "constant" if np.isnan(value) else "implied" if np.isinf(value) else f"{value:.1f}"
