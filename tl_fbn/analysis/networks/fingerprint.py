"""Are two models relatives? Compare what their networks do over the same texts.

    fingerprint(recording_a, recording_b, n_components=16, seed=0)

Each model's networks are found by ICA of its own recording; a network's course is the mean of its members. Every network of one is compared with every
network of the other by the Spearman correlation of their courses, text by text, averaged over texts, without its sign, which is a convention; it depends neither on the order of neurons nor on the
scale of activations. The *score* is the mean over the best one-to-one pairing of the smaller set of networks.

Where tokenizers differ, courses are aligned by characters: a token of the first text is compared with the token of the second that holds its last
character. (The notebook this follows cuts the longer text to the length of the shorter.)

Two nulls, two questions. *Mismatched texts* (text n of one model against text m of the other) say whether the models follow the same text at all; any two readers of
English do. Whether they are *relatives* is decided against unrelated models: :func:`calibrate_fingerprint` takes scores of pairs known to be related or not, and gives the
threshold with fewest errors, and the error rates.

Source: the sibling of Liu et al. (2025) on fingerprints; its recipe as in its notebook, see ``fbn.presets.s0_fnf``.
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
from tl_fbn.analysis.networks.dual_regression import samples_of
from tl_fbn.analysis.networks.time_courses import time_courses
from tl_fbn.errors import InputError
from tl_fbn.units import Atlas, html_table
from tl_fbn.units.prose import NOT_RECORDED
from tl_fbn.units.result import Result


@dataclass(frozen=True, eq=False)
class Fingerprint(Result, step="comparison", picture="fingerprint"):
    """Two models' networks over the same texts.

    Args:
        names: Networks of the first and of the second.
        correlation: (first, second) absolute mean Spearman correlation of courses over texts; the sign of a network is a convention.
        null: (draw,) scores of mismatched texts.
        n_texts: Texts compared.
        provenance: Both recordings.
    """

    names: tuple[tuple[str, ...], tuple[str, ...]]
    correlation: Float[np.ndarray, "first second"]
    null: Float[np.ndarray, " draw"]
    n_texts: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean correlation of the best one-to-one pairing."""
        return _score(self.correlation)

    @property
    def best(self) -> float:
        """The largest correlation of any pair (the paper's number)."""
        return float(np.nanmax(self.correlation))

    @property
    def n_above(self) -> int:
        """Pairs above .5 (the notebook's count)."""
        return int((self.correlation > 0.5).sum())

    @property
    def p(self) -> float:
        """Share of mismatched texts with as high a score: whether both follow the text, not whether they are relatives."""
        return float((1 + (self.null >= self.score).sum()) / (1 + len(self.null)))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a pair of the best pairing, best first: a, b, correlation."""
        rows, columns, _ = _paired(self.correlation)
        lines = [
            (self.names[0][i], self.names[1][j], self.correlation[i, j]) for i, j in zip(rows, columns, strict=True)
        ]
        return pd.DataFrame(lines, columns=["a", "b", "correlation"]).sort_values(
            "correlation", ascending=False, ignore_index=True
        )

    def _methods_(self) -> list[str]:
        return [
            f"Two models were compared over {self.n_texts} texts by the best pairing of their networks ({len(self.names[0])} and {len(self.names[1])}; "
            f"absolute Spearman correlation of courses), against {len(self.null)} mismatches of texts (seed {self.provenance.get('seed', NOT_RECORDED)})."
        ]

    def __repr__(self) -> str:
        return (
            f"Fingerprint over {self.n_texts} texts: score {self.score:.3f} (mismatched texts {np.mean(self.null):.3f}, p {self.p:.2g}), best pair "
            f"{self.best:.3f}, {self.n_above} pairs above .5"
        )

    def _repr_html_(self) -> str:
        rows = [(a, b, f"{r:.3f}") for a, b, r in self.to_dataframe().head(10).itertuples(index=False)]
        return html_table(repr(self), ("a", "b", "correlation"), rows)


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
    """Compare two models over the same texts.

    ::

        found = fbn.networks.fingerprint(recording_of_a, recording_of_b, seed=0)  # the same texts, read by both

    Args:
        first: One model's recording, one row a token, prompts in the row table.
        second: The other's, of the same prompts in the same order.
        seed: Seed of the ICA and of the draws of mismatched texts.
        n_components: Networks of each.
        atlases: Networks found before, instead.
        n_null: Draws of mismatched texts.
        **options: Options of :func:`tl_fbn.find_networks`; ten restarts by default, and no noise.

    Raises:
        InputError: Recordings of different numbers of texts, fewer than three, or texts that differ.
    """
    if atlases is None:
        settings: NetworkOptions = {"n_restarts": 10, **options}
        found = [find_networks(one, n_components, seed=seed, n_null=0, **settings) for one in (first, second)]
        atlases = found[0], found[1]
    sides = [_texts(recording, atlas) for recording, atlas in zip((first, second), atlases, strict=True)]
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < 3:
        raise InputError(
            f"the recordings have {len(sides[0])} and {len(sides[1])} texts of at least three tokens; show both models the same three or more"
        )
    pairs = [_aligned(a, b, number) for number, (a, b) in enumerate(zip(*sides, strict=True))]
    correlation = np.abs(np.nanmean([_spearman(a, b) for a, b in pairs], axis=0))
    rng = np.random.default_rng(seed)
    null = []
    courses = [[course for course, _ in side] for side in sides]
    for _ in range(n_null):
        other = _derangement(len(pairs), rng)
        drawn = []
        for i, j in enumerate(other):
            a = courses[0][i]
            b = courses[1][j]
            n = min(len(a), len(b))
            drawn.append(_spearman(a[:n], b[:n]))
        null.append(_score(np.abs(np.nanmean(drawn, axis=0))))
    about = {"first": first.provenance, "second": second.provenance, "n_components": n_components, "seed": seed}
    names = tuple(_full(atlases[0])), tuple(_full(atlases[1]))
    return Fingerprint(names, correlation, np.array(null), len(pairs), about)


def calibrate_fingerprint(related: Sequence[float], unrelated: Sequence[float]) -> dict[str, float]:
    """A threshold of the score, and how often it errs on pairs that are known.

    >>> found = calibrate_fingerprint([0.8, 0.7, 0.6], [0.1, 0.3])
    >>> round(found["threshold"], 2), found["missed"], found["false_alarms"]
    (0.45, 0.0, 0.0)

    Args:
        related: Scores of pairs of relatives.
        unrelated: Scores of pairs that are none.

    Returns:
        threshold (midway between the scores where errors are fewest), missed (share of relatives below it), false_alarms (share of others above
        it), n_related, n_unrelated. Rates of the pairs it was fitted to: optimistic, so mind the numbers.

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
    cuts = np.concatenate([[levels[0] - 1e-9], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1e-9]])
    errors = np.array([(yes < cut).mean() + (no >= cut).mean() for cut in cuts])
    best = np.flatnonzero(errors == errors.min())
    cut = float(cuts[best[len(best) // 2]])
    return {
        "threshold": cut,
        "missed": float((yes < cut).mean()),
        "false_alarms": float((no >= cut).mean()),
        "n_related": len(yes),
        "n_unrelated": len(no),
    }


Text = tuple[np.ndarray, list[str]]


def _full(atlas: Atlas) -> dict[str, Any]:
    """Networks with members; an empty one has no course."""
    found = {name: one for name, one in atlas.items() if len(one)}
    if not found:
        raise InputError("no network of this atlas has a unit; lower the threshold")
    return found


def _texts(recording: Recording, atlas: Atlas) -> list[Text]:
    """Courses (token, network) and tokens of every text."""
    courses = time_courses(recording, _full(atlas))
    found = []
    for run, course in zip(recording, courses, strict=True):
        tokens = run.rows["token"].astype(str).tolist() if "token" in run.rows else [""] * run.n_rows
        for _, rows in samples_of(run, "prompt"):
            if rows.stop - rows.start >= 3:
                found.append((np.asarray(course.layer(0))[rows], tokens[rows]))
    return found


def _aligned(a: Text, b: Text, number: int) -> tuple[np.ndarray, np.ndarray]:
    if a[1] == b[1]:
        return a[0], b[0]
    ends = [np.cumsum([len(_plain(token)) for token in one[1]]) for one in (a, b)]
    texts = ["".join(map(_plain, one[1])) for one in (a, b)]
    shared = min(len(texts[0]), len(texts[1]))
    if not shared or texts[0][:shared] != texts[1][:shared]:
        raise InputError(
            f"text {number} differs between the recordings ({texts[0][:40]!r} and {texts[1][:40]!r}); show both models the same prompts in the same order"
        )
    inside = (ends[0] > 0) & (ends[0] <= shared) & (np.diff(ends[0], prepend=0) > 0)
    partner = np.searchsorted(ends[1], ends[0][inside], "left")  # the token that holds the last character
    return a[0][inside], b[0][partner]


def _plain(token: str) -> str:
    """A token's characters, without what tokenizers put for spaces; special tokens have none."""
    if token.startswith("<") and token.endswith(">"):
        return ""
    return token.replace("\u0120", "").replace("\u2581", "").replace("\u010a", "").replace(" ", "").replace("\n", "")


def _spearman(
    a: Float[np.ndarray, "token first"], b: Float[np.ndarray, "token second"]
) -> Float[np.ndarray, "first second"]:
    ranks = [rankdata(one, axis=0) for one in (a, b)]
    centred = [one - one.mean(0) for one in ranks]
    sizes = [np.linalg.norm(one, axis=0) for one in centred]
    # Spearman is Pearson of ranks; a course that never varies gives NaN
    x, y = (one / np.where(size > 0, size, np.nan) for one, size in zip(centred, sizes, strict=True))
    return x.T @ y


def _score(correlation: Float[np.ndarray, "first second"]) -> float:
    _, _, best = _paired(correlation)
    return float(best.mean())


def _paired(correlation: Float[np.ndarray, "first second"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and correlations of the best one-to-one pairing; a course that never varies pairs last."""
    known = np.nan_to_num(correlation, nan=-1.0)
    rows, columns = linear_sum_assignment(-known)
    return rows, columns, known[rows, columns]


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    while True:
        order = rng.permutation(n)
        if (order != np.arange(n)).all():
            return order
