"""Courses of several models on one time axis: each with the mean of the others, its interval, and its null.

A *run* is an array (model, row, network) of courses whose rows are the same characters in every model; texts are
stretches of its rows. With courses centred within runs and of variance 1 over all of them, R_ij is Pearson's
correlation of models i and j, and that of model i with the mean of all others is::

    r_i = sum over j of R_ij / sqrt(sum over j and l of R_jl)        j and l over the others

so that all that follows needs products of courses, summed over texts.

- *Intervals* leave out one block (a text, or a run) after the other (the jackknife; Miller 1974), on Fisher's scale,
  with Student's t of one degree of freedom less than there are blocks; or draw blocks anew within runs, whose standard
  deviation is the error (the bootstrap; Efron 1979) in the place of the jackknife's.
- *Nulls* take from every model its hold on the time axis, each model by itself, and keep what it is like:
  ``"texts"`` matches its texts with other texts of the run of about their length (rows beyond the shortest of the texts
  that meet are left out); ``"shift"`` rotates the rows of a run by a number of its own; ``"phase"`` gives its
  frequencies random phases, the same in all its networks.

Cost: a null draw is models^2 products (row, network).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

Null = Literal["texts", "shift", "phase"]
Blocks = Literal["text", "run"]
IntervalKind = Literal["jackknife", "bootstrap"]
TRADING = 10  # texts of a run that trade places with each other, those of about one length
Courses = Float[np.ndarray, "model row network"]


@dataclass(frozen=True)
class AlignedRun:
    """One run of all models.

    Args:
        courses: (model, row, network) courses.
        lengths: (text,) number of rows of each text; texts follow each other.
    """

    courses: Courses
    lengths: Int[np.ndarray, " text"]


@dataclass(frozen=True)
class Sums:
    """What correlations need of stretches of rows.

    Args:
        products: (stretch, network, model, model) sums of products of two models' courses.
        sums: (stretch, network, model) sums of courses.
        rows: (stretch,) number of rows.
    """

    products: Float[np.ndarray, "stretch network model model"]
    sums: Float[np.ndarray, "stretch network model"]
    rows: Float[np.ndarray, " stretch"]

    def covariance(self) -> Float[np.ndarray, "network model model"]:
        """Sums of products about the mean of all stretches together."""
        total = self.sums.sum(0)
        return self.products.sum(0) - total[:, :, None] * total[:, None, :] / max(self.rows.sum(), 1.0)


def sums_of(run: AlignedRun) -> Sums:
    """The sums of every text of a run.

    Args:
        run: Courses of one run.
    """
    edges = np.cumsum(run.lengths)[:-1]
    parts = [np.moveaxis(part, 2, 0) for part in np.split(run.courses, edges, axis=1)]  # (network, model, row)
    products = np.array([part @ part.transpose(0, 2, 1) for part in parts])
    return Sums(products, np.array([part.sum(2) for part in parts]), run.lengths.astype(float))


def pair_correlations(covariance: Float[np.ndarray, "*of model model"]) -> Float[np.ndarray, "*of model model"]:
    """Correlation of every two models; NaN where a course does not vary.

    Args:
        covariance: Sums of products of centred courses.
    """
    variance = np.einsum("...ii->...i", covariance)
    # a course without variance is left with rounding
    spread = np.sqrt(np.where(variance > 0, variance, np.nan))
    return np.clip(covariance / spread[..., :, None] / spread[..., None, :], -1, 1)


def leave_one_out(pairs: Float[np.ndarray, "*of model model"]) -> Float[np.ndarray, "*of model"]:
    """Correlation of each model with the mean of all others.

    Args:
        pairs: Correlations of every two models.
    """
    to_others = pairs.sum(-1) - 1
    among_others = pairs.sum((-1, -2))[..., None] - 2 * to_others - 1  # variance of the sum of the others
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(to_others / np.sqrt(np.maximum(among_others, 1e-12)), -1, 1)


def _of(covariance: Float[np.ndarray, "*of model model"]) -> Float[np.ndarray, "*of model"]:
    return leave_one_out(pair_correlations(covariance))


def fisher(r: Float[np.ndarray, "*of"]) -> Float[np.ndarray, "*of"]:
    """Fisher's z of correlations; of 1 what is next to it.

    Args:
        r: Correlations.
    """
    return np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9))


def with_mean(r: Float[np.ndarray, "*of model"]) -> Float[np.ndarray, "*of one"]:
    """The correlations of models, and after them the mean over models.

    Args:
        r: Correlation of each model with the others.
    """
    return np.concatenate([r, r.mean(-1, keepdims=True)], axis=-1)


def block_interval(
    runs: Sequence[Sums], blocks: Blocks, kind: IntervalKind, n_bootstrap: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "network one"], Float[np.ndarray, "network one"]]:
    """95 % intervals of the correlation of each model with the others, and of the mean over models.

    Args:
        runs: Sums of the texts of every run.
        blocks: What is independent of each other: ``"text"`` or ``"run"``.
        kind: ``"jackknife"`` or ``"bootstrap"``.
        n_bootstrap: Number of draws of the bootstrap.
        rng: Source of the draws.

    Returns:
        Lower and upper ends, models first and the mean last; -1 and 1 where there is one block.
    """
    each = [one.covariance() for one in runs]
    observed = fisher(with_mean(_of(np.sum(each, axis=0))))
    n = len(runs) if blocks == "run" else sum(len(one.rows) for one in runs)
    if n < 2:
        return np.full(observed.shape, -1.0), np.full(observed.shape, 1.0)
    if kind == "jackknife":
        left_out = np.array(_one_left_out(runs, each, blocks))
        z = fisher(with_mean(_of(left_out)))
        error = np.sqrt((n - 1) / n * np.square(z - z.mean(0)).sum(0))
    else:
        drawn = [_drawn(runs, each, blocks, rng) for _ in range(n_bootstrap)]
        error = fisher(with_mean(_of(np.array(drawn)))).std(0, ddof=1)
    away = float(stats.t.ppf(0.975, n - 1)) * error
    return np.tanh(observed - away), np.tanh(observed + away)


def _one_left_out(
    runs: Sequence[Sums], each: Sequence[Float[np.ndarray, "network model model"]], blocks: Blocks
) -> list[Float[np.ndarray, "network model model"]]:
    """Sums of products without one block, for every block."""
    total = np.sum(each, axis=0)
    if blocks == "run":
        return [total - own for own in each]
    found = []
    for run, own in zip(runs, each, strict=True):
        products, sums, rows = run.products.sum(0), run.sums.sum(0), run.rows.sum()
        for text in range(len(run.rows)):
            rest = sums - run.sums[text]
            left = max(rows - run.rows[text], 1.0)
            without = products - run.products[text] - rest[:, :, None] * rest[:, None, :] / left
            found.append(total - own + without)
    return found


def _drawn(
    runs: Sequence[Sums],
    each: Sequence[Float[np.ndarray, "network model model"]],
    blocks: Blocks,
    rng: np.random.Generator,
) -> Float[np.ndarray, "network model model"]:
    """Sums of products over blocks that are drawn with replacement, texts within their run."""
    if blocks == "run":
        return np.sum([each[i] for i in rng.integers(len(each), size=len(each))], axis=0)
    total = np.zeros_like(each[0])
    for run in runs:
        texts = rng.integers(len(run.rows), size=len(run.rows))
        total += Sums(run.products[texts], run.sums[texts], run.rows[texts]).covariance()
    return total


def null_draw(runs: Sequence[AlignedRun], kind: Null, rng: np.random.Generator) -> Float[np.ndarray, "network model"]:
    """Correlation of each model with the others once no model keeps the time axis of another.

    Args:
        runs: Courses of every run.
        kind: ``"texts"``, ``"shift"`` or ``"phase"``.
        rng: Source of the draw.
    """
    change = {"texts": _other_texts, "shift": _shifted, "phase": _other_phases}[kind]
    total = None
    for run in runs:
        courses = change(run, rng)
        centred = np.moveaxis(courses - courses.mean(1, keepdims=True), 2, 0)
        products = centred @ centred.transpose(0, 2, 1)
        total = products if total is None else total + products
    assert total is not None
    return _of(total)


def _other_texts(run: AlignedRun, rng: np.random.Generator) -> Courses:
    """Texts of every model but the first trade places; rows beyond the shortest of those that meet are left out."""
    n_models, n_texts = len(run.courses), len(run.lengths)
    alike = np.array_split(np.argsort(run.lengths, kind="stable"), max(n_texts // TRADING, 1))
    orders = np.tile(np.arange(n_texts), (n_models, 1))
    for order in orders[1:]:
        for texts in alike:
            order[texts] = rng.permutation(texts)
    shortest = run.lengths[orders].min(0)
    starts = np.concatenate([[0], np.cumsum(run.lengths)[:-1]])
    # place of every row that is left in its text, and the text that it is in
    text = np.repeat(np.arange(n_texts), shortest)
    place = np.arange(len(text)) - np.repeat(np.cumsum(shortest) - shortest, shortest)
    rows = starts[orders][:, text] + place  # (model, row)
    return np.take_along_axis(run.courses, rows[:, :, None], axis=1)


def _shifted(run: AlignedRun, rng: np.random.Generator) -> Courses:
    """Rows of every model but the first rotated by a number of its own."""
    n = run.courses.shape[1]
    shifts = [0, *rng.integers(n, size=len(run.courses) - 1)]
    return np.array([np.roll(own, int(shift), axis=0) for own, shift in zip(run.courses, shifts, strict=True)])


def _other_phases(run: AlignedRun, rng: np.random.Generator) -> Courses:
    """Every model but the first with random phases, the same in all its networks; spectra stay as they are."""
    n_models, n = run.courses.shape[:2]
    spectrum = np.fft.rfft(run.courses, axis=1)
    phases = rng.uniform(0, 2 * np.pi, size=(n_models, spectrum.shape[1], 1))
    phases[0] = 0.0
    phases[:, 0] = 0.0  # the mean has no phase, and of an even number of rows the highest frequency neither
    if n % 2 == 0:
        phases[:, -1] = np.pi * (phases[:, -1] > np.pi)
    return np.fft.irfft(spectrum * np.exp(1j * phases), n, axis=1)
