"""Are two models relatives? Compare what their networks do while they read the same texts.

::

    found = fbn.networks.fingerprint(recording_of_a, recording_of_b, n_components=16, seed=0)

The networks of each model are found by independent component analysis (ICA) of its own recording, and the time course
of a network is the mean of its members. For network i of the first model and network j of the second,

    correlation(i, j) = | mean over texts of Spearman's rho of their courses in the text |

The absolute value is taken because the sign of an ICA network is a convention. The *score* is the mean correlation over
the best one-to-one pairing of networks (as many pairs as the model with fewer networks has that vary in some text). It
depends neither on the order of neurons nor on the scale of activations.

Where tokenizers differ, courses are aligned by characters: a token of the first model's text is compared with the
token of the second's that holds its last character. (The notebook this follows cuts the longer text to the length of
the shorter.)

Two nulls answer two questions. *Mismatched texts* (text n of one model against text m of the other) tell whether the
models follow the same text at all; any two models that read English do. Whether they are *relatives* is decided against
unrelated models: :func:`calibrate_fingerprint` takes scores of pairs that are known to be related or not, and gives the
threshold with the fewest errors, and its error rates.

Units are not scaled by default, because the same networks then come back from a copy: of the embedded model a permuted,
a pruned and a fine-tuned copy score .98, .64 and .93, models of other seeds .36 and .40; with ``standardize="robust"``
and ``clip=5``, by which weak units count as much as strong ones, .81, .50 and .78, and .35 and .34.

Cost: two ICAs with ``n_restarts`` restarts each, unless ``atlases`` are given; then ``n_null`` Spearman correlations of
every text, (token, network) on both sides.

Source: the paper on functional network fingerprints that goes with Liu et al. (2025), arXiv 2601.22692; the settings of
its notebook are in ``fbn.papers.s0.fingerprint``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.find_networks import NetworkOptions, find_networks
from tl_fbn.analysis.networks.character_alignment import characters
from tl_fbn.analysis.networks.dual_regression import samples_of
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, html_table
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result


@dataclass(frozen=True, eq=False)
class Fingerprint(Result, step="comparison", picture="fingerprint"):
    """Two models' networks compared over the same texts.

    Does the model keep its fingerprint when a network is silenced?

    >>> with fbn.inhibit(model, network):
    ...     lesioned = fbn.Scanner(model).scan(design, "recordings/lesioned", hooks_id="inhibit", progress=False)
    >>> found = fbn.networks.fingerprint(recording, lesioned, atlases=(atlas, atlas), n_null=9, seed=0)
    >>> found.n_texts, bool(found.score > 0.9), found.p
    (109, True, 0.1)
    >>> pairs = found.to_dataframe()
    >>> int((pairs["a"] == pairs["b"]).sum()), len(pairs)  # every network pairs with itself
    (8, 8)

    Args:
        names: Names of the networks of the first model, and of those of the second.
        correlation: (first, second) absolute value of the mean over texts of Spearman's correlation between the courses
            of two networks, 0 to 1; NaN where a course does not vary in any text.
        null: (draw,) scores of draws in which every text of the first model is compared with another text of the
            second.
        n_texts: Number of texts that were compared, each of at least three tokens.
        provenance: Where the numbers came from: both recordings, number of networks, and seed.
    """

    names: tuple[tuple[str, ...], tuple[str, ...]]
    correlation: Float[np.ndarray, "first second"]
    null: Float[np.ndarray, " draw"]
    n_texts: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean correlation over the best one-to-one pairing of networks, at most 1; NaN where none has a correlation.

        A pair of which one course never varies has no correlation, and is left out of the mean.
        """
        return _score(self.correlation)

    @property
    def best(self) -> float:
        """The largest correlation of any two networks, which is the number that the paper reports."""
        known = self.correlation[~np.isnan(self.correlation)]
        return float(known.max()) if known.size else float("nan")

    @property
    def n_above(self) -> int:
        """How many pairs of networks, of all that can be formed, correlate above .5, as the paper's notebook counts."""
        return int((self.correlation > 0.5).sum())

    @property
    def p(self) -> float:
        """Share of draws of mismatched texts with a score as high, the observed one among them.

        It tells whether both models follow the text, not whether they are relatives. NaN where there is no score; a
        draw without a score counts as one as high.
        """
        if np.isnan(self.score):
            return float("nan")
        return float((1 + (~(self.null < self.score)).sum()) / (1 + len(self.null)))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a pair of the best one-to-one pairing, best first: a and b (networks), correlation."""
        rows, columns, _ = _best_pairing(self.correlation)
        lines = [
            (self.names[0][i], self.names[1][j], self.correlation[i, j]) for i, j in zip(rows, columns, strict=True)
        ]
        return pd.DataFrame(lines, columns=["a", "b", "correlation"]).sort_values(
            "correlation", ascending=False, ignore_index=True
        )

    def _methods_(self) -> list[str]:
        return [
            f"Two models were compared over {self.n_texts} texts by the best pairing of their networks "
            f"({len(self.names[0])} and {len(self.names[1])}; "
            f"absolute Spearman correlation of courses), against {len(self.null)} mismatches of texts (seed "
            f"{self.provenance.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        return (
            f"Fingerprint over {self.n_texts} texts: score {self.score:.3f} (mismatched texts "
            f"{np.mean(self.null):.3f}, p {self.p:.2g}), best pair "
            f"{self.best:.3f}, {self.n_above} pairs above .5"
        )

    def _repr_html_(self) -> str:
        rows = [(a, b, f"{r:.3f}") for a, b, r in self.to_dataframe().head(10).itertuples(index=False)]
        return html_table(repr(self), ("a", "b", "correlation"), rows)


@checked
def fingerprint(
    first: Recording,
    second: Recording,
    *,
    seed: int,
    n_components: int = 16,
    atlases: tuple[Atlas, Atlas] | None = None,
    n_null: int = 199,
    **options: Unpack[NetworkOptions],
) -> Fingerprint:
    """Compare two models by what their networks do while they read the same texts.

    Does the model keep its fingerprint when a network is silenced?

    >>> texts = fbn.block_design(tasks, n_runs=1, n_cycles=2, seed=1)
    >>> intact = fbn.Scanner(model).scan(texts, "recordings/intact", progress=False)
    >>> with fbn.inhibit(model, network):
    ...     lesioned = fbn.Scanner(model).scan(texts, "recordings/lesioned", hooks_id="inhibit", progress=False)
    >>> found = fbn.networks.fingerprint(
    ...     intact, lesioned, n_components=4, n_restarts=2, n_null=19, seed=0, progress=False
    ... )
    >>> found  # doctest: +ELLIPSIS
    Fingerprint over 27 texts: score 0.9... (mismatched texts 0.5..., p 0.05), best pair 0.9..., ... pairs above .5

    Args:
        first: Recording of the first model, one row a token, whose table of rows has a column ``prompt``.
        second: Recording of the second model, of the same prompts in the same order. Tokenizers may differ where the
            tables of rows have a column ``token``.
        seed: Seed of the ICA and of the draws of mismatched texts; the same seed gives the same result.
        n_components: Number of networks that are found in each recording.
        atlases: Networks of the first and of the second recording; none are searched for then. Networks without members
            are left out.
        n_null: Number of draws of mismatched texts. The smallest possible p is ``1 / (1 + n_null)``.
        **options: Options of :func:`tl_fbn.find_networks` for both recordings. Here ten restarts are the default, units
            are neither scaled nor clipped unless asked for, and noise is not analysed.

    Returns:
        Correlations of all pairs of networks, with the score and its null.

    Raises:
        InputError: Recordings of different numbers of texts, fewer than three texts of at least three tokens, texts
            that differ, or an atlas whose networks are all empty.
    """
    if atlases is None:
        settings: NetworkOptions = {"n_restarts": 10, "standardize": False, "clip": None, **options}
        found = [find_networks(one, n_components, seed=seed, n_null=0, **settings) for one in (first, second)]
        atlases = found[0], found[1]
    sides = [_texts(recording, atlas) for recording, atlas in zip((first, second), atlases, strict=True)]
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < 3:
        raise InputError(
            f"the recordings have {len(sides[0])} and {len(sides[1])} texts of at least three tokens; show both models "
            "the same three or more"
        )
    pairs = [_aligned_courses(a, b, number) for number, (a, b) in enumerate(zip(*sides, strict=True))]
    # the mean over texts first, then the absolute value: a pair whose sign changes from text to text is no pair
    correlation = np.abs(_mean_over_texts([_spearman(a, b) for a, b in pairs]))
    rng = np.random.default_rng(seed)
    null = []
    courses = [[course for course, _ in side] for side in sides]
    for _ in range(n_null):
        drawn = []
        for i, j in enumerate(_derangement(len(pairs), rng)):
            a = courses[0][i]
            b = courses[1][j]
            # different texts have no tokens in common to align by: both are cut to the length of the shorter
            n = min(len(a), len(b))
            drawn.append(_spearman(a[:n], b[:n]))
        null.append(_score(np.abs(_mean_over_texts(drawn))))
    about = {"first": first.provenance, "second": second.provenance, "n_components": n_components, "seed": seed}
    names = tuple(_networks_with_members(atlases[0])), tuple(_networks_with_members(atlases[1]))
    return Fingerprint(names, correlation, np.array(null), len(pairs), about)


@checked
def calibrate_fingerprint(related: Sequence[float], unrelated: Sequence[float]) -> dict[str, float]:
    """A threshold of the score, and how often it errs on pairs that are known to be related or not.

    >>> found = fbn.networks.calibrate_fingerprint([0.8, 0.7, 0.6], [0.1, 0.3])
    >>> round(found["threshold"], 2), found["missed"], found["false_alarms"]
    (0.45, 0.0, 0.0)

    Args:
        related: Scores of pairs of relatives, at least one.
        unrelated: Scores of pairs of models that are not related, at least one.

    Returns:
        threshold (the cut between scores with the smallest sum of both error rates; the middle one of several), missed
        (share of relatives below it), false_alarms (share of unrelated pairs at or above it), n_related, n_unrelated.
        The rates are those of the pairs that the threshold was fitted to, so they are too low for other pairs, the more
        so the fewer pairs there are.

    Raises:
        InputError: There are no scores of one kind.
    """
    yes = np.asarray(related, dtype=float)
    no = np.asarray(unrelated, dtype=float)
    if not len(yes) or not len(no):
        raise InputError(
            f"calibrate_fingerprint needs scores of both kinds; got {len(yes)} of relatives and {len(no)} of others"
        )
    levels = np.unique(np.concatenate([yes, no]))
    # candidates: below all scores, midway between neighbours, above all scores
    cuts = np.concatenate([[levels[0] - 1e-9], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1e-9]])
    # the sum of both error rates, which does not depend on how many pairs there are of each kind
    errors = np.array([(yes < cut).mean() + (no >= cut).mean() for cut in cuts])
    best = np.flatnonzero(errors == errors.min())
    cut = float(cuts[best[len(best) // 2]])  # the middle of equally good cuts
    return {
        "threshold": cut,
        "missed": float((yes < cut).mean()),
        "false_alarms": float((no >= cut).mean()),
        "n_related": len(yes),
        "n_unrelated": len(no),
    }


Text = tuple[np.ndarray, list[str]]
"""One text as one model reads it: time courses (token, network), and its tokens."""


def _networks_with_members(atlas: Atlas) -> dict[str, Any]:
    """Networks with members; an empty one has no course."""
    found = {name: one for name, one in atlas.items() if len(one)}
    if not found:
        raise InputError("no network of this atlas has a unit; lower the threshold")
    return found


def _texts(recording: Recording, atlas: Atlas) -> list[Text]:
    """Courses (token, network) and tokens of every text."""
    names = list(_networks_with_members(atlas))  # raises where there are none
    columns = [list(atlas).index(name) for name in names]
    courses = time_courses(recording, atlas)  # of the atlas itself, which knows how to prepare activations
    found = []
    for run, course in zip(recording, courses, strict=True):
        # without a column of tokens all are empty and equal: courses are then taken as they are
        tokens = run.rows["token"].astype(str).tolist() if "token" in run.rows else [""] * run.n_rows
        for _, rows in samples_of(run, "prompt"):
            if rows.stop - rows.start >= 3:  # ranks of two tokens correlate by 1 or -1 whatever they are
                found.append((np.asarray(course.layer(0))[rows][:, columns], tokens[rows]))
    return found


def _aligned_courses(a: Text, b: Text, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Courses of one text in both models, token by token of the first; ``number`` names the text in an error."""
    if a[1] == b[1]:
        return a[0], b[0]
    # for every token the number of characters of the text up to its end
    ends = [np.cumsum([len(characters(token)) for token in tokens]) for _, tokens in (a, b)]
    texts = ["".join(map(characters, tokens)) for _, tokens in (a, b)]
    shared = min(len(texts[0]), len(texts[1]))  # one recording may show less of a text than the other
    if not shared or texts[0][:shared] != texts[1][:shared]:
        raise InputError(
            f"text {number} differs between the recordings ({texts[0][:40]!r} and {texts[1][:40]!r}); show both models "
            "the same prompts in the same order"
        )
    # tokens of the first that have characters, all of them within what both recordings show
    inside = (ends[0] > 0) & (ends[0] <= shared) & (np.diff(ends[0], prepend=0) > 0)
    partner = np.searchsorted(ends[1], ends[0][inside], "left")  # the token that holds the last character
    return a[0][inside], b[0][partner]


