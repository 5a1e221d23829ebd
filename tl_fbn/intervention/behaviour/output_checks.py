"""What an accuracy hides: is the model still answering, or saying one thing, nothing sensible, or one thing over and over?

A lesion that turns every answer into "yes" leaves half of a yes-or-no task standing, and a parser that finds "acceptable" in "unacceptable" scores
the majority rate whatever is said (S0's CoLA rows). Beside every score stand therefore *chance* and *majority* (:mod:`.tasks`) and

``constant``    share of the commonest output. Outputs of several lengths count as the same as far as the shorter goes along with the longest; choices
                are compared by their labels where every item offers the same, and by place in their source; NaN where there is neither (minimal pairs).
                Texts: the share of the commonest token among all that were predicted.
``parsed``      share of outputs that are possible answers. Closed set of answers: one of those, as far as the shorter of the two goes. Open: only tokens
                that some answer of the task uses. Choices: 1, unless likelihoods are not numbers. NaN for texts.
``repetition``  share of outputs that are wrong and *loops*: they end in a block of up to 8 tokens, said at least three times in a row, that makes up half of
                the output or more (greedy decoding's way to degenerate, Holtzman et al. 2020). NaN where no output has three tokens, and for choices and texts.
``flag``        words, empty if nothing is wrong: ``"constant output"`` (a share of .9 or more, and less than half as many exceptions as always giving the commonest
                right answer would have), ``"no better than the majority"`` (one-sided binomial test of the exact match against the higher of chance
                and majority, p > .05), ``"mostly unparsable"`` (less than half), ``"mostly repetition"`` (half or more).

Teacher-forced outputs are one token after true ones, so a loop or a constant shows less there than in free responses (:mod:`.responses`).
Cost: milliseconds a task, and only when asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy import stats

from tl_fbn.intervention.behaviour.tasks import Scores, Task

CONSTANT = 0.9
LONGEST_BLOCK = 8
ALPHA = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class Monitors:
    """What stands beside a score; see :mod:`.monitors` for each."""

    chance: float
    majority: float
    constant: float
    parsed: float
    repetition: float
    flag: str


def monitor(task: Task, scores: Scores) -> Monitors:
    """Chance, majority, constant, parsed, repetition and flag of one task's scores.

    >>> import numpy as np
    >>> from tl_fbn.intervention.behaviour.battery import BatteryItem
    >>> task = Task("t", "answer", tuple(BatteryItem((1,), (answer,)) for answer in [(2,), (2,), (3,)] * 8))
    >>> always = Scores(np.array([True, True, False] * 8), np.zeros(24), np.full((24, 1), 2), np.array([[2], [3]]))
    >>> monitor(task, always).flag
    'constant output; no better than the majority'

    Args:
        task: The task.
        scores: What :meth:`Battery.score` gave for it.

    Returns:
        The numbers, and a flag in words; empty where nothing is wrong.
    """
    repetition = NAN
    if task.kind == "choice":
        winners = scores.outputs[:, 0] if scores.outputs.size else np.full(len(task.items), -1)
        constant = _constant_choice(task, winners)
        parsed = float(np.mean(winners >= 0))
    elif task.kind == "text":
        constant = _constant_token(scores.outputs)
        parsed = NAN
    else:
        constant = constant_share(scores.outputs)
        parsed = _parsed(scores, closed=bool(task.labels))
        if scores.outputs.shape[1] >= 3:
            repetition = float(np.mean(loops(scores.outputs) & ~scores.exact_match))
    flag = flags(task, scores.of("exact_match"), constant, parsed, repetition)
    return Monitors(task.chance, task.majority, constant, parsed, repetition, flag)


def flags(task: Task, exact_match: float, constant: float, parsed: float, repetition: float) -> str:
    """What is wrong, in words; empty if nothing is. NaN is never wrong."""
    majority = 0.0 if np.isnan(task.majority) else task.majority
    n = len(task.items)
    found = []
    if constant >= CONSTANT and 1 - constant < (1 - majority) / 2:
        found.append("constant output")
    if exact_match >= 0 and stats.binom.sf(round(exact_match * n) - 1, n, max(task.chance, majority)) > ALPHA:
        found.append("no better than the majority")
    if parsed < 0.5:
        found.append("mostly unparsable")
    if repetition >= 0.5:
        found.append("mostly repetition")
    return "; ".join(found)


def loops(outputs: Int[np.ndarray, "output token"]) -> Bool[np.ndarray, " output"]:
    """Which outputs end in a block of up to 8 tokens said at least three times in a row, over half of the output or more.

    Args:
        outputs: (output, token), -1 behind the end of each.
    """
    lengths = (outputs >= 0).sum(1)
    found = np.zeros(len(outputs), dtype=bool)
    for length in np.unique(lengths[lengths >= 3]):
        these = np.flatnonzero(lengths == length)
        rows = outputs[these, :length]
        for period in range(1, min(LONGEST_BLOCK, length // 3) + 1):
            tail = rows[:, length - max(3 * period, (length + 1) // 2) :]
            found[these] |= (tail[:, period:] == tail[:, :-period]).all(1)
    return found


def constant_share(outputs: Int[np.ndarray, "output token"]) -> float:
    """Share of the outputs that one and the same output, cut to their lengths, accounts for."""
    if not outputs.size:
        return NAN
    rows, counts = np.unique(outputs, axis=0, return_counts=True)
    if len(rows) == len(outputs) == 1 or (rows[:, -1] >= 0).all():  # of one length
        return float(counts.max() / counts.sum())
    agree = (rows[None] == rows[:, None]) | (rows[None] < 0)  # (candidate, row, token)
    return float((agree.all(2) * counts).sum(1).max() / counts.sum())


def share_of_commonest(said: Sequence[Any]) -> float:
    """Share of the commonest; NaN of none."""
    return max(Counter(said).values()) / len(said) if said else NAN


def _constant_choice(task: Task, winners: Int[np.ndarray, " item"]) -> float:
    chosen = [(item, int(number)) for item, number in zip(task.items, winners, strict=True) if number >= 0]
    shares = [share_of_commonest([item.alternatives[number] for item, number in chosen])] if task.labels else []
    if chosen and all(item.place is not None for item, _ in chosen):
        shares.append(share_of_commonest([item.place_of(number) for item, number in chosen]))
    return max(shares, default=NAN)


def _constant_token(outputs: Int[np.ndarray, "output token"]) -> float:
    said = outputs[outputs >= 0]
    return float(np.bincount(said).max() / len(said)) if len(said) else NAN


def _parsed(scores: Scores, *, closed: bool) -> float:
    outputs = scores.outputs
    answers = scores.answers
    if not outputs.size or not answers.size:
        return NAN
    if closed:
        width = min(outputs.shape[1], answers.shape[1])
        said = outputs[:, None, :width]
        known = answers[None, :, :width]
        return float(((said == known) | (said < 0) | (known < 0)).all(2).any(1).mean())
    return float((np.isin(outputs, answers[answers >= 0]) | (outputs < 0)).all(1).mean())
