"""What an accuracy hides: whether a model still answers, or gives one output whatever is asked, no answer, or a loop.

A lesion that turns every answer into "yes" leaves half of a yes-or-no task standing. A parser that finds "acceptable"
in "unacceptable" gives the majority rate whatever the model says (:mod:`.parsers`). Therefore these stand beside every
score:

============== ======================================================================================================
``chance``     expected exact match of answers dealt out at random (:mod:`.tasks`)
``majority``   exact match of the best constant answer (:mod:`.tasks`)
``constant``   share of the outputs that one and the same output accounts for
``parsed``     share of the outputs that are possible answers of the task
``repetition`` share of the outputs that are wrong and loops
``flag``       what is wrong, in words; empty if nothing is
============== ======================================================================================================

How they are counted:

- *constant*. For answers, outputs of several lengths count as the same where the shorter one agrees with the beginning
  of the longer. Choices are compared by their labels where every item offers the same, and by their place in the source
  (the larger share counts); NaN where there is neither, as for minimal pairs. For texts, the share of the commonest
  token among all that were predicted.
- *parsed*. In a task with a closed set of answers an output has to agree with one of them, as far as the shorter of the
  two goes. In an open task it may hold only tokens that some answer of the task holds. Of choices, every output is
  possible unless a likelihood is not a number. NaN for texts.
- *repetition*. A loop ends in a block of up to 8 tokens (``LONGEST_BLOCK``), said at least three times in a row, over
  half of the output or more: the way in which greedy decoding degenerates (Holtzman et al. 2020). NaN for choices and
  texts, and where no output has three tokens.
- *flag*. "constant output": a share of 0.9 or more (``CONSTANT``), and less than half as many exceptions as the best
  constant answer would leave. "no better than the majority": p > .05 (``ALPHA``) in a one-sided binomial test of the
  exact match against chance or majority, whichever is higher. "mostly unparsable": parsed below one half. "mostly
  repetition": repetition of one half or more.

The thresholds are our choice. Teacher-forced outputs are single tokens after true ones, so that a loop or a constant
shows less in them than in free responses (:mod:`.free_responses`).

Cost: milliseconds a task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from scipy import stats

from tl_fbn.errors import one_of
from tl_fbn.intervention.behaviour.tasks import PER_LENGTH, Scores, Task
from tl_fbn.signatures import checked

CONSTANT = 0.9  # share of the outputs
LONGEST_BLOCK = 8  # tokens
ALPHA = 0.05
NAN = float("nan")
ScoreColumns = Literal["main", "all"]
MAIN_COLUMNS = ("task", "exact_match", "log_likelihood", "n", "chance", "majority", "flag")


@dataclass(frozen=True)
class Monitors:
    """What stands beside the score of a task; the top of this file says how each is counted.

    Args:
        chance: Expected exact match of answers dealt out at random, in [0, 1].
        majority: Exact match of the best constant answer, in [0, 1].
        constant: Share of the outputs that one and the same output accounts for, in [0, 1].
        parsed: Share of the outputs that are possible answers of the task, in [0, 1].
        repetition: Share of the outputs that are wrong and loops, in [0, 1].
        flag: What is wrong, in words, separated by semicolons; empty if nothing is.
    """

    chance: float
    majority: float
    constant: float
    parsed: float
    repetition: float
    flag: str


@checked
def monitor(task: Task, scores: Scores) -> Monitors:
    """Whether a model still answers a task, or gives one output, no answer, or loops.

    >>> sort = battery.tasks["sort"]
    >>> fbn.behaviour.monitor(sort, battery.score(model)["sort"])
    Monitors(chance=0.1, majority=0.1, constant=0.1, parsed=1.0, repetition=0.0, flag='')
    >>> with fbn.inhibit(model, ~network):  # 98 % of all units silenced
    ...     fbn.behaviour.monitor(sort, battery.score(model)["sort"]).flag
    'no better than the majority; mostly unparsable; mostly repetition'

    Args:
        task: The task that was scored.
        scores: The results of this task, from :meth:`tl_fbn.Battery.score`.

    Returns:
        Chance, majority, constant, parsed and repetition, as shares, and a flag in words.
    """
    repetition = NAN
    if task.kind == "choice":
        # number of the alternative that won, -1 where none did
        winners = scores.outputs[:, 0] if scores.outputs.size else np.full(len(task.items), -1)
        constant = _constant_share_of_choices(task, winners)
        parsed = float(np.mean(winners >= 0))
    elif task.kind == "text":
        constant = _constant_share_of_tokens(scores.outputs)
        parsed = NAN
    else:
        constant = constant_share(scores.outputs)
        parsed = _share_of_possible_answers(scores, closed=bool(task.labels))
        if scores.outputs.shape[1] >= 3:
            repetition = float(np.mean(loops(scores.outputs) & ~scores.exact_match))
    flag = flags(task, scores.of("exact_match"), constant, parsed, repetition)
    return Monitors(task.chance, task.majority, constant, parsed, repetition, flag)


def flags(task: Task, exact_match: float, constant: float, parsed: float, repetition: float) -> str:
    """What is wrong with the outputs of a task, in words; empty if nothing is. NaN is never wrong.

    Args:
        task: The task, with its chance and majority.
        exact_match: Share of the items that were answered right.
        constant: Share of the outputs that one and the same output accounts for.
        parsed: Share of the outputs that are possible answers.
        repetition: Share of the outputs that are wrong and loops.
    """
    majority = 0.0 if np.isnan(task.majority) else task.majority
    n = len(task.items)
    found = []
    # a task whose right answers are nearly all the same is rightly answered by a nearly constant output
    if constant >= CONSTANT and 1 - constant < (1 - majority) / 2:
        found.append("constant output")
    # P(at least as many right | rate of the higher of chance and majority), over n items
    if exact_match >= 0 and stats.binom.sf(round(exact_match * n) - 1, n, max(task.chance, majority)) > ALPHA:
        found.append("no better than the majority")
    if parsed < 0.5:
        found.append("mostly unparsable")
    if repetition >= 0.5:
        found.append("mostly repetition")
    return "; ".join(found)


def loops(outputs: Int[np.ndarray, "output token"]) -> Bool[np.ndarray, " output"]:
    """Which outputs are loops: they end in a block of up to 8 tokens, said three times in a row or more.

    The repeated blocks have to make up half of the output or more.

    Args:
        outputs: (output, token) token ids, or other numbers from 0; -1 behind the end of each output.
    """
    lengths = (outputs >= 0).sum(1)
    found = np.zeros(len(outputs), dtype=bool)
    # outputs of one length together: their ends are then in the same column
    for length in np.unique(lengths[lengths >= 3]):
        these = np.flatnonzero(lengths == length)
        rows = outputs[these, :length]
        for period in range(1, min(LONGEST_BLOCK, length // 3) + 1):
            # at least three blocks and half of the output; it is a loop if every token equals the one a block before
            tail = rows[:, length - max(3 * period, (length + 1) // 2) :]
            found[these] |= (tail[:, period:] == tail[:, :-period]).all(1)
    return found


def constant_share(outputs: Int[np.ndarray, "output token"]) -> float:
    """Share of the outputs that one and the same output, cut to their lengths, accounts for.

    Args:
        outputs: (output, token) token ids, -1 behind the end of each output.

    Returns:
        The share, in [0, 1]; NaN without outputs.
    """
    if not outputs.size:
        return NAN
    rows, counts = np.unique(outputs, axis=0, return_counts=True)
    # one output, or all of one length: the commonest row
    if len(rows) == len(outputs) == 1 or (rows[:, -1] >= 0).all():
        return float(counts.max() / counts.sum())
    # a row agrees with a candidate that begins like it; each distinct row is a candidate
    agree = (rows[None] == rows[:, None]) | (rows[None] < 0)  # (candidate, row, token)
    return float((agree.all(2) * counts).sum(1).max() / counts.sum())


def share_of_commonest(outputs: Sequence[Any]) -> float:
    """Share of the commonest output, in [0, 1]; NaN without outputs.

    Args:
        outputs: The outputs, such as labels or texts.
    """
    return max(Counter(outputs).values()) / len(outputs) if outputs else NAN


def _constant_share_of_choices(task: Task, winners: Int[np.ndarray, " item"]) -> float:
    """The larger of two shares: of the commonest chosen label (closed tasks), and of the commonest chosen place."""
    chosen = [(item, int(number)) for item, number in zip(task.items, winners, strict=True) if number >= 0]
    shares = [share_of_commonest([item.alternatives[number] for item, number in chosen])] if task.labels else []
    if chosen and all(item.place is not None for item, _ in chosen):
        shares.append(share_of_commonest([item.place_of(number) for item, number in chosen]))
    return max(shares, default=NAN)


def _constant_share_of_tokens(outputs: Int[np.ndarray, "output token"]) -> float:
    """Share of the commonest token among all tokens of all outputs."""
    tokens = outputs[outputs >= 0]
    return float(np.bincount(tokens).max() / len(tokens)) if len(tokens) else NAN


def _share_of_possible_answers(scores: Scores, *, closed: bool) -> float:
    """Share of the outputs that could be an answer of the task; NaN without outputs or answers."""
    outputs = scores.outputs
    answers = scores.answers
    if not outputs.size or not answers.size:
        return NAN
    if closed:
        width = min(outputs.shape[1], answers.shape[1])
        given = outputs[:, None, :width]
        known = answers[None, :, :width]
        # (output, answer, token): equal, or one of the two has ended; then any answer will do
        return float(((given == known) | (given < 0) | (known < 0)).all(2).any(1).mean())
    # open: every token is one that some answer uses
    return float((np.isin(outputs, answers[answers >= 0]) | (outputs < 0)).all(1).mean())


def score_table(
    tasks: Mapping[str, Task], scores: Mapping[str, Scores], columns: ScoreColumns = "main"
) -> pd.DataFrame:
    """One line a task, as :meth:`tl_fbn.Battery.evaluate` returns them.

    Args:
        tasks: The tasks.
        scores: Their scores, by the same names.
        columns: ``"main"`` for the columns that answer first, which fit a line of 80 characters; ``"all"`` for all.
    """
    one_of(columns, ScoreColumns, "columns")
    per_length = PER_LENGTH if any(task.kind == "choice" for task in tasks.values()) else ()
    lines = [
        {
            "task": name,
            "exact_match": scores[name].of("exact_match"),
            "log_likelihood": scores[name].of("log_likelihood"),
            "n": len(task.items),
            **asdict(monitor(task, scores[name])),
            "perplexity": scores[name].perplexity,
            **{metric: scores[name].of(metric) for metric in per_length},
        }
        for name, task in tasks.items()
    ]
    table = pd.DataFrame(lines)
    if columns == "all":
        return table
    # what only passages have is a column only where there are passages
    passages = any(task.kind == "text" for task in tasks.values())
    return table.filter(items=[*MAIN_COLUMNS, *(["perplexity"] if passages else [])])
