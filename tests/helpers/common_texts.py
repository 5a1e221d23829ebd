"""Models that read the same texts: made-up recordings under other tokenizers, and courses on one time axis, with what
nulls and intervals make of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.signal import lfilter

import tl_fbn as fbn
from tests.helpers.recordings import blocks
from tl_fbn.analysis.networks import leave_one_out as loo

Text = tuple[list[str], np.ndarray]  # words, and (word, network) what each word does to networks


def texts(n: int, n_networks: int, seed: int) -> list[Text]:
    """Texts of 8 to 15 made-up words; what words do to networks is drawn."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        words = ["".join(rng.choice(list("abcdefgh"), size=rng.integers(2, 8))) for _ in range(rng.integers(8, 16))]
        found.append((words, rng.normal(size=(len(words), n_networks))))
    return found


def read_by_model(read: Sequence[Text], pieces: int, noise: float, seed: int) -> tuple[fbn.Recording, fbn.Atlas]:
    """A model whose tokens have up to some letters, whose networks of ten units each follow the words, with noise; its
    first token dwarfs all others.
    """
    rng = np.random.default_rng(seed)
    n_networks = read[0][1].shape[1]
    rows, courses = [], []
    for number, (words, effects) in enumerate(read):
        rows.append((number, "<s>"))
        courses.append(np.full(n_networks, 40.0 + rng.normal()))
        for word, effect in zip(words, effects, strict=True):
            for at in range(0, len(word), pieces):
                rows.append((number, ("" if at else "\u0120") + word[at : at + pieces]))
                courses.append(effect + noise * rng.normal(size=n_networks))
    mixing = np.kron(np.eye(n_networks), rng.uniform(0.5, 2.0, 10))  # of a model's own
    y = np.array(courses) @ mixing + 0.3 * rng.normal(size=(len(rows), 10 * n_networks))
    table = pd.DataFrame(rows, columns=["prompt", "token"])
    recording = fbn.Recording.from_arrays([[y]], events=[blocks(["a"], len(y))], rows=[table])
    space = recording.space
    members = {f"N{i}": fbn.Network.from_indices(space, list(range(10 * i, 10 * i + 10))) for i in range(n_networks)}
    return recording, fbn.Atlas.from_networks(members)


def aligned(
    rng: np.random.Generator, n_models: int, n_texts: int, *, shared: float = 0.0, place: float = 0.0, rho: float = 0.5
) -> loo.AlignedRun:
    """One run of one network: AR(1) within texts of 5 to 15 rows, of which a share of the variance is common to all
    models; and what all texts begin with.
    """
    lengths = rng.integers(5, 16, size=n_texts)

    def course() -> np.ndarray:
        parts = [lfilter([1.0], [1.0, -rho], rng.normal(size=n + 20))[20:] for n in lengths]
        return np.concatenate(parts) * np.sqrt(1 - rho**2)

    common = course()
    beginning = np.concatenate([place * np.exp(-np.arange(n) / 2) for n in lengths])
    own = [np.sqrt(shared) * common + np.sqrt(1 - shared) * course() + beginning for _ in range(n_models)]
    courses = np.array(own)
    courses = courses - courses.mean(1, keepdims=True)
    return loo.AlignedRun((courses / np.linalg.norm(courses, axis=1, keepdims=True))[:, :, None], lengths)


def mean_correlation(run: loo.AlignedRun) -> float:
    """Mean over models of the correlation with all others."""
    return float(loo.leave_one_out(loo.pair_correlations(loo.sums_of(run).covariance())).mean())


def true_correlation(n_models: int, shared: float) -> float:
    """The same for endless texts: of one model with the mean of n - 1 others, each pair correlated by the share."""
    others = n_models - 1
    return others * shared / np.sqrt(others + others * (others - 1) * shared)


def rejected(null: loo.Null, n_models: int, n_texts: int, place: float, trials: int, *, n_null: int = 59) -> float:
    """How often p <= .05 where models have nothing in common but what texts begin with."""
    rng = np.random.default_rng([n_models, n_texts])
    hits = 0
    for _ in range(trials):
        run = aligned(rng, n_models, n_texts, place=place)
        drawn = np.array([loo.null_draw([run], null, rng).mean() for _ in range(n_null)])
        hits += (1 + np.sum(drawn >= mean_correlation(run))) / (1 + n_null) <= 0.05
    return hits / trials


def covered(kind: loo.IntervalKind, n_models: int, n_texts: int, shared: float, trials: int) -> float:
    """How often the 95 % interval of the mean correlation holds the true one."""
    rng = np.random.default_rng([n_models, n_texts, int(100 * shared)])
    truth = true_correlation(n_models, shared)
    hits = 0
    for _ in range(trials):
        sums = [loo.sums_of(aligned(rng, n_models, n_texts, shared=shared))]
        low, high = loo.block_interval(sums, "text", kind, 200, rng)
        hits += low[0, -1] <= truth <= high[0, -1]
    return hits / trials
