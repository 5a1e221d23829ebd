"""What a paper claims, beside what was found here: one line a claim.

A claim is told by one number, with its 95 % interval where there is one, beside the same number of a control that the
paper does not have. The verdict is read off the numbers by a rule that the reading states; a claim may hold, hold in
part, or not hold *here*: on this model, with these prompts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

Verdict = Literal["holds", "holds in part", "does not hold", "not tested"]


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, and what speaks for it here.

    Args:
        claim: What the paper claims, in one sentence.
        paper: The paper's own figure, in words; "no figure known" where there is none.
        measure: What the number is, with its unit.
        found: The number here.
        verdict: Whether the claim holds here.
        reading: What the verdict was read off, in one or two sentences.
        control: What a control that the paper does not have gives; NaN where there is none.
        beside: What the control is, in words.
        low: Lower end of the 95 % interval of ``found``; NaN where there is none.
        high: Upper end of it.
        p: Chance of a number as large if there were nothing, as the reading says; NaN where it was not tested.
        n: What the number was taken over, in words.
    """

    claim: str
    paper: str
    measure: str
    found: float
    verdict: Verdict
    reading: str
    control: float = math.nan
    beside: str = ""
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    n: str = ""


COLUMNS = ("claim", "paper", "measure", "found", "low", "high", "control", "beside", "p", "n", "verdict", "reading")
"""Columns of a table of claims, as :class:`Claim` says them."""


def table_of_claims(claims: Sequence[Claim]) -> pd.DataFrame:
    """Claims as a table with the columns of :data:`COLUMNS`.

    Args:
        claims: The claims, in the order in which they are told.
    """
    return pd.DataFrame([asdict(one) for one in claims], columns=list(COLUMNS))


def judged(holds: bool | np.bool_, in_part: bool | np.bool_ = False) -> Verdict:
    """A verdict from two answers.

    Args:
        holds: Whether all that the claim needs is there.
        in_part: Whether some of it is.
    """
    return "holds" if holds else "holds in part" if in_part else "does not hold"


def mean_interval(values: Float[np.ndarray, " case"]) -> tuple[float, float]:
    """95 % t interval of a mean over cases such as tasks; NaN where there is one case only.

    Args:
        values: One number a case.
    """
    if len(values) < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def sign_flip_p(values: Float[np.ndarray, " case"]) -> float:
    """Exact one-sided p of a mean above 0: the share of all signs of the cases with a mean at least as large.

    Args:
        values: One number a case, of at most 16 cases.
    """
    signs = np.array(list(itertools.product((1, -1), repeat=len(values))))
    means = signs @ values / len(values)
    return float((means >= values.mean() - 1e-12).mean())
