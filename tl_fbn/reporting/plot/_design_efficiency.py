"""Designs beside each other: which shows a contrast best, before any model runs.

The efficiency of a contrast (:mod:`tl_fbn.analysis.glm.efficiency`) is the inverse variance of its estimate in units of the noise. Beside
it, paler, stands what drift, positions and other conditions took from it: the efficiency that the columns named in the
contrast would have alone. Efficiency grows with the number of rows, so compare designs of equal length, or per row. It
knows nothing of real noise: slow noise makes long blocks worse than it says, unless drift columns are in the design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.glm.efficiency import efficiency, vif
from tl_fbn.analysis.glm.expressions import contrast_weights
from tl_fbn.analysis.glm.fit import GLMFit
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure

Designs = pd.DataFrame | GLMFit | Sequence[pd.DataFrame]


def design_efficiency(
    designs: Designs | Mapping[str, Designs], contrasts: str | Sequence[str], *, title: str | None = None
) -> Figure:
    """Compare designs: the efficiency of every contrast, what other columns cost it, and the largest VIF.

    >>> design_efficiency({"32 rows": short, "64 rows": long}, ["sort - rest", "add - rest"])    # doctest: +SKIP

    Args:
        designs: A design matrix, a list of them (one a run) or a fit; or up to eight names to such.
        contrasts: Expressions, as for :meth:`tl_fbn.glm.GLMFit.contrast`.
        title: Heading; by default which design is best for the first contrast.

    Raises:
        InputError: No designs or more than eight, no contrasts, or a contrast of names that a design does not have.
    """
    table = theme.records(efficiency_table(designs, contrasts))
    names, asked = (list(dict.fromkeys(line[key] for line in table)) for key in ("design", "contrast"))
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
                f"efficiency {line['efficiency']:.4g}, {line['per_1000_rows']:.4g} per 1,000 rows<br>other columns took "
                f"{line['lost']:.1%}"
                if line["efficiency"] > 0
                else "cannot be estimated"
            )
            for line in lines
        ]
        place = np.arange(len(asked))
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
        pale = go.Bar(
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
        tickvals=list(range(len(asked))),
        ticktext=[theme.label(one, 32) for one in asked],
        autotickangles=[0, -45, -90],
        showgrid=False,
        row=1,
        col=1,
    )
    figure.update_xaxes(showticklabels=False, showgrid=False, range=[-0.7, len(names) - 0.3], row=1, col=2)
    top = float(np.fmax.reduce([line["max_vif"] for line in table], initial=1.0))
    figure.update_yaxes(title_text="efficiency", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="VIF (1: alone)", range=[0, 1.15 * top], row=1, col=2)
    figure.update_layout(barmode="group", bargap=0.3 if len(asked) * len(names) > 2 else 0.7)
    if title is None:
        first = sorted((line for line in table if line["contrast"] == asked[0]), key=lambda line: -line["efficiency"])
        best = first[0]["design"]
        most = first[0]["efficiency"]
        least = first[-1]["efficiency"]
        title = f"Efficiency of {', '.join(asked[:3])}{' ...' if len(asked) > 3 else ''}"
        if len(names) > 1 and least > 0:
            title = f"{best} has the highest efficiency for {asked[0]}, {most / least:.2f} times the lowest"
    theme.finish(figure, title, 260, min_width=640)
    return figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 14}})  # clear of the legend


def efficiency_table(designs: Designs | Mapping[str, Designs], contrasts: str | Sequence[str]) -> pd.DataFrame:
    """The numbers behind :func:`design_efficiency`, one line a design and contrast.

    Of several runs, those that can estimate the contrast count, as in a fit: the effect is their mean, so efficiency is
    ``R**2 / sum(1 / efficiency of a run)``; the VIF is the largest of all runs.

    Returns:
        design, contrast, rows, efficiency (0: cannot be estimated), per_1000_rows, alone (efficiency of the columns named, without the others),
        lost (share of it that the others take), max_vif (the largest but for columns that others imply), max_vif_column, implied
        (number of columns that others imply, which costs differences of conditions nothing).
    """
    asked = [contrasts] if isinstance(contrasts, str) else list(contrasts)
    if not asked:
        raise InputError('design_efficiency needs at least one contrast, e.g. "sort - rest"')
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
        worst = max((pair for pair in factors if np.isfinite(pair[0])), default=(np.nan, ""), key=lambda pair: pair[0])
        for expression in asked:
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
                    "implied": int(np.isinf(vif(runs[0]).to_numpy()).sum()),
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
    """Efficiency over runs, of all columns and of those named alone."""
    pairs = []
    for run in runs:
        named = contrast_weights(expression, [str(column) for column in run.columns])
        alone = run.loc[:, [str(column) in named for column in run.columns]]
        pairs.append((efficiency(run, expression), efficiency(alone, expression)))
    used = np.array([pair for pair in pairs if pair[0] > 0]).reshape(-1, 2)
    if not len(used):
        return 0.0, 0.0
    found, alone = len(used) ** 2 / (1 / used).sum(0)
    return float(found), float(alone)
