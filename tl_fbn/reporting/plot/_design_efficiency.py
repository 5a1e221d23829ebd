"""Designs beside each other: which shows a contrast best, before any model runs.

The efficiency of a contrast (:mod:`tl_fbn.analysis.glm.efficiency`) is the inverse variance of its estimate for noise
of variance 1. On top of it, paler, stands what the other columns (drift, positions, other conditions) took from it: up
to the efficiency that the columns named in the contrast would have alone. Efficiency grows with the number of rows, so
compare designs of equal length, or efficiency per row. It assumes noise that is independent from row to row: slow noise
makes long blocks worse than efficiency says, unless the design has drift columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.glm.efficiency import efficiency, vif
from tl_fbn.analysis.glm.expressions import contrast_weights
from tl_fbn.analysis.glm.fit import GLMFit
from tl_fbn.analysis.glm.others import condition_columns
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

Designs = pd.DataFrame | GLMFit | Sequence[pd.DataFrame]


@checked
def design_efficiency(
    designs: Designs | Mapping[str, Designs], contrasts: str | Sequence[str], *, title: str | None = None
) -> Figure:
    """Compare designs: the efficiency of every contrast, what other columns cost it, and the largest VIF.

    >>> designs = {}
    >>> for length in (5, 60):  # rows of a block; both designs show each task for 60 of 120 rows
    ...     sort = np.arange(120) // length % 2
    ...     drift = np.linspace(-1, 1, 120)
    ...     designs[f"blocks of {length}"] = pd.DataFrame({"sort": sort, "reverse": 1 - sort, "drift": drift})
    >>> figure = fbn.plot.design_efficiency(designs, "sort - reverse")
    >>> figure.layout.title.text  # a drift looks much like two long blocks
    'blocks of 5 has the highest efficiency for sort - reverse, 3.98 times the lowest'

    Args:
        designs: A design matrix (row, regressor), a list of matrices (one for each run) or a fit; or a mapping of up to
            eight names to such designs.
        contrasts: One or more expressions, such as ``"sort - reverse"``, as for
            :meth:`tl_fbn.glm.GLMFit.contrast`; one that is given twice is drawn once.
        title: Heading of the picture; by default which design is best for the first contrast.

    Raises:
        InputTypeError: A design is neither a DataFrame, nor a list of DataFrames, nor a fit.
        InputError: There are no designs or more than eight, there are no contrasts, a contrast names a column that a
            design does not have, or a run has no rows or columns.
    """
    table = theme.records(efficiency_table(designs, contrasts))
    names, expressions = (list(dict.fromkeys(line[key] for line in table)) for key in ("design", "contrast"))
    if len(names) > len(theme.OKABE_ITO):
        raise InputError(f"design_efficiency draws up to {len(theme.OKABE_ITO)} designs; got {len(names)}. Give fewer")
    go, make_subplots = theme.plotly()
    titles = ["efficiency (pale: taken by other columns)", "largest VIF of a column"]
    figure = make_subplots(rows=1, cols=2, column_widths=[0.7, 0.3], horizontal_spacing=0.12, subplot_titles=titles)
    for number, name in enumerate(names):
        lines = [line for line in table if line["design"] == name]
        colour = theme.OKABE_ITO[number]
        found, alone = (np.array([line[key] for line in lines]) for key in ("efficiency", "alone"))
        rows = lines[0]["rows"]
        hover = [
            f"{theme.verbatim(name)}, {rows:,} rows<br>{theme.verbatim(line['contrast'])}<br>"
            + (
                f"efficiency {line['efficiency']:.4g}, {line['per_1000_rows']:.4g} per 1,000 rows<br>"
                f"other columns took {line['lost']:.1%}"
                if line["efficiency"] > 0
                else "cannot be estimated"
            )
            for line in lines
        ]
        place = np.arange(len(expressions))
        group = {"offsetgroup": str(number), "legendgroup": str(number)}
        solid = go.Bar(
            x=place,
            y=found,
            name=f"{theme.label(name)} ({rows:,} rows)",
            marker={"color": colour},
            text=["" if value > 0 else "none" for value in found],
            textposition="outside",
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            **group,
        )
        pale = go.Bar(  # stands on the solid bar, and the two end at the efficiency of the named columns alone
            x=place,
            y=np.maximum(alone - found, 0.0),
            base=found,
            marker={"color": colour, "opacity": 0.25},
            showlegend=False,
            hoverinfo="skip",
            **group,
        )
        largest, column, implied = (lines[0][key] for key in ("max_vif", "max_vif_column", "implied"))
        worst = go.Bar(
            x=[number],
            y=[largest],
            marker={"color": colour},
            showlegend=False,
            text=[theme.label(column, 12) if column else "none"],
            textposition="outside",
            cliponaxis=False,
            customdata=[
                f"{theme.verbatim(name)}<br>"
                + (f"{theme.verbatim(column)}: {largest:.3g}<br>" if column else "")
                + f"{implied} columns implied by others"
            ],
            hovertemplate="%{customdata}<extra></extra>",
            legendgroup=str(number),
        )
        figure.add_trace(solid, row=1, col=1)
        figure.add_trace(pale, row=1, col=1)
        figure.add_trace(worst, row=1, col=2)
    figure.update_xaxes(
        tickvals=list(range(len(expressions))),
        ticktext=[theme.label(one, 32) for one in expressions],
        autotickangles=[0, -45, -90],
        showgrid=False,
        row=1,
        col=1,
    )
    figure.update_xaxes(showticklabels=False, showgrid=False, range=[-0.7, len(names) - 0.3], row=1, col=2)
    # fmax passes over NaN, the VIF of a design whose columns are all constant or implied by others
    top = float(np.fmax.reduce([line["max_vif"] for line in table], initial=1.0))
    figure.update_yaxes(title_text="efficiency", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="VIF (1: alone)", range=[0, 1.15 * top], row=1, col=2)
    figure.update_layout(barmode="group", bargap=0.3 if len(expressions) * len(names) > 2 else 0.7)
    if title is None:
        first = sorted(
            (line for line in table if line["contrast"] == expressions[0]), key=lambda line: -line["efficiency"]
        )
        best = first[0]["design"]
        most = first[0]["efficiency"]
        least = first[-1]["efficiency"]
        title = f"Efficiency of {', '.join(expressions[:3])}{' ...' if len(expressions) > 3 else ''}"
        if len(names) > 1 and least > 0:
            title = f"{best} has the highest efficiency for {expressions[0]}, {most / least:.2f} times the lowest"
    theme.finish(figure, title, 260, min_width=640)
    return figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 14}})  # clear of the legend


def efficiency_table(designs: Designs | Mapping[str, Designs], contrasts: str | Sequence[str]) -> pd.DataFrame:
    """The numbers behind :func:`design_efficiency`, one line for each design and contrast.

    Of a design of several runs, the R runs that can estimate the contrast count, as in a fit: the effect is their mean,
    so efficiency is ``R**2 / sum(1 / efficiency of a run)``. The VIF is the largest of all runs.

    Args:
        designs: A design matrix (row, regressor), a list of matrices (one for each run) or a fit; or a mapping of names
            to such designs.
        contrasts: One or more expressions; one that is given twice has one line.

    Returns:
        Columns design, contrast, rows (of all runs), efficiency (0 where the contrast cannot be estimated),
        per_1000_rows (efficiency per 1,000 rows), alone (efficiency of the columns named in the contrast, without the
        others), lost (share of ``alone`` that the others take), max_vif (the largest finite variance inflation factor),
        max_vif_column (whose it is), implied (number of columns that others add up to, in any run; by name, so that
        one is counted once; it costs a difference of conditions nothing).
    """
    # once each: the bars of a picture stand at the positions of different contrasts
    expressions = list(dict.fromkeys([contrasts] if isinstance(contrasts, str) else contrasts))
    if not expressions:
        raise InputError('design_efficiency needs at least one contrast, e.g. "sort - reverse"')
    several = designs if isinstance(designs, Mapping) else {"design": designs}
    if not several:
        raise InputError("design_efficiency was given no design; give at least one")
    lines = []
    for name, given in several.items():
        runs = _runs(given, name)
        factors = [
            (float(factor), str(column))
            for run in runs
            for column, factor in zip(run.columns, vif(run).to_numpy(), strict=True)
        ]
        # infinite factors are counted apart, as implied; a constant column has none (NaN)
        worst = max((pair for pair in factors if np.isfinite(pair[0])), default=(np.nan, ""), key=lambda pair: pair[0])
        for expression in expressions:
            found, alone = _over_runs(runs, expression)
            rows = sum(map(len, runs))
            lines.append(
                {
                    "design": str(name),
                    "contrast": expression,
                    "rows": rows,
                    "efficiency": found,
                    "per_1000_rows": 1000 * found / rows,
                    "alone": alone,
                    "lost": 1 - found / alone if alone > 0 else np.nan,
                    "max_vif": worst[0],
                    "max_vif_column": worst[1],
                    "implied": len({column for factor, column in factors if np.isinf(factor)}),
                }
            )
    return pd.DataFrame(lines)


def _runs(given: Any, name: object) -> list[pd.DataFrame]:
    """The design matrices of a design."""
    if isinstance(given, GLMFit):
        runs = list(given.designs)
    else:
        runs = list(given) if isinstance(given, (list, tuple)) else [given]
    if not runs or not all(isinstance(run, pd.DataFrame) for run in runs):
        raise InputTypeError(
            f"design {name!r} is a {type(given).__name__}; give a DataFrame (row, regressor), a list of them, or a fit"
        )
    if not all(run.size for run in runs):
        raise InputError(f"design {name!r} has a run without rows or columns")
    return runs


def _over_runs(runs: Sequence[pd.DataFrame], expression: str) -> tuple[float, float]:
    """Efficiency over runs: of the whole design, and of the columns that the contrast names, alone."""
    pairs = []
    for run in runs:
        columns = [str(column) for column in run.columns]
        named = contrast_weights(expression, columns, conditions=condition_columns(run))
        alone = run.loc[:, [str(column) in named for column in run.columns]]
        same = " + ".join(f"{weight!r} * `{name}`" for name, weight in named.items())
        pairs.append((efficiency(run, same), efficiency(alone, same)))
    used = np.array([pair for pair in pairs if pair[0] > 0]).reshape(-1, 2)  # also where no run can estimate it
    if not len(used):
        return 0.0, 0.0
    # variance of a mean of R effects: sum(1 / efficiency) / R^2
    found, alone = len(used) ** 2 / (1 / used).sum(0)
    return float(found), float(alone)
