"""From statistics to decisions: p and z of t values, correction for many units, and the units that remain.

Corrections are statsmodels'. ``fdr`` is Benjamini and Hochberg's (1995): of the units returned, an expected share of at
most q are false, also under the positive dependence usual among neurons. ``fwe`` is Holm's (1979): the chance of even
one false unit is at most alpha, under any dependence. ``top`` selects without a claim.

A threshold says which units differ, not that they matter: a significant map is not a causal one.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

_METHODS = {"fdr": "fdr_bh", "fwe": "holm"}


def t_to_p(t: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """Two-sided p of t values; 1 where t is not a number (units that never vary)."""
    return np.where(np.isnan(t), 1.0, 2.0 * stats.t.sf(np.abs(t), dof))


def t_to_z(t: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """The normal deviate with the same tail probability and sign; finite for every finite t.

    Where the tail underflows, its logarithm comes from the hypergeometric form of the incomplete beta function.
    """
    size = np.abs(np.nan_to_num(t))
    with np.errstate(divide="ignore"):
        log_tail = np.log(stats.t.sf(size, dof))
    far = log_tail < -700.0
    log_tail[far] = _log_tail(size[far], dof)
    return np.sign(np.nan_to_num(t)) * -special.ndtri_exp(log_tail)


def _log_tail(t: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """Log of P(T > t), for tails too small for a float."""
    a, x = dof / 2, dof / (dof + t**2)
    series = special.hyp2f1(a + 0.5, 1.0, a + 1.0, x)
    # scipy gives up on the series for dof near 1e6, where it is close to that of a geometric one
    series = np.where(np.isfinite(series), series, 1.0 / (1.0 - x * (a + 0.5) / (a + 1.0)))
    return np.log(0.5 * series) + a * np.log(x) + 0.5 * np.log1p(-x) - np.log(a) - special.betaln(a, 0.5)


def significant(
    p: Float[np.ndarray, " unit"], *, fdr: float | None = None, fwe: float | None = None
) -> Bool[np.ndarray, " unit"]:
    """Which units pass a corrected threshold.

    Args:
        p: Uncorrected p values.
        fdr: Expected share of false discoveries allowed.
        fwe: Chance of any false discovery allowed.
    """
    given = {name: level for name, level in (("fdr", fdr), ("fwe", fwe)) if level is not None}
    if len(given) != 1:
        raise ValueError(f"threshold takes exactly one of fdr= and fwe= (or top=); got {given or 'none'}")
    ((name, level),) = given.items()
    if not 0 < level < 1:
        raise ValueError(f"{name}={level} is no error rate; give a number between 0 and 1, e.g. {name}=0.05")
    return np.asarray(multipletests(p, level, method=_METHODS[name])[0], dtype=bool)
