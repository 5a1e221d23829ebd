"""FastICA on whitened data, by scikit-learn: the rotation in which sources are least Gaussian.

Data are (component, sample) with identity covariance; samples are units for spatial analyses, rows for temporal ones. A rotation is found
from a part of many samples first and refined on all of them: the contrast function is a mean over samples, which some thousand
estimate well enough to begin with.

References: Hyvarinen (1999), the parallel algorithm with symmetric decorrelation; Tichavsky, Koldovsky and Oja (2006), the test of saddle points.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import fastica
from sklearn.exceptions import ConvergenceWarning

ContrastFunction = Literal["logcosh", "exp", "cube"]
_LOOKED_AT = 8192  # samples that say whether a pair is mixed
_GAUSSIAN = 1.0677143880514  # E log(2 cosh x) of a standard normal x


class _Quiet:
    """Holds back scikit-learn's ConvergenceWarning while any thread is inside: Python's own way restores the filters of whichever
    thread entered last, so that side by side some warnings escape and "ignore" may stay behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore", ConvergenceWarning)
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_QUIET = _Quiet()


def rotate(
    white: Float[np.ndarray, "component sample"],
    start: Float[np.ndarray, "component component"],
    *,
    fun: ContrastFunction = "logcosh",
    tol: float = 1e-4,
    max_iter: int = 200,
) -> tuple[Float[np.ndarray, "component component"], bool]:
    """The rotation W, so that W @ white are the sources; and whether it converged.

    Args:
        white: Data of zero mean and identity covariance.
        start: Where to begin.
        fun: Contrast function of FastICA: ``"logcosh"``, ``"exp"`` or ``"cube"``.
        tol: Largest change of a direction at which it stops.
        max_iter: Iterations after which it gives up.
    """
    with _QUIET, np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # "cube" on Gaussian data overflows
        options: dict[str, Any] = {"whiten": False, "w_init": start.astype(white.dtype)}
        options["fun"] = {"logcosh": _logcosh, "cube": _cube}.get(fun, fun)
        try:
            _, rotation, _, n_iter = fastica(white.T, tol=tol, max_iter=max_iter, return_n_iter=True, **options)
        except (ValueError, np.linalg.LinAlgError):  # "cube" on Gaussian data: an update of rank zero, which overflows
            return _nearest_rotation(start), False
    return _nearest_rotation(np.asarray(rotation, dtype=np.float64)), n_iter < max_iter


def begun(
    white: Float[np.ndarray, "component sample"], start: Float[np.ndarray, "component component"]
) -> Float[np.ndarray, "component component"]:
    """A better place to begin: a few steps of the kurtosis contrast, which has fewer wrong turns (two sources mixed half and half) than
    the robust ones that follow it."""
    return rotate(white, start, fun="cube", tol=1e-2, max_iter=5)[0]


def _nearest_rotation(
    matrix: Float[np.ndarray, "component component"],
) -> Float[np.ndarray, "component component"]:
    """The orthogonal matrix nearest to one: scikit-learn's decorrelation loses it where updates vanish, as for Gaussian sources."""
    left, _, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64))
    return left @ right


def _logcosh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """tanh and the mean of its derivative: scikit-learn's own, without its loop over components."""
    g = np.tanh(x, out=x)
    return g, 1.0 - np.einsum("ij,ij->i", g, g) / np.asarray(g.shape[1], dtype=g.dtype)


def _cube(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cube and the mean of its derivative; numpy's power takes several times as long as two products."""
    squares = np.square(x)
    return squares * x, 3.0 * squares.mean(1)


def settled(
    white: Float[np.ndarray, "component sample"], start: Float[np.ndarray, "component component"], **options: Any
) -> tuple[Float[np.ndarray, "component component"], bool]:
    """As :func:`rotate`, and again from better places where sources came out mixed."""
    rotation, converged = rotate(white, start, **options)
    few = white[:, :: -(-white.shape[1] // _LOOKED_AT)]
    for _ in range(3):
        better = unmixed(few, rotation)
        if better is None:
            break
        rotation, converged = rotate(white, better, **options)
    return rotation, converged


def unmixed(
    white: Float[np.ndarray, "component sample"], rotation: Float[np.ndarray, "component component"]
) -> Float[np.ndarray, "component component"] | None:
    """The rotation without pairs of sources that are each other's sum and difference; None if it has none.

    FastICA can end there: two sources mixed half and half are a saddle point of its contrast. A pair is turned by 45 degrees where that makes the
    sum of its log-cosh contrasts larger (Tichavsky, Koldovsky and Oja 2006); fourth-order moments, which are three products for all pairs, say which to try.

    Args:
        white: Data of zero mean and identity covariance; some thousand samples are enough.
        rotation: Where FastICA ended.
    """
    sources = rotation.astype(white.dtype) @ white
    squares = np.square(sources)
    n = sources.shape[1]
    fourth = np.square(squares).mean(1, dtype=np.float64)
    both = (squares @ squares.T).astype(np.float64) / n  # E[a a b b]
    uneven = ((squares * sources) @ sources.T).astype(np.float64) / n  # E[a a a b]
    # E[((a + b) / sqrt 2)^4] = even + odd and E[((a - b) / sqrt 2)^4] = even - odd
    even = (fourth[:, None] + fourth + 6 * both) / 4
    odd = uneven + uneven.T
    # squared excess kurtosis (fourth moment - 3) of both members, after and before the turn
    turned = np.square(even + odd - 3) + np.square(even - odd - 3)
    apart = np.square(fourth - 3)
    gain = np.triu(turned - (apart[:, None] + apart), 1)
    taken = set[int]()
    found = np.array(rotation)
    likely = np.argwhere(gain > apart[:, None] + apart)  # of a mixed pair it is three times as much, and more
    for a, b in likely[np.argsort(-gain[tuple(likely.T)])].tolist():
        if a in taken or b in taken:
            continue
        pair = sources[[a, b]]
        mixed = np.stack([pair[0] + pair[1], pair[0] - pair[1]]) / np.sqrt(2, dtype=white.dtype)
        if _contrast(mixed) > 1.1 * _contrast(pair) + 10.0 / n:  # chance gives less
            taken |= {a, b}
            found[[a, b]] = np.stack([rotation[a] + rotation[b], rotation[a] - rotation[b]]) / np.sqrt(2)
    return found if taken else None


def _contrast(sources: Float[np.ndarray, "component sample"]) -> float:
    """How far from Gaussian sources are together, by log cosh."""
    return float(np.square(np.logaddexp(sources, -sources).mean(1, dtype=np.float64) - _GAUSSIAN).sum())


def random_start(n: int, rng: np.random.Generator) -> Float[np.ndarray, "component component"]:
    """A random orthogonal matrix."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def whitening_of(data: Float[np.ndarray, "component sample"]) -> Float[np.ndarray, "component component"]:
    """The symmetric matrix that makes the covariance of centred data the identity."""
    values, vectors = np.linalg.eigh((data @ data.T).astype(np.float64) / data.shape[1])
    return (vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))) @ vectors.T