def _spearman(
    a: Float[np.ndarray, "token first"], b: Float[np.ndarray, "token second"]
) -> Float[np.ndarray, "first second"]:
    """Spearman's correlation of every course of one model with every course of the other."""
    # Spearman is Pearson of ranks (equal values share the mean of their ranks)
    ranks = [rankdata(one, axis=0) for one in (a, b)]
    centred = [one - one.mean(0) for one in ranks]
    norms = [np.linalg.norm(one, axis=0) for one in centred]
    # a course that never varies has no correlation: NaN
    x, y = (one / np.where(norm > 0, norm, np.nan) for one, norm in zip(centred, norms, strict=True))
    return x.T @ y


def _mean_over_texts(
    correlations: Sequence[Float[np.ndarray, "first second"]],
) -> Float[np.ndarray, "first second"]:
    """Mean over the texts in which both courses vary; NaN where there is none."""
    stacked = np.array(correlations)
    counts = (~np.isnan(stacked)).sum(0)
    return np.where(counts > 0, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan)


def _score(correlation: Float[np.ndarray, "first second"]) -> float:
    """Mean correlation of the best one-to-one pairing, over pairs that have one; NaN where none has."""
    _, _, best = _best_pairing(correlation)
    known = best[~np.isnan(best)]
    return float(known.mean()) if known.size else float("nan")


def _best_pairing(correlation: Float[np.ndarray, "first second"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and correlations of the best one-to-one pairing; a course that never varies pairs last."""
    # -1 is below every correlation, so that the sum is largest with as few such pairs as can be
    known = np.nan_to_num(correlation, nan=-1.0)
    # the Hungarian algorithm finds the pairing with the smallest sum, here of negative correlations
    rows, columns = linear_sum_assignment(-known)
    return rows, columns, correlation[rows, columns]


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of n texts in which none keeps its place."""
    # drawn until one fits: about 1 order in e = 2.7 does, however many texts there are
    while True:
        order = rng.permutation(n)
        if (order != np.arange(n)).all():
            return order
