"""FastICA on whitened data, by scikit-learn: the rotation in which sources are least Gaussian.

Data ``white`` are (component, sample) of zero mean and identity covariance; samples are units for spatial analyses and
rows for temporal ones. FastICA looks for the orthogonal matrix W whose sources s, the rows of ``W @ white``, are
farthest from Gaussian, as far as the mean over samples of a contrast function tells (log cosh by default):

    contrast = sum over sources s of (E log cosh s - E log cosh v)^2,    v standard normal

It is found in steps, because the iteration can also stop at points that are no maximum:

1. :func:`kurtosis_start`: five iterations of the kurtosis contrast (g(s) = s^3) from a random rotation;
2. :func:`rotate`: scikit-learn's parallel algorithm with symmetric decorrelation, to convergence;
3. :func:`rotate_past_saddles`: pairs of sources that came out as each other's sum and difference are turned by 45
   degrees, and step 2 is done again from there, up to three times.

Callers find a rotation from a part of many samples first and refine it on all of them: the contrast is a mean over
samples, which some thousand estimate well enough to begin with.

Units: none, sources have variance 1. Cost: 4 flops a sample and pair of components in every iteration. What it does not
do: whitening (:func:`whitening_of` is the matrix for it), and a choice of the number of components.

References: Hyvarinen (1999), the parallel algorithm with symmetric decorrelation; Tichavsky, Koldovsky and Oja (2006),
the test of saddle points.
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
_MAX_SAMPLES_FOR_PAIRS = 8192  # samples that say whether two sources are mixed
_LOGCOSH_OF_GAUSSIAN = 1.0677143880514  # E log(2 cosh x) of a standard normal x


class _ConvergenceHeard:
    """Hears scikit-learn's ConvergenceWarning, which it holds back, while any thread is inside.

    It is all that scikit-learn says of convergence: the number of iterations is the largest one both for a fit that
    converged in the last of them and for one that did not. ``warnings.catch_warnings`` alone restores the filters of
    whichever thread entered last. Here the first thread in sets filter and handler, the last one out takes them off,
    and the handler notes the thread that warned.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads_inside = 0
        self._filters = warnings.catch_warnings()
        self._show: Any = None
        self._here = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads_inside:
                self._filters = warnings.catch_warnings()  # a fresh one: none can be entered twice
                self._filters.__enter__()
                self._show = warnings.showwarning
                warnings.simplefilter("always", ConvergenceWarning)
                warnings.showwarning = self._hear
            self._threads_inside += 1
        self._here.warned = False

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._threads_inside -= 1
            if not self._threads_inside:
                self._filters.__exit__(None, None, None)

    @property
    def converged(self) -> bool:
        """Whether no warning was given in this thread since it entered."""
        return not self._here.warned

    def _hear(self, message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        """What Python calls to show a warning: one of convergence is noted, others are shown as before."""
        if issubclass(category, ConvergenceWarning):
            self._here.warned = True
        else:
            self._show(message, category, *where, **options)


# one for the process: filters of warnings belong to the process, not to a thread
_CONVERGENCE = _ConvergenceHeard()


def rotate(
    white: Float[np.ndarray, "component sample"],
    start: Float[np.ndarray, "component component"],
    *,
    fun: ContrastFunction = "logcosh",
    tol: float = 1e-4,
    max_iter: int = 200,
) -> tuple[Float[np.ndarray, "component component"], bool]:
    """The rotation W for which ``W @ white`` are the sources, and whether FastICA converged.

    Args:
        white: (component, sample) data of zero mean and identity covariance.
        start: (component, component) orthogonal matrix at which FastICA begins.
        fun: Contrast function of FastICA: ``"logcosh"``, ``"exp"`` or ``"cube"``.
        tol: FastICA stops when every direction w has changed by less than this, as ``1 - |w_new . w_old|``.
        max_iter: Number of iterations after which FastICA stops without having converged.

    Returns:
        The rotation in float64, orthogonal to rounding, and True if it converged in at most ``max_iter`` iterations.
        Where updates overflow it is the start, and False.
    """
    # "cube" on Gaussian data overflows: its updates vanish, and scikit-learn divides by their size
    with _CONVERGENCE, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # data are white already; a start in their own precision, so that products of float32 data stay float32
        options: dict[str, Any] = {"whiten": False, "w_init": start.astype(white.dtype)}
        options["fun"] = {"logcosh": _logcosh, "cube": _cube}.get(fun, fun)
        try:
            rotation = fastica(white.T, tol=tol, max_iter=max_iter, **options)[1]
        except (ValueError, np.linalg.LinAlgError):  # "cube" on Gaussian data: an update of rank zero, which overflows
            return _nearest_rotation(start), False
        converged = _CONVERGENCE.converged
    return _nearest_rotation(np.asarray(rotation, dtype=np.float64)), converged


def kurtosis_start(
    white: Float[np.ndarray, "component sample"], start: Float[np.ndarray, "component component"]
) -> Float[np.ndarray, "component component"]:
    """A better rotation to begin at: a few iterations of the kurtosis contrast from a given one.

    The kurtosis contrast ends less often at two sources mixed half and half than the robust contrasts that follow it.
    """
    return rotate(white, start, fun="cube", tol=1e-2, max_iter=5)[0]


def _nearest_rotation(
    matrix: Float[np.ndarray, "component component"],
) -> Float[np.ndarray, "component component"]:
    """The orthogonal matrix nearest to a given one.

    scikit-learn's decorrelation loses orthogonality where updates vanish, as for Gaussian sources.
    """
    # polar decomposition: of L D R' the factor L R' is orthogonal and nearest in the sum of squares
    left, _, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64))
    return left @ right


