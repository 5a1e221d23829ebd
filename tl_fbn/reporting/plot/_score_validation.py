"""Which score of units to believe: each score beside what lesions measure, and beside chance.

Three panels with one row for each score, the one with the largest rank correlation first:

- *rank correlation* (Spearman's rho) of the score with the drops when single units are silenced, beside its median and
  95th percentile when the score is shuffled within layers;
- *recall*, the share of the units with the largest drops that are among the top units of the score, beside what
  random sets with as many units in each layer are expected to reach;
- *joint drop* when the score's top units are silenced together, beside the median and 95th percentile of matched random
  sets.

A dot is filled where p < .05; recall has no test, and its dots are always filled. p stands in the hover text and the
table and is not corrected for the number of scores.

The table behind it is ``validation.to_dataframe()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a validation
PARTS = ("task", "names", "effects", "top_effects", "provenance", "to_dataframe")


@checked
def score_validation(validation: Any) -> Figure:
    """Every score's rank correlation, recall and joint drop, each beside its chance.

    >>> scores = {"t": contrast.t, "effect": contrast.effect}  # both of *sort - reverse*
    >>> found = fbn.validate_scores(
    ...     model, scores, battery, "sort", n_units=40, n_groups=5, n_controls=9, seed=0, progress=False
    ... )
    >>> figure = fbn.plot.score_validation(found)
    >>> figure.layout.title.text
    'Scores against lesions of sort: 40 units silenced one by one'
    >>> dict(zip(figure.layout.yaxis.ticktext, figure.data[-1].x.round(2).tolist()))  # joint drops, nats a token
    {'t': 0.0, 'effect': 0.97}

    Args:
        validation: What :func:`tl_fbn.validate_scores` found, a :class:`tl_fbn.studies.Validation`.

    Raises:
        InputTypeError: ``validation`` is no validation of scores.
    """
    panels.require(validation, PARTS, "score_validation", "a Validation of validate_scores")
    table = validation.to_dataframe()
    factor, _, unit = panels.measure(validation.provenance["metric"])
    titles = ["rank correlation with single lesions", "strongest units found", "top units silenced together"]
    rows = np.arange(len(table))
    figure, height, places = panels.grid(titles, height=34 * len(table) + 14, aside=0.04)
    # of each panel: axis, factor, and columns of the score, its chance, the chance's 95th percentile, and p
    measured = (
        ("Spearman's rho", 1.0, "spearman", "spearman_by_chance", "spearman_by_chance_p95", "spearman_p"),
        ("recall (%)", 100.0, "recall", "recall_by_chance", None, None),
        (f"drop ({unit})", factor, "top_drop", "control_median", "control_p95", "p"),
    )
    names = [theme.verbatim(name) for name in table["score"]]
    for number, (at, (axis, scale, own, chance, p95, p)) in enumerate(zip(places, measured, strict=True)):
        middle = scale * table[chance].to_numpy()
        values = scale * table[own].to_numpy()
        ends = None if p95 is None else scale * table[p95].to_numpy()
        if ends is not None:
            bar = panels.bars(
                middle,
                ends,
                rows,
                name="chance: to 95 %",
                legendgroup="to 95",
                showlegend=number == 0,
                hoverinfo="skip",
            )
            figure.add_trace(bar, **at)
        shown = {"name": "chance: median or expectation", "legendgroup": "chance", "showlegend": number == 0}
        figure.add_trace(panels.ticks(middle, rows, hoverinfo="skip", **shown), **at)
        passed = np.ones(len(table), dtype=bool) if p is None else table[p].to_numpy() < 0.05
        tests = [""] * len(table) if p is None else [f", {panels.p_words(value)}" for value in table[p]]
        dots = panels.whiskers(
            values,
            rows,
            values,  # no intervals: both ends are the value
            values,
            theme.OKABE_ITO[0],
            marker=panels.filled(passed, theme.OKABE_ITO[0]),
            name="the score (hollow: p of .05 or more; recall is not tested)",
            showlegend=number == 0,
            customdata=[
                f"{name}: {axis} {value:.3g}{test}<br>"
                f"by chance {low:.3g}{'' if ends is None else f', 95 % {ends[i]:.3g}'}"
                for i, (name, value, test, low) in enumerate(zip(names, values, tests, middle, strict=True))
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        figure.add_trace(dots, **at)
        panels.line_at(figure, 0.0, **at)
        panels.name_rows(figure, [theme.label(name) for name in table["score"]], shown=number == 0, **at)
        figure.update_xaxes(title_text=theme.verbatim(axis), **at)
    tried = int(np.isfinite(validation.effects).sum())
    heading = f"Scores against lesions of {validation.task}: {tried:,} units silenced one by one"
    return panels.finish(figure, heading, height, min_width=820)
