"""What networks do over time: one number for each network and row, as a recording of its own.

::

    courses = fbn.networks.time_courses(recording, atlas)                     # its units are the networks
    fbn.fit_glm(courses).contrast("sort - reverse").to_dataframe()            # which network tells them apart?

As courses are a recording, every analysis takes them: conditions against each other (the GLM), permutation tests, task
identification. There are two ways to make them, for a row y (unit,) of activations:

- ``how="mean"``: the mean of y over the network's members, as the class LLMFC of Liu et al. (2025) computes it. Members
  with a negative sign count negatively: ``sum of sign * y over members / number of members``.
- ``how="regression"``: y, less its mean over units, is regressed on all maps of an atlas together, each less its mean
  (the first stage of dual regression, Beckmann et al. 2009): ``y pinv(M)`` for maps M (network, unit). A course is then
  what the other networks do not account for.

Of an atlas that keeps how its activations were prepared (:mod:`tl_fbn.units.preparation`), y is prepared in the same
way, and a course is then in spreads from the usual. A row that the atlas leaves out, such as a first token, keeps its
place beside its token and is given the mean course of the other rows of its context (of the run, where there are
none), so that it neither makes a course vary nor two courses correlate. A network alone, or a mapping of networks, says
nothing of a preparation and is read from activations as they are. A network without units has the course 0.

Both are one matrix product with the activations, (row, unit) x (unit, network), a piece at a time. Cost: reading the
recording once. Memory: the courses, in float64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.networks.prepared import laid_on, preparation_of
from tl_fbn.analysis.parallel import each
from tl_fbn.analysis.unit_blocks import pieces
from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked
from tl_fbn.units import Atlas, Network, UnitSpace
from tl_fbn.units.outgoing_norms import without_norms

CourseMethod = Literal["mean", "regression"]
SITE = "networks"


@checked
def time_courses(
    recording: Recording, networks: Mapping[str, Network] | Network, *, how: CourseMethod = "mean", signed: bool = True
) -> Recording:
    """The time course of every network, as a recording in memory whose units are the networks.

    Which networks are more active while the model sorts than while it reverses, or less?

    >>> courses = fbn.networks.time_courses(recording, atlas)
    >>> courses
    Recording in memory: 2 runs, 1,536 rows, tl_fbn-demo networks (1 x 8) in float32; conditions sort, reverse, add
    >>> z = fbn.fit_glm(courses).contrast("sort - reverse").z
    >>> [name for name, value in zip(atlas, z.values) if abs(value) > 3]
    ['N01', 'N02', 'N04', 'N06', 'N07']

    Args:
        recording: Activations of one site, as they were recorded.
        networks: An atlas, one network, or a mapping of names to networks; all are of the recording's space. The
            preparation that an atlas keeps is applied.
        how: ``"mean"``: mean activation of a network's members. ``"regression"``: every row regressed on all maps of an
            atlas together, so that a course is what the other networks do not account for; needs an atlas with maps.
        signed: For ``"mean"``: True lets members with a negative sign count negatively, False counts all members alike.
            ``"regression"`` does not look at it.

    Returns:
        A recording of site ``"networks"`` with one layer: one unit a network, in their order, with the events and the
        tables of rows of the recording. Values are in units of the activations (``"mean"``; spreads, where an atlas
        has scaled units), or of these over those of the maps (``"regression"``). A network without units is 0.

    Raises:
        InputError: No networks, networks of another space or all of them empty (``"mean"``), an atlas without maps,
            maps of which one is a combination of others (``"regression"``), or activations that were scaled already.
    """
    one_of(how, CourseMethod, "how")
    sets = {networks.name: networks} if isinstance(networks, Network) else dict(networks)
    if not sets:
        raise InputError("time_courses got no networks; give at least one")
    for network in sets.values():
        recording.space.require_same(network.space, "read the time course of")
    # either way a course is a weighted sum over units: (unit, network) weights
    weights = _mean_weights(sets, signed) if how == "mean" else _regression_weights(networks)
    laid, kept = laid_on(recording, preparation_of(networks))
    space = UnitSpace(SITE, (len(sets),), model=recording.space.model, weights=recording.space.weights)
    runs = tuple(_courses_of_run(run, space, weights, mask) for run, mask in zip(laid, kept, strict=True))
    # the key tells courses of other networks apart: it depends on the recording, the method and every weight
    digest = hashlib.sha256(f"{laid.key} {how}".encode() + np.ascontiguousarray(weights).tobytes()).hexdigest()
    about = {**without_norms(recording.about), "key": digest, "networks": list(sets), "how": how}
    return Recording((space,), (runs,), about)


def _mean_weights(sets: Mapping[str, Network], signed: bool) -> Float[np.ndarray, "unit network"]:
    """Weights of the mean over members: sign / number of members, and 0 for all other units."""
    if not any(len(network) for network in sets.values()):
        raise InputError(
            f"no network of {', '.join(map(repr, sets))} has units, so there is no time course; lower the threshold"
        )
    columns = []
    for network in sets.values():
        # a member without a sign counts positively
        weights = np.where(network.signs < 0, -1.0, 1.0) if signed and network.signs is not None else 1.0
        columns.append(network.members * weights / max(len(network), 1))
    return np.column_stack(columns)


def _regression_weights(networks: Mapping[str, Network] | Network) -> Float[np.ndarray, "unit network"]:
    """The pseudo-inverse of the centred maps. Its columns add up to 0, so that it takes the mean off a row as well."""
    maps = networks.maps if isinstance(networks, Atlas) else None
    if maps is None:
        raise InputError(
            'how="regression" needs an atlas with maps, such as find_networks gives; for others take how="mean"'
        )
    maps = np.asarray(maps, dtype=np.float64)
    centred = maps - maps.mean(1, keepdims=True)
    if np.linalg.matrix_rank(centred) < len(centred):
        raise InputError(
            f"the {len(centred)} maps of this atlas follow from each other, so a row has no one reading by them; drop "
            "some"
        )
    return np.linalg.pinv(centred)


def _courses_of_run(
    run: Run, space: UnitSpace, weights: Float[np.ndarray, "unit network"], kept: Bool[np.ndarray, " row"]
) -> Run:
    """The courses of one run, as a run with one layer and the same tables."""
    parts = [(array, weights[run.space.layer_slice(layer)]) for layer, array in run.layers.items()]
    # the weighted sum over all units is the sum of those of the layers
    courses = sum(each(_weighted_sums, parts, size=run.n_rows * run.space.n_units))
    courses = np.asarray(courses)
    if not kept.all():
        _fill_in(courses, kept, run.segment_starts)
    return Run(space, {0: courses}, dict(run.about), None, {"events": run.events, "rows": run.rows})


def _fill_in(
    courses: Float[np.ndarray, "row network"], kept: Bool[np.ndarray, " row"], starts: Bool[np.ndarray, " row"]
) -> None:
    """Give rows that are left out the mean of the others of their context, in place."""
    edges = [*np.flatnonzero(starts), len(courses)]
    for first, stop in pairwise(edges):
        rows = np.arange(first, stop)
        others = courses[rows[kept[rows]]] if kept[rows].any() else courses[kept]
        # the mean of equal numbers may differ from them by rounding, and would make a constant course vary
        courses[rows[~kept[rows]]] = np.clip(others.mean(0), others.min(0), others.max(0))


def _weighted_sums(
    part: tuple[np.ndarray | HalfArray, Float[np.ndarray, "unit network"]],
) -> Float[np.ndarray, "row network"]:
    """Weighted sums over the units of one layer, a piece at a time."""
    array, weights = part
    sums = np.zeros((len(array), weights.shape[1]))
    for rows, units, y in pieces(array, np.zeros(array.shape[1])):  # nothing is taken off: the weights see to that
        sums[rows] += y @ weights[units]
    return sums