def _logcosh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative g = tanh of log cosh, and the mean of g': scikit-learn's own, without its loop over components."""
    g = np.tanh(x, out=x)  # in place: x is a product that scikit-learn made for this call
    # g' = 1 - tanh^2; its mean over samples is 1 - sum g^2 / n, for every component in one contraction
    return g, 1.0 - np.einsum("ij,ij->i", g, g) / np.asarray(g.shape[1], dtype=g.dtype)


def _cube(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cube and the mean of its derivative; numpy's power takes several times as long as two products."""
    squares = np.square(x)
    return squares * x, 3.0 * squares.mean(1)


def rotate_past_saddles(
    white: Float[np.ndarray, "component sample"], start: Float[np.ndarray, "component component"], **options: Any
) -> tuple[Float[np.ndarray, "component component"], bool]:
    """The rotation of :func:`rotate`, found again from a better start where sources came out mixed.

    Args:
        white: (component, sample) data of zero mean and identity covariance.
        start: (component, component) orthogonal matrix at which FastICA begins.
        **options: Options ``fun``, ``tol`` and ``max_iter`` of :func:`rotate`.
    """
    rotation, converged = rotate(white, start, **options)
    subsample = white[:, :: -(-white.shape[1] // _MAX_SAMPLES_FOR_PAIRS)]  # every k-th sample
    for _ in range(3):  # the new rotation may stop at another saddle; a limit bounds the cost
        better_start = split_mixed_pairs(subsample, rotation)
        if better_start is None:
            break
        rotation, converged = rotate(white, better_start, **options)
    return rotation, converged


def split_mixed_pairs(
    white: Float[np.ndarray, "component sample"], rotation: Float[np.ndarray, "component component"]
) -> Float[np.ndarray, "component component"] | None:
    """The rotation without pairs of sources that are each other's sum and difference; None if it has none.

    FastICA can end there: two sources mixed half and half are a saddle point of its contrast. A pair (a, b) becomes
    ((a + b) / sqrt 2, (a - b) / sqrt 2), a turn by 45 degrees, where that makes the sum of its log-cosh contrasts
    larger (Tichavsky, Koldovsky and Oja 2006). Fourth-order moments, which are three products for all pairs, say which
    pairs to try.

    Args:
        white: (component, sample) data of zero mean and identity covariance; some thousand samples are enough.
        rotation: (component, component) orthogonal matrix at which FastICA ended.
    """
    sources = rotation.astype(white.dtype) @ white
    squares = np.square(sources)
    n = sources.shape[1]
    fourth = np.square(squares).mean(1, dtype=np.float64)  # E[a^4]
    two_two = (squares @ squares.T).astype(np.float64) / n  # E[a a b b]
    three_one = ((squares * sources) @ sources.T).astype(np.float64) / n  # E[a a a b]
    # E[((a + b) / sqrt 2)^4] = even + odd and E[((a - b) / sqrt 2)^4] = even - odd
    even = (fourth[:, None] + fourth + 6 * two_two) / 4
    odd = three_one + three_one.T
    # squared excess kurtosis (fourth moment - 3), summed over both members, after and before the turn
    turned = np.square(even + odd - 3) + np.square(even - odd - 3)
    squared_kurtosis = np.square(fourth - 3)
    before = squared_kurtosis[:, None] + squared_kurtosis
    gain = np.triu(turned - before, 1)  # every pair once
    # Sources of kurtosis k and l, mixed half and half, have (k + l) / 4 each: (k + l)^2 / 8 before the turn, and
    # k^2 + l^2 >= (k + l)^2 / 2 after it, so that a mixed pair gains three times what it had, or more.
    likely = np.argwhere(gain > before)
    already_turned = set[int]()
    found = np.array(rotation)
    # the largest gain first; a source is turned with one partner only, for its moments are then no longer these
    for a, b in likely[np.argsort(-gain[tuple(likely.T)])].tolist():
        if a in already_turned or b in already_turned:
            continue
        pair = sources[[a, b]]
        turned_pair = np.stack([pair[0] + pair[1], pair[0] - pair[1]]) / np.sqrt(2, dtype=white.dtype)
        # The robust contrast decides, since a few outliers rule fourth moments. Chance gives less than this margin.
        if _contrast(turned_pair) > 1.1 * _contrast(pair) + 10.0 / n:
            already_turned |= {a, b}
            found[[a, b]] = np.stack([rotation[a] + rotation[b], rotation[a] - rotation[b]]) / np.sqrt(2)
    return found if already_turned else None


def _contrast(sources: Float[np.ndarray, "component sample"]) -> float:
    """How far from Gaussian sources are together: the sum of (E log(2 cosh s) - that of a Gaussian)^2."""
    # log(2 cosh s) = log(e^s + e^-s), which logaddexp computes without overflow
    return float(np.square(np.logaddexp(sources, -sources).mean(1, dtype=np.float64) - _LOGCOSH_OF_GAUSSIAN).sum())


def random_start(n: int, rng: np.random.Generator) -> Float[np.ndarray, "component component"]:
    """A random orthogonal matrix of ``n`` rows, all of them equally likely (Haar measure)."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))  # without these signs Q depends on the conventions of the QR


def whitening_of(data: Float[np.ndarray, "component sample"]) -> Float[np.ndarray, "component component"]:
    """The symmetric matrix C^(-1/2) that makes the covariance C of centred data the identity."""
    values, vectors = np.linalg.eigh((data @ data.T).astype(np.float64) / data.shape[1])
    # C^(-1/2) = V diag(values^(-1/2)) V'; a direction without variance, where rounding may be negative, stays finite
    return (vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))) @ vectors.T
