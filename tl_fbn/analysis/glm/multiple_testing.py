"""From statistics to decisions: p and z of t and F values, correction for many units, and the units that pass.

What is controlled, and by which method (the corrections are statsmodels'):

- ``fdr`` (false discovery rate) is Benjamini and Hochberg's (1995) by default: of the units returned, an expected
  share of at most q are false, also under the positive dependence usual among neurons. ``"by"`` (Benjamini and
  Yekutieli 2001) holds under any dependence. ``"layers"`` selects layers first, then units in them (Benjamini and
  Bogomolov 2014): the average share of false units over the layers selected is at most q, and a layer full of effects
  does not lower the bar in the others;
- ``fwe`` (family-wise error) is Holm's (1979) by default: the chance of even one false unit is at most alpha, under any
  dependence. ``"bonferroni"`` is its simpler and weaker form;
- ``top`` (:meth:`.Contrast.threshold`) selects the largest and claims nothing.

A threshold says which units differ between conditions, not that they matter for the task.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from tl_fbn.errors import InputError

CorrectionMethod = Literal["bh", "by", "layers", "holm", "bonferroni"]
_METHODS: dict[str, dict[str, str]] = {
    "fdr": {"bh": "fdr_bh", "by": "fdr_by", "layers": ""},
    "fwe": {"holm": "holm", "bonferroni": "bonferroni"},
}


def t_to_p(t: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """Two-sided p of t values; 1 where t is not a number (units that never vary)."""
    return np.where(np.isnan(t), 1.0, 2.0 * stats.t.sf(np.abs(t), dof))


def t_to_z(t: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """The normal deviate with the same tail probability and sign; finite for every finite t, and 0 where t is NaN.

    Where the tail underflows, its logarithm comes from the hypergeometric form of the incomplete beta function.
    """
    size = np.abs(np.where(np.isfinite(t), t, 0.0))
    with np.errstate(divide="ignore"):
        log_tail = np.log(stats.t.sf(size, dof))
    far = log_tail < -700.0  # exp(-745) is the smallest float
    # P(T > t) = I_x(dof / 2, 1 / 2) / 2 with x = dof / (dof + t^2)
    log_tail[far] = np.log(0.5) + _log_beta_tail(dof / 2, 0.5, dof / (dof + size[far] ** 2))
    # an infinite t has an infinite z
    return np.where(np.isinf(t), t, np.sign(np.nan_to_num(t)) * -special.ndtri_exp(log_tail))


def f_to_p(f: Float[np.ndarray, " unit"], numerator: int, dof: float) -> Float[np.ndarray, " unit"]:
    """p of F values; 1 where F is not a number."""
    return np.where(np.isnan(f), 1.0, stats.f.sf(f, numerator, dof))


def f_to_z(f: Float[np.ndarray, " unit"], numerator: int, dof: float) -> Float[np.ndarray, " unit"]:
    """The normal deviate with the same upper tail; finite for every finite F, and 0 where F is not a number."""
    value = np.where(np.isfinite(f), f, 0.0)
    with np.errstate(divide="ignore"):
        log_tail = np.log(stats.f.sf(value, numerator, dof))
    far = log_tail < -700.0  # exp(-745) is the smallest float
    # P(F > f) = I_x(dof / 2, numerator / 2) with x = dof / (dof + numerator * f)
    log_tail[far] = _log_beta_tail(dof / 2, numerator / 2, dof / (dof + numerator * value[far]))
    # an infinite F has an infinite z
    return np.where(np.isnan(f), 0.0, np.where(np.isinf(f), f, -special.ndtri_exp(log_tail)))


def explained_share(size: Float[np.ndarray, " unit"], dof: float) -> Float[np.ndarray, " unit"]:
    """``size / (size + dof)``: the share of variance behind ``t**2``, or F times its numerator; 1 where infinite."""
    finite = np.where(np.isfinite(size), size, 0.0)
    return np.where(np.isinf(size), 1.0, finite / (finite + dof))


def _log_beta_tail(a: float, b: float, x: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " unit"]:
    """Log of the regularised incomplete beta function I_x(a, b), for values too small for a float."""
    # I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) * 2F1(a + b, 1; a + 1; x)
    series = special.hyp2f1(a + b, 1.0, a + 1.0, x)
    # scipy gives up on the series for dof near 1e6, where it is close to that of a geometric one
    series = np.where(np.isfinite(series), series, 1.0 / (1.0 - x * (a + b) / (a + 1.0)))
    return np.log(series) + a * np.log(x) + b * np.log1p(-x) - np.log(a) - special.betaln(a, b)


def significant(
    p: Float[np.ndarray, " unit"],
    *,
    fdr: float | None = None,
    fwe: float | None = None,
    method: CorrectionMethod | None = None,
    layers: Int[np.ndarray, " unit"] | None = None,
) -> Bool[np.ndarray, " unit"]:
    """Which units pass a corrected threshold.

    Args:
        p: (unit,) uncorrected p values.
        fdr: False discovery rate: expected share, between 0 and 1, of false units among those that pass.
        fwe: Family-wise error: chance, between 0 and 1, that any false unit passes.
        method: The correction. With ``fdr``: ``"bh"`` (default), ``"by"`` or ``"layers"``; with ``fwe``: ``"holm"``
            (default) or ``"bonferroni"``.
        layers: (unit,) layer of every unit; needed by ``method="layers"`` only.

    Returns:
        (unit,) True for units that pass.

    Raises:
        InputError: Not exactly one of fdr and fwe is given, it is not between 0 and 1, or the method does not control
            it.
    """
    given = {name: level for name, level in (("fdr", fdr), ("fwe", fwe)) if level is not None}
    if len(given) != 1:
        raise InputError(f"threshold takes exactly one of fdr= and fwe= (or top=); got {given or 'none'}")
    ((name, level),) = given.items()
    if not 0 < level < 1:
        raise InputError(f"{name}={level} is no error rate; give a number between 0 and 1, e.g. {name}=0.05")
    allowed = _METHODS[name]
    if method is not None and method not in allowed:
        raise InputError(f"method={method!r} does not control {name}; methods for {name}: {', '.join(allowed)}")
    if method == "layers":
        assert layers is not None
        return _layers_then_units(p, level, layers)
    return np.asarray(multipletests(p, level, method=allowed[method or next(iter(allowed))])[0], dtype=bool)


def _layers_then_units(
    p: Float[np.ndarray, " unit"], level: float, layers: Int[np.ndarray, " unit"]
) -> Bool[np.ndarray, " unit"]:
    """Benjamini-Hochberg over layers, then over units of each layer selected, at ``level`` times the share selected."""
    present = np.unique(layers)
    simes = []
    for layer in present:
        # Simes: min over i of n p_(i) / i tests whether all n units of the layer are without effect
        own = np.sort(p[layers == layer])
        simes.append(float((own * len(own) / np.arange(1, len(own) + 1)).min()))
    chosen = multipletests(np.minimum(simes, 1.0), level, method="fdr_bh")[0]
    passed = np.zeros(len(p), dtype=bool)
    # the share of layers selected makes up for having selected them (Benjamini and Bogomolov 2014)
    for layer in present[chosen]:
        own = layers == layer
        passed[own] = multipletests(p[own], level * chosen.mean(), method="fdr_bh")[0]
    return passed
