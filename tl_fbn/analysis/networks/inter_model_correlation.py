"""Do networks of several models rise and fall together while they read the same texts? Inter-model correlation.

::

    recordings = {name: fbn.Scanner(model).scan(design, f"recordings/{name}") for name, model in models.items()}
    found = fbn.inter_model_correlation(recordings, atlases, seed=0)  # name of a model to its atlas
    found.to_dataframe(), found.by_model(), found.pairs

What subjects who watch one film have in common is in none of their brains alone: the course of a region in one is
correlated with the mean course of the same region in all others (inter-subject correlation, Hasson et al. 2004;
leave-one-out as in Nastase et al. 2019). Here models read one text, and networks of one name are one region. Nothing
of a design is needed; noise and habits of single models have no part in it.

- *One time axis* (:mod:`.common_axis`). Texts are matched by their place and cut where a token of every model ends. A
  course (:mod:`.time_courses`) is the mean over a model's tokens in such a segment. The first ``drop_first`` segments
  of every text are left out, as first tokens dwarf all others.
- *Correlation.* Courses are centred within runs. r of a model is Pearson's correlation with the mean of all others'
  courses, each of variance 1; r of a network is the mean over models.
- *Intervals* (95 %) are over texts (or runs), for these models: leave-one-block-out with Student's t on Fisher's scale.
- *Chance* is what is left once no model keeps the time axis of another; p is the share of such draws with an r as high,
  the observed one among them. What every text has in common (where a word stands in it, how long it is) correlates
  between models that follow nothing: ``null="texts"`` matches each text with other texts of its run, which keeps that,
  and ``chance`` shows how much it is. ``"shift"`` and ``"phase"`` are fMRI's nulls of rotated rows and random phases,
  which take it for a response to the text.

Measured (``python -m tests.benchmarks.inter_model_coverage``): intervals hold the truth in .94 to .97 of simulations
from 5 texts on, those of the bootstrap in .90 to .97. Where models have nothing in common p <= .05 in .04 to .06 by any
null; where all texts begin alike as well in .03 to .04 with ``"texts"``, and in .33 to .97 with the others.

The sign of an ICA network is a convention: give networks whose signs were matched, or ``signed=False``. Cost: reading
each recording once; ``n_null`` times models^2 products (row, network).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.networks.common_axis import RunCourses, aligned_run, of_variance_one
from tl_fbn.analysis.networks.leave_one_out import (
    Blocks,
    IntervalKind,
    Null,
    block_interval,
    leave_one_out,
    null_draw,
    pair_correlations,
    sums_of,
    with_mean,
)
from tl_fbn.analysis.networks.time_courses import SITE, CourseMethod, time_courses
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, html_frame
from tl_fbn.units.prose import NOT_RECORDED, listed
from tl_fbn.units.result import Result

ALPHA = 0.05
NULL_IN_WORDS = {
    "texts": "texts matched with other texts of their run",
    "shift": "rows of a run rotated, each model by a number of its own",
    "phase": "phases of frequencies drawn, for each model by itself",
}


@dataclass(frozen=True, eq=False)
class InterModelCorrelation(Result, step="comparison", picture="inter_model_correlation"):
    """How much networks of several models follow the same texts in the same way.

    >>> courses = fbn.networks.time_courses(recording, atlas)
    >>> found = fbn.inter_model_correlation({"a": courses, "b": courses}, n_null=19, seed=0)
    >>> found.correlation.shape, found.pairs.shape
    ((2, 8), (8, 2, 2))
    >>> found.to_dataframe()[["network", "r", "chance", "p"]].round(1).head(2)  # texts of other tasks are alike, too
      network    r  chance    p
    0     N00  1.0     0.8  0.0
    1     N01  1.0     0.9  0.0

    Args:
        models: Names of the models.
        networks: Names of the networks that all models have.
        pairs: (network, model, model) correlation of the courses of every two models; NaN where one never varies.
        low: (1 + model, network) lower ends of the 95 % intervals of :attr:`correlation`, and last of its mean.
        high: (1 + model, network) upper ends of these intervals.
        null: (draw, 1 + model, network) correlations of each model with the others, and last their mean, where no model
            keeps the time axis of another.
        n_texts: Number of texts that were compared.
        n_rows: Number of rows on the time axis that all models share.
        provenance: Where the numbers came from: recordings, null, intervals, what was left out, and seed.
    """

    models: tuple[str, ...]
    networks: tuple[str, ...]
    pairs: Float[np.ndarray, "network model model"]
    low: Float[np.ndarray, "one network"]
    high: Float[np.ndarray, "one network"]
    null: Float[np.ndarray, "draw one network"]
    n_texts: int
    n_rows: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    _settings_ = ("n_texts", "n_rows")
    _measured_ = ("n_texts", "n_rows")

    @property
    def correlation(self) -> Float[np.ndarray, "model network"]:
        """(model, network) correlation of each model's course with the mean of all others', -1 to 1."""
        return leave_one_out(self.pairs).T

    @property
    def p(self) -> Float[np.ndarray, "one network"]:
        """(1 + model, network) p of each correlation, and last of its mean; a draw without one counts as high."""
        observed = with_mean(leave_one_out(self.pairs)).T
        p = (1 + (~(self.null < observed * (1 - 1e-9 * np.sign(observed)))).sum(0)) / (1 + len(self.null))
        return np.where(np.isnan(observed), np.nan, p)

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the networks whose mean correlation is above 0 and beyond chance (p <= .05)."""
        r = with_mean(leave_one_out(self.pairs))[:, -1]
        return tuple(np.array(self.networks, dtype=object)[(r > 0) & (self.p[-1] <= ALPHA)])

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network.

        Columns: network, r (mean over models of the correlation with all others), low and high (95 % interval over
        texts), chance (mean of the null), chance_95 (95 % of its draws are below), p (one-sided, not corrected for the
        number of networks).
        """
        return self._lines(len(self.models)).drop(columns="model")

    def by_model(self) -> pd.DataFrame:
        """One line a network and model.

        Columns: network, model, r (correlation with the mean of all others), low, high, chance, chance_95, p. A model
        of other kin than the rest has a low r.
        """
        table = pd.concat([self._lines(number) for number in range(len(self.models))])
        order = np.argsort(np.tile(np.arange(len(self.networks)), len(self.models)), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    def _lines(self, which: int) -> pd.DataFrame:
        """The table of one model, or of the mean over them."""
        r = with_mean(leave_one_out(self.pairs))[:, which]
        mean = which == len(self.models)
        null = self.null[:, which]
        nothing = np.full(len(self.networks), np.nan)
        columns = {
            "network": list(self.networks),
            "model": "mean" if mean else self.models[which],
            "r": r,
            "low": self.low[which],
            "high": self.high[which],
            "chance": null.mean(0) if len(null) else nothing,
            "chance_95": np.quantile(null, 0.95, axis=0) if len(null) else nothing,
            "p": self.p[which],
        }
        return pd.DataFrame(columns)

    def verdict(self) -> str:
        """In words: which networks the models share over these texts, and which are not shown to be shared."""
        rest = [name for name in self.networks if name not in self.shared]
        said = []
        if self.shared:
            said.append(f"Models follow the texts alike, beyond chance (p <= {ALPHA:g}), in {listed(self.shared)}.")
        if rest:
            said.append(f"Not shown to be shared: {listed(rest)}.")
        return "\n".join(said)

    def _methods_(self) -> list[str]:
        about = self.provenance
        null = NULL_IN_WORDS.get(str(about.get("null")), NOT_RECORDED)
        return [
            f"Courses of {listed(self.networks)} in {len(self.models)} models ({listed(self.models)}) over the same "
            f"{self.n_texts:,} texts were aligned by characters ({self.n_rows:,} segments) and correlated with the "
            "mean of all other models' (leave-one-out, as in inter-subject correlation: Hasson et al. 2004; Nastase et "
            f"al. 2019); 95 % intervals by {about.get('interval', NOT_RECORDED)} over "
            f"{about.get('blocks', NOT_RECORDED)}s; chance from {len(self.null):,} draws ({null}; seed "
            f"{about.get('seed', NOT_RECORDED)}), one-sided, not corrected for the number of networks."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        null = NULL_IN_WORDS.get(str(self.provenance.get("null")), "the null")
        text = (
            f"{self!r}. r is the correlation of a model's course with the mean of all others', mean over models; "
            f"chance is that of {null}. Low and high are 95 % intervals over "
            f"{self.provenance.get('blocks', 'text')}s, for these models.\n\n{self.verdict().replace(chr(10), ' ')}"
        )
        first = {"title": "The same texts in several models", "text": text, "picture": "inter_model_correlation"}
        about = "Correlation of each model with the mean of all others. A model of other kin has a low one."
        return [
            {**first, "table": self.to_dataframe()},
            {"title": "Each model with the others", "text": about, "table": self.by_model()},
        ]

    def __repr__(self) -> str:
        left_out = self.provenance.get("left_out") or ()
        rest = f"; {len(left_out)} networks left out" if left_out else ""
        return (
            f"InterModelCorrelation of {len(self.networks)} networks in {len(self.models)} models over "
            f"{self.n_texts:,} texts: {len(self.shared)} beyond chance (p <= {ALPHA:g}){rest}"
        )

    def __str__(self) -> str:
        return "\n".join([repr(self), self.to_dataframe().round(3).to_string(index=False), self.verdict()])

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe().head(40))


@checked
def inter_model_correlation(
    recordings: Mapping[str, Recording],
    networks: Atlas | Mapping[str, Atlas | Mapping[str, Network]] | None = None,
    *,
    seed: int,
    how: CourseMethod = "mean",
    signed: bool = True,
    drop_first: int = 1,
    null: Null = "texts",
    n_null: int = 999,
    interval: IntervalKind = "jackknife",
    blocks: Blocks = "text",
    n_bootstrap: int = 1000,
) -> InterModelCorrelation:
    """Correlate the networks of each model with those of all others over the same texts.

    Does the model follow the texts as it did once a network is silenced?

    >>> with fbn.inhibit(model, network):
    ...     lesioned = fbn.Scanner(model).scan(design, "recordings/silenced", hooks_id="inhibit", progress=False)
    >>> found = fbn.inter_model_correlation({"whole": recording, "lesioned": lesioned}, atlas, n_null=99, seed=0)
    >>> found
    InterModelCorrelation of 8 networks in 2 models over 109 texts: 8 beyond chance (p <= 0.05)
    >>> bool(found.to_dataframe()["r"].min() > 0.5)
    True

    Args:
        recordings: Name of a model to its recording, at least two, of the same prompts in the same order; tables of
            rows have a column ``prompt``, and ``token`` where tokenizers differ.
        networks: Name of a model to its networks, which go together by name; one atlas for all, where models have the
            same units. None where the recordings are courses (:func:`tl_fbn.networks.time_courses`) already.
        seed: Seed of the null and of the bootstrap; the same seed gives the same result.
        how: How courses are made: ``"mean"`` of a network's members, or ``"regression"`` on all maps of an atlas.
        signed: For ``"mean"``: True lets members with a negative sign count negatively, False counts all alike.
        drop_first: Number of segments left out at the start of every text.
        null: What chance is: ``"texts"``, ``"shift"`` or ``"phase"``.
        n_null: Number of draws of the null. The smallest possible p is ``1 / (1 + n_null)``.
        interval: ``"jackknife"``, or ``"bootstrap"``, whose intervals are a little too short.
        blocks: What intervals leave out or draw: ``"text"``, or ``"run"`` where texts of a run depend on each other, as
            with a carried context.
        n_bootstrap: Number of draws of the bootstrap.

    Returns:
        Correlations of every two models and of each with the others, with intervals and chance.

    Raises:
        InputError: Fewer than two models, networks without a name in common, recordings of other runs or texts, or
            fewer than three texts of at least two segments.
    """
    if len(recordings) < 2:
        raise InputError(f"inter_model_correlation compares models; got {len(recordings)}, give two or more")
    if drop_first < 0:
        raise InputError(f"drop_first={drop_first} is out of range; give a number of segments of at least 0")
    if interval == "bootstrap" and n_bootstrap < 2:
        raise InputError(f"n_bootstrap={n_bootstrap} draws have no spread; give 1000")
    courses, names, left_out = _courses_of(recordings, networks, how, signed)
    counts = sorted({len(one) for one in courses.values()})
    if len(counts) > 1:
        raise InputError(f"the recordings have {listed(counts)} runs; show all models the same runs")
    aligned = [
        aligned_run([one[number] for one in courses.values()], number, drop_first) for number in range(counts[0])
    ]
    aligned = [one for one in aligned if len(one.lengths)]
    n_texts = sum(len(one.lengths) for one in aligned)
    if n_texts < 3:
        raise InputError(
            f"the recordings have {n_texts} texts of at least two segments in common (after the first {drop_first}); "
            "show all models the same three or more, in longer blocks where texts are cut"
        )
    aligned = of_variance_one(aligned)
    sums = [sums_of(one) for one in aligned]
    rng = np.random.default_rng(seed)
    low, high = block_interval(sums, blocks, interval, n_bootstrap, rng)
    drawn = [with_mean(null_draw(aligned, null, rng)).T for _ in range(n_null)]
    about = {
        "of": {name: one.provenance for name, one in recordings.items()},
        "seed": seed,
        "how": how,
        "null": null,
        "interval": interval,
        "blocks": blocks,
        "drop_first": drop_first,
        "left_out": left_out,
    }
    shape = (n_null, 1 + len(recordings), len(names))
    return InterModelCorrelation(
        models=tuple(recordings),
        networks=tuple(names),
        pairs=pair_correlations(np.sum([one.covariance() for one in sums], axis=0)),
        low=low.T,
        high=high.T,
        null=np.array(drawn).reshape(shape),
        n_texts=n_texts,
        n_rows=int(sum(one.lengths.sum() for one in aligned)),
        provenance=about,
    )


def _courses_of(
    recordings: Mapping[str, Recording],
    networks: Atlas | Mapping[str, Atlas | Mapping[str, Network]] | None,
    how: CourseMethod,
    signed: bool,
) -> tuple[dict[str, list[RunCourses]], list[str], list[str]]:
    """Courses of every model, those of the networks that all have; their names, and those of others."""
    found: dict[str, Recording] = {}
    for name, recording in recordings.items():
        if networks is None:
            if recording.space.site != SITE or "networks" not in recording.about:
                raise InputError(
                    f"recording {name!r} is of {recording.space.describe()}, and no networks were given; give the "
                    "atlas of each model, or recordings of courses (fbn.networks.time_courses)"
                )
            found[name] = recording
            continue
        if not isinstance(networks, Atlas) and name not in networks:
            raise InputError(f"no networks for model {name!r}; networks= has {listed(list(networks))}")
        own = networks if isinstance(networks, Atlas) else cast("Mapping[str, Atlas]", networks)[name]
        found[name] = time_courses(recording, own, how=how, signed=signed)
    by_model = {name: list(map(str, one.about["networks"])) for name, one in found.items()}
    every = list(dict.fromkeys(each for own in by_model.values() for each in own))
    names = [each for each in every if all(each in own for own in by_model.values())]
    if not names:
        have = "; ".join(f"{name}: {listed(own)}" for name, own in by_model.items())
        raise InputError(f"the models have no network's name in common ({have}); name them alike (Atlas.rename)")
    chosen = {name: _columns(one, [by_model[name].index(each) for each in names]) for name, one in found.items()}
    return chosen, names, [each for each in every if each not in names]


def _columns(courses: Recording, columns: list[int]) -> list[RunCourses]:
    """Runs, and some columns of each."""
    return [(run, np.asarray(run.layer(0), dtype=np.float64)[:, columns]) for run in courses]
