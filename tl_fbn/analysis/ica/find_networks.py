"""Functional networks by independent component analysis: units that act together, whatever the task.

Rows of all runs, stacked, are a matrix X (row, unit) = courses (row, network) x maps (network, unit), in one of three
readings:

- ``"spatial"`` (default): maps are independent over units. Each unit is centred within runs, each row over units; the
  leading singular vectors (:mod:`.reduction`) are rotated by FastICA (:mod:`.fastica`).
- ``"temporal"``: courses are independent over rows, and a network's map is its loading in every unit (Liu et al. 2025,
  first version).
- ``"canica"``: spatial, within the subspace that runs share (:mod:`.group_ica`; Varoquaux et al. 2010), from the
  restart whose worst map is sparsest.

``n_restarts`` resampled analyses (:mod:`.icasso`; Himberg et al. 2004) decide where the final rotation begins and how
far each network can be trusted: ``atlas.stability`` is the index Iq, near 1 for a network that always comes back,
``atlas.stability_p`` the share of networks of noise that are as stable. Units with large values in a map are the
members of its network (:mod:`.membership`).

Units: maps are z-scores over units. The sign of a component is arbitrary; here its heavier tail is positive. Networks
are in order of the share of variance they explain (with ``"canica"``, of the stacked maps of runs), the largest first.

``across_layers=False`` decomposes every layer by itself; a number w decomposes every window of w neighbouring layers.

Activations are prepared first (:mod:`tl_fbn.units.preparation`): the first row of every context is left out, each unit
divided by its robust spread, and what is beyond five spreads clipped. Without this the first networks of a language
model are its first token, which holds most of all variance, and few others are stable. The atlas keeps how it was
done, and is laid on other recordings in the same way.

Cost: a pass for centres and spreads, two or three over the data, then some thousand samples a restart. Memory:
``n_components + 10`` maps. It does not choose the number of networks (:mod:`.model_order`), and it knows nothing of
conditions: whether a network follows a task is another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition.recording.massive import massive_units_of
from tl_fbn.acquisition.recording.massive_units import as_provenance, warn_of_massive_units
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.analysis.ica.fastica import ContrastFunction, kurtosis_start, random_start, rotate_past_saddles
from tl_fbn.analysis.ica.group_ica import common_subspace
from tl_fbn.analysis.ica.icasso import (
    SAMPLES,
    RotationSettings,
    centrotypes,
    clusters,
    indices,
    noise_restarts,
    restart_maps,
)
from tl_fbn.analysis.ica.membership import MembershipRule, cut
from tl_fbn.analysis.ica.reduction import Reduced, reduce_recording
from tl_fbn.analysis.ica.unit_scales import measured, require_whole_contexts
from tl_fbn.analysis.parallel import BAR_AFTER
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, InputTypeError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitSpace
from tl_fbn.units.preparation import Preparation, Standardize

IcaMethod = Literal["spatial", "temporal", "canica"]


class NetworkOptions(TypedDict, total=False):
    """Keyword arguments of :func:`find_networks` that functions built on it pass on; seed and noise are their own."""

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


@checked
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
    standardize: Standardize = "robust",
    drop_first: int = 1,
    clip: int | float | None = 5,
    fun: ContrastFunction = "logcosh",
    tol: float = 1e-4,
    max_iter: int = 200,
    align: bool = True,
    progress: bool = True,
) -> Atlas:
    """Decompose a recording into networks, without being told its tasks.

    >>> atlas = fbn.find_networks(recording, n_components=8, n_restarts=3, seed=0, progress=False)
    >>> atlas["N00"]
    Network "N00": 24 of 1,152 units (2.08%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 0 1 23
    >>> table = atlas.to_dataframe()[["network", "units", "stability", "stability_p"]]
    >>> table.iloc[[0]].round(2)  # one network of noise in 25 is as stable as N00
      network  units  stability  stability_p
    0     N00     24       0.94         0.04
    >>> bool(table.stability_p[6] > 0.2)  # many networks of noise are as stable as N06
    True

    Args:
        recording: Activations of one site.
        n_components: Number of networks; of every layer or window, where these are decomposed one by one.
        seed: Seed of the random sketches, restarts, resampling and noise; the same seed gives the same networks.
        method: What is independent of what: maps over units (``"spatial"``), courses over rows (``"temporal"``), or
            maps over units within the subspace that runs share (``"canica"``).
        across_layers: Which layers are decomposed together: all of them (True), each by itself (False), or every window
            of so many neighbouring layers (a number).
        n_restarts: Number of resampled analyses; 1 for a single analysis, without a stability.
        n_null: Number of data sets of Gaussian noise that are analysed in the same way, for p; None for as many as make
            20 networks of noise, 0 for none and no p.
        threshold: What makes a unit a member: a number that its \\|z\\| has to reach; ``"percentile"`` for the share
            1 / ``n_components`` of largest magnitudes of all maps together; ``"mixture"`` for units that the wide one
            of two Gaussians, fitted to each map, explains better than the narrow one.
        one_sided: Whether only units of positive value can be members.
        per_layer: Whether members are found in every layer by itself, after z-scoring there if the threshold is a
            number.
        standardize: Whether every unit is divided by its spread over all rows first: True by the standard deviation,
            ``"robust"`` by 1.4826 times the median absolute deviation, False not at all.
        drop_first: Number of rows to leave out at the start of every context; 0 leaves out none. Of a pooled recording,
            with one row a prompt, none are left out.
        clip: Number of spreads (standard deviations, or with ``standardize="robust"`` scaled median absolute
            deviations) beyond which values are clipped; None clips nothing.
        fun: Contrast function of FastICA: ``"logcosh"``, ``"exp"`` or ``"cube"``.
        tol: FastICA stops when no direction changes by more than this, as ``1 - |cosine|``.
        max_iter: Number of iterations after which FastICA stops without having converged.
        align: Whether the heavier tail of every map is made positive; False leaves the sign to chance, as Liu et al.
            (2025) did.
        progress: Whether to show a bar if it takes longer than some seconds.

    Returns:
        Networks ``N00 ...`` by falling share of variance, with maps (network, unit). Its ``converged`` says whether the
        final rotation converged; the repr says so if not. A warning names massive units that networks hold
        (:meth:`tl_fbn.Recording.massive`), whatever the preparation.

    Raises:
        InputError: There are fewer than 2 networks, fewer rows or varying units than networks, one run for
            ``"canica"``, values that are not finite, or options out of range.
    """
    one_of(method, IcaMethod, "method")
    one_of(fun, ContrastFunction, "fun")
    one_of(standardize, (True, False, "robust"), "standardize")
    if not isinstance(recording, Recording):
        raise InputTypeError(
            f"find_networks decomposes a recording; got {type(recording).__name__}. "
            "Scan first, or use Recording.from_arrays"
        )
    n_components = whole_number(n_components, "n_components")
    _check_options(recording, n_components, across_layers, n_restarts, drop_first, clip)
    n_null = -(-20 // n_components) if n_null is None else n_null  # 20 noise networks: a p of .05 can be reached
    preparation = measured(recording, Preparation(drop_first, standardize, None if clip is None else float(clip)))
    require_whole_contexts(recording, drop_first)
    settings = RotationSettings(n_components, method != "temporal", fun, tol, max_iter)
    options: dict[str, Any] = {"preparation": preparation, "n_restarts": n_restarts, "n_null": n_null, "seed": seed}
    windows = _windows(recording, across_layers)
    # steps of the bar: the final rotation and the restarts of data and noise, in every window
    restarts = 0 if n_restarts == 1 else n_restarts + n_null * noise_restarts(n_restarts)
    total = len(windows) * (1 + restarts)
    with tqdm(total=total, desc="networks", unit="rotation", delay=BAR_AFTER, disable=not progress) as bar:
        found = [
            (prefix, _decompose(recording, layers, method, settings, align=align, bar=bar, **options))
            for prefix, layers in windows
        ]
    space = recording.space
    cutting: dict[str, Any] = {"threshold": threshold, "one_sided": one_sided, "per_layer": per_layer}
    names = [f"{prefix}N{i:02d}" for prefix, one in found for i in range(len(one.maps))]
    # Maps of all windows in the whole unit space, 0 in layers that a window does not have. The threshold sees the units
    # of the window only: these zeros would move percentiles and mixtures.
    whole_maps = np.zeros((len(names), space.n_units), dtype=np.float32)
    members = np.zeros(whole_maps.shape, dtype=bool)
    first = 0
    for _, one in found:
        widths = tuple(width if layer in one.layers else 0 for layer, width in enumerate(space.widths))
        units = np.flatnonzero(np.isin(space.layer_of, one.layers))
        stop = first + len(one.maps)
        whole_maps[first:stop, units] = one.maps
        members[first:stop, units] = cut(one.maps, UnitSpace(space.site, widths), **cutting, seed=seed)
        first = stop
    massive = massive_units_of(recording.runs)
    provenance = {
        **recording.provenance,
        **as_provenance(massive),
        "method": f"ica, {method}",
        "n_components": n_components,
        "across_layers": across_layers,
        "n_restarts": n_restarts,
        "seed": seed,
        "threshold": cutting,
        "preparation": {"standardize": standardize, "drop_first": preparation.drop_first, "clip": clip},
        "fun": fun,
    }
    networks = {
        name: Network(space, inside, np.where(inside, np.sign(whole), 0).astype(np.int8), name, provenance)
        for name, inside, whole in zip(names, members, whole_maps, strict=True)
    }
    warn_of_massive_units(networks, dict.fromkeys(networks, massive), stacklevel=3)  # of the caller, above @checked
    noise_iq = [np.quantile(one.null, 0.95) for _, one in found if one.null is not None and len(one.null)]
    # windows have all been measured, or none of them
    stability, p = (
        np.concatenate([one for one in each if one is not None]) if each[0] is not None else None
        for each in zip(*((one.stability, one.p if n_null else None) for _, one in found), strict=True)
    )
    return Atlas(
        space,
        networks,
        whole_maps,
        stability,
        provenance,
        p,
        explained=np.concatenate([one.explained for _, one in found]).astype(float),
        noise_iq=np.array(noise_iq, dtype=float),
        converged=all(one.converged for _, one in found),
        preparation=None if preparation.nothing else replace(preparation, run_centres=None),
    )


@dataclass(frozen=True, eq=False)
class _Decomposition:
    """The networks of one window of layers.

    Args:
        layers: Numbers of the layers that were decomposed.
        maps: (network, unit) z-scores over the units of these layers.
        explained: (network,) share of variance of each network.
        converged: Whether the final rotation converged.
        stability: (network,) index Iq of each network; None for a single analysis.
        p: (network,) share of networks of noise with an Iq as large; None for a single analysis.
        null: (null,) Iq of all networks of noise, in ascending order; None for a single analysis.
    """

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
    settings: RotationSettings,
    *,
    preparation: Preparation,
    n_restarts: int,
    n_null: int,
    seed: int,
    align: bool,
    bar: tqdm,
) -> _Decomposition:
    """The networks of some layers: reduce, restart, rotate, put in order, measure stability."""
    if method == "canica":
        reduced = common_subspace(recording, settings.n_components, layers=layers, preparation=preparation, seed=seed)
        # runs may share fewer directions than networks were asked for
        settings = replace(settings, n_components=min(settings.n_components, len(reduced.singular)))
    else:
        reduced = reduce_recording(
            recording,
            settings.n_components,
            layers=layers,
            spatial=settings.spatial,
            preparation=preparation,
            seed=seed,
        )
    n = settings.n_components
    restarts = None
    clustered = None
    start = None
    if n_restarts > 1:
        restarts = restart_maps(reduced, settings, n_restarts, seed=seed, bar=bar)
        clustered = clusters(restarts)
        typical = _sparsest(restarts, reduced) if method == "canica" else centrotypes(*clustered, restarts)
        # as a rotation: maps of a temporal analysis are loadings, the rotation times the singular values
        start = typical[:, :n] / (1.0 if settings.spatial else reduced.singular[:n])
    coordinates, converged = _rotate_all_samples(reduced, settings, start, seed)
    bar.update()
    # Sum of squares of course times map, c the coordinates of a map in V: |U S c'|^2 = sum_k (s_k c_k)^2 in a spatial
    # analysis; in a temporal one courses are orthonormal and c holds the singular values already.
    weight = np.square(coordinates * (reduced.singular[:n] if settings.spatial else 1.0)).sum(1) / reduced.total
    if reduced.shares is not None:  # maps that runs share: singular values say how well, and not how much of the data
        weight = np.einsum("nc,cd,nd->n", coordinates, reduced.shares[:n, :n], coordinates)
    order = np.argsort(-weight, kind="stable")
    coordinates = coordinates[order]
    explained = weight[order]
    unit_vectors = coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)
    maps = unit_vectors.astype(np.float32) @ reduced.right[:n]
    maps = (maps - maps.mean(1, keepdims=True)) / maps.std(1, keepdims=True)
    if align:
        skewness = (np.square(maps) * maps).mean(1, keepdims=True)  # its sign is that of the heavier tail
        maps *= np.where(skewness < 0, -1, 1).astype(np.float32)
    if restarts is None or clustered is None:
        return _Decomposition(layers, maps, explained, converged)
    # restarts have maps in all L coordinates, the final rotation in the first n: the others are 0
    final = np.pad(unit_vectors, ((0, 0), (0, len(reduced.singular) - n)))
    stability, p, null = indices(reduced, settings, restarts, clustered, final, n_null=n_null, seed=seed, bar=bar)
    return _Decomposition(layers, maps, explained, converged, stability, p, null)


def _sparsest(
    restarts: Float[np.ndarray, "restart network component"], reduced: Reduced
) -> Float[np.ndarray, "network component"]:
    """The restart whose worst map has the smallest sum of magnitudes.

    Maps are unit vectors: of those, the one with the smallest sum of magnitudes is the sparsest.
    """
    right = reduced.right[:, :: max(1, reduced.right.shape[1] // SAMPLES)]  # every k-th unit is enough to compare
    worst = [np.abs(one.astype(np.float32) @ right).sum(1).max() for one in restarts]
    return restarts[int(np.argmin(worst))]


def _rotate_all_samples(
    reduced: Reduced, settings: RotationSettings, start: Float[np.ndarray, "network network"] | None, seed: int
) -> tuple[Float[np.ndarray, "network network"], bool]:
    """The final rotation, of all samples: maps in the coordinates of ``reduced.right``, and whether it converged."""
    n = settings.n_components
    rng = np.random.default_rng([seed, 1])
    options: dict[str, Any] = {"fun": settings.fun, "max_iter": settings.max_iter}
    # orthonormal vectors times the square root of the number of samples are white: mean square 1
    if settings.spatial:
        white = reduced.right[:n] * np.float32(np.sqrt(reduced.right.shape[1]))
    else:
        white = reduced.left[:, :n].T * np.sqrt(reduced.n_rows)
    if start is None:  # a single analysis: where there are many samples, a part of them says where to begin
        subsample = white
        if white.shape[1] > 2 * SAMPLES:
            subsample = white[:, np.sort(rng.choice(white.shape[1], SAMPLES, replace=False))]
        start = kurtosis_start(subsample, random_start(n, rng))
        if subsample is not white:
            start, _ = rotate_past_saddles(subsample, start, tol=10 * settings.tol, **options)
    start = np.array(start)
    norms = np.linalg.norm(start, axis=1, keepdims=True)
    start /= np.where(norms > 0, norms, 1.0)
    if np.linalg.matrix_rank(start, tol=1e-6) < n:  # clusters need not span: let chance fill up
        start = start + 1e-3 * random_start(n, rng)
    rotation, converged = rotate_past_saddles(white, start, tol=settings.tol, **options)
    # the loadings of independent courses: X = U S V = (sources, orthonormal) x (rotation S) V
    return (rotation if settings.spatial else rotation * reduced.singular[:n]), converged


def _windows(recording: Recording, across_layers: bool | int) -> list[tuple[str, list[int]]]:
    """The layers that are decomposed together, after the prefix of their networks' names (``"L03"``, ``"L03-05"``)."""
    present = list(recording[0].layers)
    if across_layers is True:
        return [("", present)]
    width = 1 if across_layers is False else across_layers
    found = []
    for first in range(len(present) - width + 1):
        layers = present[first : first + width]
        prefix = f"L{layers[0]:02d}" if width == 1 else f"L{layers[0]:02d}-{layers[-1]:02d}"
        found.append((prefix, layers))
    return found


def _check_options(
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
            f"across_layers={across_layers} layers a window; this recording has {n_layers}, "
            f"so give True, False or 1 to {n_layers}"
        )
    if drop_first < 0 or (clip is not None and not clip > 0):
        raise InputError(f"drop_first={drop_first} must be at least 0, and clip={clip} above 0 or None")
