"""A null check: the numbers of an analysis in the model, and where they should vanish.

One panel for each number, one row for each null and one for another order. Dots are runs; the upright line is the
number in the model. Dots of a null at the line or beyond it say that the claim owes nothing to training, labels or
neurons; in another order dots should lie at the line, too. Filled dots are at least as large as the number in the
model.

The table behind it is ``check.to_dataframe()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_fbn.reporting.plot import _panels as panels
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked

# what is read of a result
PARTS = ("numbers", "model", "nulls", "values", "summary")


@checked
def null_check(check: Any) -> Figure:
    """Each number of an analysis in the model, beside its values under every null.

    >>> check = fbn.null_check(lambda model: 1.0, model, seed=0, n=2, progress=False)
    >>> figure = fbn.plot.null_check(check)
    >>> figure.data[0].x  # two runs of the untrained twin
    array([1., 1.])

    Args:
        check: What :func:`tl_fbn.null_check` found, a :class:`tl_fbn.studies.NullCheck`.

    Raises:
        InputTypeError: ``check`` is no null check.
    """
    panels.require(check, PARTS, "null_check", "a NullCheck")
    go, _ = theme.plotly()
    names = [theme.label(name) for name in check.nulls]
    titles = [
        f"{theme.label(number, 40)}: {own:.3g}{'' if stands else ' (does not stand)'}"
        for number, own, stands in zip(check.numbers, check.model, check.summary()["stands"], strict=True)
    ]
    figure, height, places = panels.grid(titles, height=26 * len(names) + 50, aside=0.06)
    for place, at in enumerate(places):
        for row, null in enumerate(check.nulls):
            runs = np.asarray(check.values[row, :, place], dtype=float)
            # one colour for what should be gone, another for what should come back
            colour = theme.OKABE_ITO[2 if null == "reordered" else 0]
            dots = go.Scatter(
                x=runs,
                y=np.full(len(runs), row),
                mode="markers",
                marker=panels.filled(runs >= check.model[place], colour, size=9),
                name="another order" if null == "reordered" else "runs where the number should be gone",
                legendgroup="order" if null == "reordered" else "null",
                showlegend=place == 0 and row in (0, len(check.nulls) - 1),
                hovertemplate=f"{theme.verbatim(null)} %{{x:.4g}}<extra></extra>",
            )
            figure.add_trace(dots, **at)
        if np.isfinite(check.model[place]):
            figure.add_vline(float(check.model[place]), line={"color": "#222", "width": 2}, **at)
        panels.name_rows(figure, names, shown=at["col"] == 1, **at)
    heading = f"{len(check.numbers)} numbers in the model (line) and where they should be gone"
    return panels.finish(figure, heading, height, min_width=300 * max(at["col"] for at in places))
