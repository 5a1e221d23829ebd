"""One time axis for several models: courses over the same texts, row by row beside each other.

Texts are matched by their condition and their place: the n-th text of a condition in a run is the same in all models,
as blocks of a design go on in its prompts, however many of them a tokenizer lets a block hold. Each text is cut where a
token of every model ends (:mod:`.character_alignment`), and a model's course in such a segment is the mean over its
tokens there. Special tokens have no characters, so that what chat templates put around a text has no part; words of a
template (a default system message) are characters and have to be the same.

Texts that one model has and another lacks, at the end of a run, are left out, as are those of fewer than two segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.character_alignment import segments_of
from tl_fbn.analysis.networks.dual_regression import samples_of
from tl_fbn.analysis.networks.leave_one_out import AlignedRun

RunCourses = tuple[Run, np.ndarray]
"""One run of one model, and its courses (row, network)."""


def aligned_run(runs: Sequence[RunCourses], number: int, drop_first: int) -> AlignedRun:
    """One run of all models on the time axis that they share.

    Args:
        runs: The run in each model, and its courses.
        number: Number of the run, for messages.
        drop_first: Number of segments that are left out at the start of every text.

    Raises:
        InputError: A text differs between models.
    """
    by_model = [_texts_of(run) for run, _ in runs]
    keys = [key for key in by_model[0] if all(key in texts for texts in by_model)]
    parts, lengths = [], []
    for key in keys:
        slices = [texts[key] for texts in by_model]
        tokens = [_tokens_of(run, rows) for (run, _), rows in zip(runs, slices, strict=True)]
        segments = segments_of(tokens, f"text {key[1]} of {key[0] or 'the'} run {number}")
        n = min(int(one.max(initial=-1)) + 1 for one in segments)
        if n - drop_first < 2:
            continue
        means = [
            _segment_means(courses[rows], own, n)
            for (_, courses), rows, own in zip(runs, slices, segments, strict=True)
        ]
        parts.append(np.array(means)[:, drop_first:])
        lengths.append(n - drop_first)
    n_networks = runs[0][1].shape[1]
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((len(runs), 0, n_networks))
    return AlignedRun(joined, np.array(lengths, dtype=int))


def _texts_of(run: Run) -> dict[tuple[str, int], slice]:
    """Condition and place among its texts in the run, to the rows of the text."""
    kinds = run.rows.get("trial_type")
    found: dict[tuple[str, int], slice] = {}
    counts: dict[str, int] = {}
    for _, rows in samples_of(run, "prompt"):
        kind = "" if kinds is None else str(kinds.iloc[rows.start])
        found[kind, counts.setdefault(kind, 0)] = rows
        counts[kind] += 1
    return found


def _tokens_of(run: Run, rows: slice) -> list[str]:
    """Tokens of a text, special ones without characters; without a column of tokens rows are taken as they are."""
    if "token" not in run.rows:
        return [""] * (rows.stop - rows.start)
    tokens = run.rows["token"].iloc[rows].astype(str)
    if "flags" in run.rows:  # what a chat template puts around a text is another in every model
        tokens = tokens.mask(run.rows["flags"].iloc[rows].astype(str).str.contains(r"\b(?:special|bos)\b"), "")
    return tokens.tolist()


def _segment_means(
    courses: Float[np.ndarray, "row network"], segment: Int[np.ndarray, " row"], n: int
) -> Float[np.ndarray, "segment network"]:
    """Mean course over the tokens of each segment."""
    inside = (segment >= 0) & (segment < n)
    sums = np.zeros((n, courses.shape[1]))
    np.add.at(sums, segment[inside], courses[inside])
    return sums / np.maximum(np.bincount(segment[inside], minlength=n), 1)[:, None]


def of_variance_one(runs: Sequence[AlignedRun]) -> list[AlignedRun]:
    """Courses centred within runs and of norm 1 over all rows; one that never varies becomes NaN.

    Args:
        runs: All runs of all models.
    """
    centred = [one.courses - one.courses.mean(1, keepdims=True) for one in runs]
    norms = np.sqrt(sum(np.square(one).sum(1) for one in centred))
    largest = np.max([np.abs(one.courses).max(1) for one in runs], axis=0)
    # what is left of a constant is rounding
    rows = sum(one.courses.shape[1] for one in runs)
    scale = np.where(norms > 1e-12 * largest * np.sqrt(rows), norms, np.nan)[:, None]
    return [AlignedRun(one / scale, run.lengths) for one, run in zip(centred, runs, strict=True)]
