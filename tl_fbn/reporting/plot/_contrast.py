"""A contrast and its threshold in one picture: where the effects are, and how they compare with no effect at all.

Above is the glass brain of z (:mod:`._unit_map`). Units that survive the threshold have full colours and all others are
paled, so that the colour bar shows the threshold too. That is exact, because every correction drawn here is a threshold
on the magnitude of z. Up to 150 survivors have a dot as well.

Below is the histogram of z beside the curve that is expected if no unit differs: a standard normal, scaled to the
number of units. The axis of counts is logarithmic where the bars of survivors would be too low to be seen. Values that
depend on each other, as those of neurons do, may as a whole be spread more widely or more narrowly than the curve by
chance alone. The threshold of a permutation test is valid all the same.

Lines stand at the FDR threshold (Benjamini and Hochberg 1995; it depends on the data, and there is none where nothing
survives) and at the Bonferroni threshold. A permutation test has one line: the quantile of the largest \\|t\\| over
units, converted to z.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats

from tl_fbn.analysis.glm import multiple_testing as inference
from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.analysis.glm.f_contrast import FContrast
from tl_fbn.analysis.glm.permutation import PermutationTest
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.reporting.plot import _theme as theme
from tl_fbn.reporting.plot import _unit_map as maps
from tl_fbn.reporting.plot._theme import Figure
from tl_fbn.signatures import checked
from tl_fbn.units import Network, UnitMap

Tested = Contrast | FContrast | PermutationTest
_MOST_DOTTED_UNITS = 150  # more survivors than this would hide the cells below their dots
_MOST_BINS = 200
_UNCORRECTED_LEVEL = 0.01  # level of the uncorrected p that the picture counts
# bars of survivors above and below 0, and of all others
_RED = "#b2182b"
_BLUE = "#2166ac"
_PALE = "#c8c8c8"


@checked
def contrast(
    contrast: Tested, *, fdr: float | None = 0.05, fwe: float | None = None, title: str | None = None
) -> Figure:
    """Draw a contrast: the glass brain with what survives, and the histogram of its values beside no effect.

    >>> figure = fbn.plot.contrast(contrast, fdr=0.05)
    >>> figure.layout.title.text
    'sort - reverse: 643 of 1,152 units survive FDR .05'
    >>> figure.layout.annotations[0].text  # above the histogram; plotly reads HTML, so "<" is escaped
    '576 of 1,152 units have p &lt; .01, uncorrected; were none different, about 11.5'
    >>> test = fbn.max_t(recording, "sort - reverse", n_permutations=99, seed=0, progress=False)
    >>> fbn.plot.contrast(test, fwe=0.05).layout.title.text
    'sort - reverse: 240 of 1,152 units survive permutation FWE .05'

    Args:
        contrast: What ``fit.contrast(...)`` or :func:`tl_fbn.max_t` found: a t contrast, an F contrast (of several
            expressions) or a permutation test.
        fdr: Expected share of false units among the survivors; None to go by ``fwe`` alone. A permutation test controls
            no FDR and ignores it.
        fwe: Chance of one or more false survivors, by Bonferroni's correction, or for a permutation test by the largest
            \\|t\\| of each relabelling (.05 where this is None). Where it is given it decides which units survive, and
            the threshold of ``fdr`` is only drawn.
        title: Heading of the picture; by default how many units survive.

    Raises:
        InputTypeError: ``contrast`` is none of these results.
        InputError: ``fdr`` or ``fwe`` is not between 0 and 1, or both are None.
    """
    shown = _TestedMap.of(contrast, fdr, fwe)
    go, make_subplots = theme.plotly()
    space = shown.values.space
    cut = shown.cut
    brain = maps.height_of(space)  # this and the next two: pixels
    gap = 104
    histogram = 200
    height = brain + gap + histogram
    counted = shown.values.values[shown.varies]
    fine = int((shown.uncorrected[shown.varies] < _UNCORRECTED_LEVEL).sum())
    expected = _UNCORRECTED_LEVEL * counted.size  # p is uniform where no unit differs
    about = (
        f"{fine:,} of {counted.size:,} units have p < {_level_text(_UNCORRECTED_LEVEL)}, uncorrected; "
        "were none different, about " + (f"{expected:,.0f}" if expected >= 100 else f"{expected:.3g}")
    )
    if shown.n_untested:
        about += f" ({shown.n_untested:,} that never vary left out)"
    figure = make_subplots(
        rows=2,
        cols=1,
        row_heights=[brain, histogram],
        vertical_spacing=gap / height,
        subplot_titles=["", theme.verbatim(about)],
    )
    # the colour bar has to reach beyond the threshold, or no colour would say that a unit survives
    limit = max(theme.colour_limit([shown.values.values]), 1.25 * cut if np.isfinite(cut) else 0.0)
    style = {
        "zmin": -limit,
        "zmax": limit,
        "colorscale": _colour_stops(cut / limit, one_sided=shown.one_sided),
        "colorbar": theme.colour_bar(shown.values.kind, len=brain / height, y=1, yanchor="top"),
    }
    figure.add_trace(maps.heat(go, shown.values, **style), row=1, col=1)
    if 0 < shown.survives.sum() <= _MOST_DOTTED_UNITS:
        survivors = Network(space, shown.survives)
        figure.add_trace(maps.dots(go, survivors, "survives", shown.values).update(name="survives"), row=1, col=1)
    maps.axes(figure, space, "index", shown.values.kind, complete=True, words=True, row=1, col=1)
    bars, curve = _histogram(go, shown, counted)
    figure.add_trace(bars, row=2, col=1)
    figure.add_trace(curve, row=2, col=1)
    figure.update_xaxes(title_text="z", showgrid=False, row=2, col=1)
    counts = np.asarray(bars.y)
    coloured = np.asarray(bars.marker.color) != _PALE  # bars of survivors
    # bars below 4 % of the highest are hardly seen on a linear axis
    if coloured.any() and counts[coloured].max() < 0.04 * counts.max():
        top = float(np.log10(max(counts.max(), np.max(curve.y)))) + 0.1
        scale = {"title_text": "units (log scale)", "type": "log", "range": [np.log10(0.6), top], "dtick": 1}
    else:
        scale = {"title_text": "units", "rangemode": "tozero"}
    figure.update_yaxes(**scale, row=2, col=1)
    figure.update_layout(barmode="overlay", bargap=0)
    theme.finish(figure, title or shown.heading(), height, min_width=600)
    figure.update_annotations(yshift=4)
    figure.update_layout(legend={"y": -56 / height, "yanchor": "top", "x": 0})
    figure.update_layout(height=height + 180, margin_b=96)
    figure.add_shape(  # grey behind the brain alone
        type="rect", xref="x domain", yref="y domain", x0=0, x1=1, y0=0, y1=1, fillcolor=theme.NOTHING, line_width=0
    )
    figure.update_shapes(layer="below")
    _draw_thresholds(figure, shown)
    return figure


def contrast_table(contrast: Tested, *, fdr: float | None = 0.05, fwe: float | None = None) -> pd.DataFrame:
    """The numbers behind :func:`contrast`: one line a threshold.

    Args:
        contrast: The t contrast, F contrast or permutation test that is drawn.
        fdr: Expected share of false units among the survivors; None leaves that threshold out.
        fwe: Chance of one or more false survivors; None uses ``fdr`` for Bonferroni's line, and .05 for a permutation
            test.

    Returns:
        Columns threshold (which correction), level, at (the \\|z\\| needed to pass; NaN where it depends on the data
        and no unit passes), units (number that pass), positive and negative (how many of them are on either side of 0),
        by_chance (number expected to pass if no unit differs; known for uncorrected p alone, else NaN).
    """
    shown = _TestedMap.of(contrast, fdr, fwe)
    positive = np.nan_to_num(shown.values.values) > 0
    tested = int(shown.varies.sum())
    fine = (shown.uncorrected < _UNCORRECTED_LEVEL) & shown.varies
    at = float(stats.norm.isf(_UNCORRECTED_LEVEL / (1 if shown.one_sided else 2)))
    passes = [("uncorrected", _UNCORRECTED_LEVEL, at, fine, _UNCORRECTED_LEVEL * tested)]
    passes += [(one.name, one.level, one.at, one.passed, np.nan) for one in shown.thresholds]
    lines = [
        {
            "threshold": name,
            "level": level,
            "at": at,
            "units": int(found.sum()),
            "positive": int((found & positive).sum()),
            "negative": int((found & ~positive).sum()),
            "by_chance": chance,
        }
        for name, level, at, found, chance in passes
    ]
    return pd.DataFrame(lines)


@dataclass(frozen=True, eq=False)
class _Threshold:
    """A threshold and the units that pass it.

    Args:
        name: Name of the correction, such as "FDR" or "Bonferroni".
        level: Error rate that the correction keeps, between 0 and 1.
        at: The \\|z\\| that units need to pass; NaN where it depends on the data and no unit passes.
        passed: (unit,) whether the unit passes.
        words: Words about ``at`` that follow it in the legend; empty for none.
    """

    name: str
    level: float
    at: float
    passed: Bool[np.ndarray, " unit"]
    words: str = ""


@dataclass(frozen=True, eq=False)
class _TestedMap:
    """What the picture shows of a result.

    Args:
        name: Expression of the contrast, such as "sort - reverse".
        values: Map of z.
        uncorrected: (unit,) p, uncorrected.
        varies: (unit,) whether the unit has a test; one that never varies has none.
        thresholds: Thresholds that are drawn as lines.
        deciding: Index of the threshold that decides which units survive.
        one_sided: Whether only positive values can pass, as with F.
    """

    name: str
    values: UnitMap
    uncorrected: Float[np.ndarray, " unit"]
    varies: Bool[np.ndarray, " unit"]
    thresholds: list[_Threshold]
    deciding: int
    one_sided: bool = False

    @classmethod
    def of(cls, given: Any, fdr: float | None, fwe: float | None) -> _TestedMap:
        for what, level in (("fdr", fdr), ("fwe", fwe)):
            if level is not None and not 0 < level < 1:
                raise InputError(f"{what}={level} is no error rate; give a number between 0 and 1, e.g. {what}=0.05")
        if isinstance(given, PermutationTest):
            return cls._of_permutations(given, 0.05 if fwe is None else fwe)
        if not isinstance(given, (Contrast, FContrast)):
            raise InputTypeError(
                f"contrast draws what fit.contrast(...) or max_t(...) gives; got {type(given).__name__}. Maps: unit_map"
            )
        if fdr is None and fwe is None:
            raise InputError("contrast marks what survives a threshold; give fdr= or fwe=, e.g. fdr=0.05")
        z = given.z
        p = given.p.values
        one_sided = isinstance(given, FContrast)
        varies = ~np.isnan(given.t.values if isinstance(given, Contrast) else given.statistic)
        thresholds = []
        if fdr is not None:
            passed = inference.significant(p, fdr=fdr)
            # Benjamini and Hochberg: with k units passing, these are all units whose p is at most k fdr / n; the z of
            # that p has half of it in each tail where the test has two sides
            tail = passed.sum() * fdr / len(p) / (1 if one_sided else 2)
            at = float(stats.norm.isf(tail)) if passed.any() else np.nan
            thresholds.append(_Threshold("FDR", fdr, at, passed))
        level = fdr if fwe is None else fwe  # Bonferroni's line is drawn for comparison where only fdr is given
        assert level is not None
        at = float(stats.norm.isf(level / len(p) / (1 if one_sided else 2)))
        passed = inference.significant(p, fwe=level, method="bonferroni")
        thresholds.append(_Threshold("Bonferroni", level, at, passed))
        return cls(given.name, z, p, varies, thresholds, 0 if fwe is None else len(thresholds) - 1, one_sided)

    @classmethod
    def _of_permutations(cls, given: PermutationTest, fwe: float) -> _TestedMap:
        passed = given.threshold(fwe=fwe).members  # refuses levels that so few relabellings cannot show
        n = len(given.largest)
        # corrected p of a unit: (1 + number of relabellings whose largest |t| reaches it) / (1 + n). It is at most fwe
        # where at most fwe (1 + n) - 1 of them do (1e-9: 0.05 x 20 may be a little less than 1)
        reached = int(fwe * (1 + n) + 1e-9) - 1
        t = np.sort(given.largest)[n - 1 - reached]
        z = UnitMap(given.space, inference.t_to_z(given.statistic, given.dof), "z", given.t.provenance)
        at = float(inference.t_to_z(np.array([t], dtype=np.float64), given.dof)[0])
        threshold = _Threshold("permutation FWE", fwe, at, passed, f" (|t| of {t:.2f})")
        p = inference.t_to_p(given.statistic, given.dof)
        return cls(given.name, z, p, ~np.isnan(given.statistic), [threshold], 0)

    @property
    def cut(self) -> float:
        """The magnitude that units need to survive; infinite where the data allow none."""
        at = self.thresholds[self.deciding].at
        return np.inf if np.isnan(at) else at

    @property
    def survives(self) -> Bool[np.ndarray, " unit"]:
        """Whether each unit passes the threshold that decides."""
        return self.thresholds[self.deciding].passed

    @property
    def n_untested(self) -> int:
        """Number of units that never vary and so have no test."""
        return int((~self.varies).sum())

    def heading(self) -> str:
        """How many units survive, in a sentence."""
        one = self.thresholds[self.deciding]
        total = len(self.varies)
        found = int(one.passed.sum())
        return (
            f"{self.name}: {f'{found:,} of {total:,} units survive' if found else f'no unit of {total:,} survives'} "
            f"{one.name} {_level_text(one.level)}"
        )


def _level_text(level: float) -> str:
    """``0.05`` as ``.05``."""
    return f"{level:g}".removeprefix("0")


def _colour_stops(cut: float, *, one_sided: bool) -> list[list[Any]]:
    """Red and blue beyond ``cut`` (a share of the range), paled within; no blue if only positive values can survive.

    The steps are those of a plotly colour scale: (place from 0 to 1, colour), where 0.5 is z = 0.
    """
    colors = importlib.import_module("plotly.colors")
    if not np.isfinite(cut):
        cut = 1.0
    edges = np.linspace(0.0, 1.0, 6)
    # depth of colour from 0 (white) to 1 by distance from 0: up to .16 below the threshold, from .45 on above it
    pale = [(edge, 0.16 * edge) for edge in edges]
    half = [(cut * edge, depth) for edge, depth in pale]
    if cut < 1:
        half += [(cut + (1 - cut) * edge, 0.45 + 0.55 * edge) for edge in edges]
    # mirrored about the middle; the negative half of a one-sided test stays pale to its end
    stops = [(0.5 - place / 2, 0.5 - depth / 2) for place, depth in (pale if one_sided else half)[::-1]]
    stops += [(0.5 + place / 2, 0.5 + depth / 2) for place, depth in half[1:]]
    named = colors.sample_colorscale(theme.DIVERGING, [depth for _, depth in stops])
    places = np.clip([place for place, _ in stops], 0.0, 1.0)
    return [[round(float(place), 5), colour] for place, colour in zip(places, named, strict=True)]


def _histogram(go: Any, shown: _TestedMap, values: Float[np.ndarray, " unit"]) -> tuple[Any, Any]:
    """Bars of counts, those beyond the threshold coloured, and the curve without effects."""
    cut = shown.cut
    far = max(4.0, *(0.3 + one.at for one in shown.thresholds if np.isfinite(one.at)))
    # what the design explains without error has an infinite z: it stands at the end, beyond every threshold
    end = max(far, np.abs(values[np.isfinite(values)]).max(initial=0.0))
    values = np.clip(values, -end, end)
    low = min(-far, values.min(initial=0.0))
    high = max(far, values.max(initial=0.0))
    width = max(0.25, (high - low) / _MOST_BINS)
    if np.isfinite(cut) and cut > width:
        width = cut / np.floor(cut / width)  # a whole number of bars ends at the threshold
    edges = width * np.arange(int(np.floor(low / width)), int(np.ceil(high / width)) + 1)
    # the smallest survivor stands on an edge, which rounding must not move it across
    counts = np.histogram(values, edges - 1e-9 * np.sign(edges))[0]
    centres = (edges[1:] + edges[:-1]) / 2
    red = centres > cut
    blue = (centres < -cut) & (not shown.one_sided)
    bar = go.Bar(
        x=centres,
        y=counts,
        width=width,
        marker={"color": np.where(red, _RED, np.where(blue, _BLUE, _PALE)).tolist(), "line": {"width": 0}},
        name="units",
        showlegend=False,
        customdata=[f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)],
        hovertemplate="z %{customdata}<br>%{y:,} units<extra></extra>",
    )
    reach = 4.0 if len(values) < 20_000 else 5.5
    x = np.linspace(-reach, reach, 89)
    curve = go.Scatter(
        x=x,
        y=stats.norm.pdf(x) * width * len(values),  # density x width of a bar x units: expected counts
        mode="lines",
        line={"color": "#000", "width": 1.5},
        name="no effect: N(0, 1)",
        hovertemplate="without any effect %{y:.3g} units<extra></extra>",
    )
    return bar, curve


def _draw_thresholds(figure: Figure, shown: _TestedMap) -> None:
    """The thresholds, both sides, in the histogram; named in the legend."""
    go, _ = theme.plotly()
    size = "z" if shown.one_sided else "|z|"
    for one, dash in zip(shown.thresholds, ("dash", "dot"), strict=False):
        nowhere = np.isnan(one.at)
        called = f"{one.name} {_level_text(one.level)}: {'nothing passes' if nowhere else f'{size} of {one.at:.2f}'}"
        line = {"color": "#000", "width": 1.5, "dash": dash}
        named = go.Scatter(x=[None], y=[None], mode="lines", line=line, name=called + one.words, hoverinfo="skip")
        figure.add_trace(named, row=2, col=1)
        # a line on each side of 0 where both can pass; none where no unit passes
        for side in () if nowhere else (one.at,) if shown.one_sided else (-one.at, one.at):
            figure.add_shape(type="line", xref="x2", yref="y2 domain", x0=side, x1=side, y0=0, y1=1, line=line)
