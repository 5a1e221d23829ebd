"""Functional networks by independent component analysis: units that act together, whatever the task.

    atlas = find_networks(recording, n_components=16, seed=0)
    atlas["N03"], atlas.maps, atlas.stability

Rows of all runs, stacked, are a matrix X (row, unit) = courses x maps, in one of three readings:

- ``"spatial"`` (default): maps are independent over units. Each unit is centred within runs, each row over units; the leading singular vectors
  (:mod:`.reduction`) are rotated by FastICA (:mod:`.fastica`).
- ``"temporal"``: courses are independent over rows, and a network's map is its loading in every unit (S0's first version).
- ``"canica"``: spatial, within the subspace that runs share (:mod:`.group_ica`), from the restart whose worst map is sparsest.

``n_restarts`` resampled analyses (:mod:`.icasso`) decide where the final rotation begins and how far each network can be trusted:
``atlas.stability`` is Iq, ``atlas.stability_p`` the share of noise networks as stable. Maps are z-scores over units; the sign of a network is such that
its heavier tail is positive; the first network explains most variance.

``across_layers=False`` decomposes every layer by itself, a number w every window of w neighbouring layers.

Cost: two or three passes over the data, then some thousand samples a restart. Memory: ``n_components + 10`` maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.fastica import ContrastFunction, begun, random_start, settled
from tl_fbn.analysis.ica.group_ica import common_subspace
from tl_fbn.analysis.ica.icasso import SAMPLES, Rotating, centrotypes, clusters, indices, noise_restarts, restart_maps
from tl_fbn.analysis.ica.membership import MembershipRule, cut
from tl_fbn.analysis.ica.reduction import Preparation, Reduced, Standardize, reduce_recording
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.errors import InputError, InputTypeError, one_of
from tl_fbn.units import Atlas, Network, UnitSpace

IcaMethod = Literal["spatial", "temporal", "canica"]


class NetworkOptions(TypedDict, total=False):
    """What :func:`find_networks` takes, beside what makes its noise, for those who pass it on."""

    method: IcaMethod
    across_layers: bool | int
    n_restarts: int
    threshold: int | float | MembershipRule
    one_sided: bool
    per_layer: bool
    standardize: Standardize
    drop_first: int
    clip: int | float | None
    fun: ContrastFunction
    tol: float
    max_iter: int
    align: bool
    progress: bool


def find_networks(
    recording: Recording,
    n_components: int,
    *,
    seed: int,
    method: IcaMethod = "spatial",
    across_layers: bool | int = True,
    n_restarts: int = 20,
    n_null: int | None = None,
    threshold: int | float | MembershipRule = 3.0,
    one_sided: bool = False,
    per_layer: bool = False,
    standardize: Standardize = False,
    drop_first: int = 0,
    clip: int | float | None = None,
    fun: ContrastFunction = "logcosh",
    tol: float = 1e-4,
    max_iter: int = 200,
    align: bool = True,
    progress: bool = True,
) -> Atlas:
    """Decompose a recording into networks.

    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> maps = np.zeros((2, 300))
    >>> maps[0, :12], maps[1, 30:42] = 1, 1  # two networks of 12 units, which act at different times
    >>> activations = rng.laplace(size=(500, 2)) @ maps + 0.1 * rng.normal(size=(500, 300))
    >>> events = pd.DataFrame({"onset": [0], "duration": [500], "trial_type": ["rest"]})
    >>> atlas = find_networks(Recording.from_arrays([[activations]], events=[events]), 2, n_restarts=2, seed=0)
    >>> [(len(network), network.indices[0].item()) for network in atlas.values()]
    [(12, 30), (12, 0)]

    Args:
        recording: Activations of one site.
        n_components: How many networks (of every layer or window, where they are decomposed one by one).
        seed: Seed of the random sketches, restarts, resampling and noise; the same seed gives the same networks.
        method: ``"spatial"``, ``"temporal"`` or ``"canica"``.
        across_layers: True: all layers together; False: each by itself; a number: windows of so many layers.
        n_restarts: Resampled analyses; 1 for a single analysis, without a stability.
        n_null: Noise data sets analysed in the same way, for p; by default as many as make 20 noise networks, 0 for none.
        threshold: What makes a unit a member; see :mod:`.membership`.
        one_sided: Members of the positive tail only.
        per_layer: Score and cut within layers.
        standardize: Divide every unit by its sd over all rows (True), or median and MAD (``"robust"``).
        drop_first: Rows to leave out at the start of every context.
        clip: Clip values beyond so many sds (or MADs).
        fun: FastICA's contrast function.
        tol: FastICA stops when no direction changes by more than this.
        max_iter: Iterations after which FastICA stops without having converged.
        align: Make the heavier tail positive. False leaves the sign to chance, as S0 did.
        progress: Show a bar where it takes longer than some seconds.

    Returns:
        Networks ``N00 ...`` by falling share of variance, with maps (network, unit). Its ``converged`` says whether the final
        rotation did; the repr says so if not.

    Raises:
        InputError: Fewer than 2 networks, fewer rows or varying units than networks, one run for ``"canica"``, values that are not finite,
            or options out of range.
    """
    one_of(method, IcaMethod, "method")
    one_of(fun, ContrastFunction, "fun")
    one_of(standardize, (True, False, "robust"), "standardize")
    if not isinstance(recording, Recording):
        raise InputTypeError(
            f"find_networks decomposes a recording; got {type(recording).__name__}. Scan first, or use Recording.from_arrays"
        )
    if n_components != int(n_components):
        raise InputError(f"n_components={n_components} is no whole number")
    _check(recording, n_components, across_layers, n_restarts, drop_first, clip)
    n_null = -(-20 // n_components) if n_null is None else n_null
    preparation = Preparation(drop_first, standardize, None if clip is None else float(clip))
    how = Rotating(n_components, method != "temporal", fun, tol, max_iter)
    options: dict[str, Any] = {"preparation": preparation, "n_restarts": n_restarts, "n_null": n_null, "seed": seed}
    windows = _windows(recording, across_layers)
    restarts = 0 if n_restarts == 1 else n_restarts + n_null * noise_restarts(n_restarts)
    total = len(windows) * (1 + restarts)
    with tqdm(total=total, desc="networks", unit="rotation", delay=BAR_AFTER, disable=not progress) as bar:
        found = [
            (prefix, _decompose(recording, layers, method, how, align=align, bar=bar, **options))
            for prefix, layers in windows
        ]
    space = recording.space
    cutting: dict[str, Any] = {"threshold": threshold, "one_sided": one_sided, "per_layer": per_layer}
    names = [f"{prefix}N{i:02d}" for prefix, one in found for i in range(len(one.maps))]
    together = np.zeros((len(names), space.n_units), dtype=np.float32)
    members = np.zeros(together.shape, dtype=bool)
    first = 0
    for _, one in found:
        widths = tuple(width if layer in one.layers else 0 for layer, width in enumerate(space.widths))
        where = np.flatnonzero(np.isin(space.layer_of, one.layers))
        stop = first + len(one.maps)
        together[first:stop, where] = one.maps
        members[first:stop, where] = cut(one.maps, UnitSpace(space.site, widths), **cutting, seed=seed)
        first = stop
    provenance = {
        **recording.provenance,
        "method": f"ica, {method}",
        "n_components": n_components,
        "across_layers": across_layers,
        "n_restarts": n_restarts,
        "seed": seed,
        "threshold": cutting,
        "preparation": {"standardize": standardize, "drop_first": drop_first, "clip": clip},
        "fun": fun,
    }
    networks = {
        name: Network(space, inside, np.where(inside, np.sign(whole), 0).astype(np.int8), name, provenance)
        for name, inside, whole in zip(names, members, together, strict=True)
    }
    noise_iq = [np.quantile(one.null, 0.95) for _, one in found if one.null is not None and len(one.null)]
    stability, p = (
        np.concatenate([one for one in each if one is not None]) if each[0] is not None else None
        for each in zip(*((one.stability, one.p if n_null else None) for _, one in found), strict=True)
    )
    return Atlas(
        space,
        networks,
        together,
        stability,
        provenance,
        p,
        explained=np.concatenate([one.explained for _, one in found]).astype(float),
        noise_iq=np.array(noise_iq, dtype=float),
        converged=all(one.converged for _, one in found),
    )


@dataclass(frozen=True, eq=False)
class _Decomposition:
    """The networks of some layers."""

    layers: Sequence[int]
    maps: Float[np.ndarray, "network unit"]
    explained: Float[np.ndarray, " network"]
    converged: bool
    stability: Float[np.ndarray, " network"] | None = None
    p: Float[np.ndarray, " network"] | None = None
    null: Float[np.ndarray, " null"] | None = None


def _decompose(
    recording: Recording,
    layers: Sequence[int],
    method: IcaMethod,
    how: Rotating,
    *,
    preparation: Preparation,
    n_restarts: int,
    n_null: int,
    seed: int,
    align: bool,
    bar: tqdm,
) -> _Decomposition:
    if method == "canica":
        reduced = common_subspace(recording, how.n_components, layers=layers, preparation=preparation, seed=seed)
        how = Rotating(min(how.n_components, len(reduced.singular)), True, how.fun, how.tol, how.max_iter)
    else:
        reduced = reduce_recording(
            recording, how.n_components, layers=layers, spatial=how.spatial, preparation=preparation, seed=seed
        )
    several = None
    clustered = None
    start = None
    if n_restarts > 1:
        several = restart_maps(reduced, how, n_restarts, seed=seed, bar=bar)
        clustered = clusters(several)
        typical = _sparsest(several, reduced) if method == "canica" else centrotypes(*clustered, several)
        start = typical[:, : how.n_components] / (1.0 if how.spatial else reduced.singular[: how.n_components])
    coordinates, converged = _final(reduced, how, start, seed)
    bar.update()
    weight = np.square(coordinates * (reduced.singular[: how.n_components] if how.spatial else 1.0)).sum(1)
    order = np.argsort(-weight, kind="stable")
    coordinates, explained = coordinates[order], weight[order] / reduced.total
    unit = coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)
    maps = unit.astype(np.float32) @ reduced.right[: how.n_components]
    maps = (maps - maps.mean(1, keepdims=True)) / maps.std(1, keepdims=True)
    if align:
        skewed = (np.square(maps) * maps).mean(1, keepdims=True)
        maps *= np.where(skewed < 0, -1, 1).astype(np.float32)
    if several is None or clustered is None:
        return _Decomposition(layers, maps, explained, converged)
    whole = np.pad(unit, ((0, 0), (0, len(reduced.singular) - how.n_components)))
    stability, p, null = indices(reduced, how, several, clustered, whole, n_null=n_null, seed=seed, bar=bar)
    return _Decomposition(layers, maps, explained, converged, stability, p, null)


def _sparsest(
    several: Float[np.ndarray, "restart network component"], reduced: Reduced
) -> Float[np.ndarray, "network component"]:
    """The restart whose worst map has the smallest sum of magnitudes."""
    few = reduced.right[:, :: max(1, reduced.right.shape[1] // SAMPLES)]
    worst = [np.abs(one.astype(np.float32) @ few).sum(1).max() for one in several]
    return several[int(np.argmin(worst))]


def _final(
    reduced: Reduced, how: Rotating, start: Float[np.ndarray, "network network"] | None, seed: int
) -> tuple[Float[np.ndarray, "network network"], bool]:
    """The rotation of all samples: maps in the coordinates of ``reduced.right``, and whether it converged."""
    n = how.n_components
    rng = np.random.default_rng([seed, 1])
    options: dict[str, Any] = {"fun": how.fun, "max_iter": how.max_iter}
    if how.spatial:
        white = reduced.right[:n] * np.float32(np.sqrt(reduced.right.shape[1]))
    else:
        white = reduced.left[:, :n].T * np.sqrt(reduced.n_rows)
    if start is None:
        few = white
        if white.shape[1] > 2 * SAMPLES:
            few = white[:, np.sort(rng.choice(white.shape[1], SAMPLES, replace=False))]
        start = begun(few, random_start(n, rng))
        if few is not white:
            start, _ = settled(few, start, tol=10 * how.tol, **options)
    start, rows = np.array(start), np.linalg.norm(start, axis=1, keepdims=True)
    start /= np.where(rows > 0, rows, 1.0)
    if np.linalg.matrix_rank(start, tol=1e-6) < n:  # clusters need not span: let chance fill up
        start = start + 1e-3 * random_start(n, rng)
    rotation, converged = settled(white, start, tol=how.tol, **options)
    return (rotation if how.spatial else rotation * reduced.singular[:n]), converged


def _windows(recording: Recording, across_layers: bool | int) -> list[tuple[str, list[int]]]:
    present = list(recording[0].layers)
    if across_layers is True:
        return [("", present)]
    width = 1 if across_layers is False else across_layers
    found = []
    for first in range(len(present) - width + 1):
        layers = present[first : first + width]
        found.append((f"L{layers[0]:02d}" if width == 1 else f"L{layers[0]:02d}-{layers[-1]:02d}", layers))
    return found


def _check(
    recording: Recording,
    n_components: int,
    across_layers: bool | int,
    n_restarts: int,
    drop_first: int,
    clip: int | float | None,
) -> None:
    if n_components < 2:
        raise InputError(f"n_components={n_components}; independence is between networks, so ask for at least 2")
    if n_restarts < 1:
        raise InputError(f"n_restarts={n_restarts}; give 1 for a single analysis, 20 or more for a stability")
    n_layers = len(recording[0].layers)
    if not isinstance(across_layers, bool) and not 1 <= across_layers <= n_layers:
        raise InputError(
            f"across_layers={across_layers} layers a window; this recording has {n_layers}, so give True, False or 1 to {n_layers}"
        )
    if drop_first < 0 or (clip is not None and not clip > 0):
        raise InputError(f"drop_first={drop_first} must be at least 0, and clip={clip} above 0 or None")
