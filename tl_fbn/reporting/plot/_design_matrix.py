"""A picture of a design matrix: what the model of every row is, and what it cannot tell apart.

Left the matrix, time from top to bottom as neuroimagers draw it, every column divided by its largest magnitude. Right the
correlations of its columns, with the variance inflation factor of each beside its name: the pairs that cannot be told apart are
dark. Contrasts, where given, stand in the title with their efficiency.

Runs of more than 1,000 rows are drawn as averages of neighbouring rows.
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

_TALLEST = 1000


def design_matrix(
    design: pd.DataFrame | GLMFit, *, run: int = 0, contrasts: Sequence[str] = (), title: str | None = None
) -> Figure:
    """Draw a design matrix beside the correlations of its columns.

    >>> design_matrix(fit, contrasts=["sort - rest"])                           # doctest: +SKIP

    Args:
        design: (row, regressor), e.g. of :func:`tl_fbn.design_matrix`; or a fit, whose matrix of one run is drawn.
        run: Number of the run, from 0, whose matrix is drawn where a fit is given.
        contrasts: Expressions whose efficiency the title gives.
        title: Heading; by default the numbers of rows and columns, and the efficiencies.

    Raises:
        InputIndexError: The fit has no such run.
        InputError: A matrix without rows or columns, or a contrast of names it does not have.
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
    width = -(-len(design) // _TALLEST)
    image = _scaled(design.to_numpy(float), width)
    heading = title or f"Design of {len(design):,} rows, {len(names)} columns"
    if contrasts and title is None:
        heading += "; efficiency of " + ", ".join(f"{one} {efficiency(design, one):.3g}" for one in contrasts)

    short = [theme.label(name, 14) for name in names]
    factors = [f"{name} ({_factor(factor)})" for name, factor in zip(short, table["vif"], strict=True)]
    gap = 20 + 7 * max(map(len, factors))  # pixels that the labels between the panels need
    wide = 300 + gap + 34 * len(names)  # where they have them

    go, make_subplots = theme.plotly()
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.56, 0.44],
        horizontal_spacing=gap / (wide - 110),
        subplot_titles=["each column over its largest magnitude", "correlation of columns (VIF)"],
    )
    for place, (name, column) in enumerate(
        zip(names, image.T, strict=True)
    ):  # a trace each, so that hovering says its name once
        left = go.Heatmap(
            z=column[:, None],
            x0=place,
            y0=(width - 1) / 2,
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


def _scaled(values: Float[np.ndarray, "row regressor"], width: int) -> Float32[np.ndarray, "shown regressor"]:
    largest = np.abs(values).max(0)
    scaled = values / np.where(largest > 0, largest, 1.0)
    edges = np.arange(0, len(scaled), width)
    counts = np.minimum(width, len(scaled) - edges)
    means = np.add.reduceat(scaled, edges) / counts[:, None]
    return means.astype(np.float32)


def _factor(value: float) -> str:
    return "constant" if np.isnan(value) else "implied" if np.isinf(value) else f"{value:.1f}"
