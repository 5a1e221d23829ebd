"""What networks do over time: one number a network and row, as a recording of its own.

    courses = fbn.networks.time_courses(recording, atlas)                     # units are the networks
    fbn.fit_glm(courses).contrast("sort - rest").to_dataframe()      # which network is task-positive?

As a recording it takes every analysis: conditions against each other (the GLM), permutations, task identification.

- ``how="mean"``: mean activation of the network's members (S0's class LLMFC does this); members with negative signs, where a network
  has signs, count negatively.
- ``how="regression"``: every row, less its mean over units, regressed on all maps of an atlas together, each less its mean (the first
  stage of dual regression, Beckmann et al. 2009): what is left of one network when the others have had their part.

Cost: one thin product with the activations, a piece at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.analysis.parallel import each
from tl_fbn.analysis.unit_blocks import pieces
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import Atlas, Network, UnitSpace

CourseMethod = Literal["mean", "regression"]
SITE = "networks"


def time_courses(
    recording: Recording, networks: Mapping[str, Network] | Network, *, how: CourseMethod = "mean", signed: bool = True
) -> Recording:
    """The time course of every network, in memory.

    ::

        courses = fbn.networks.time_courses(recording, atlas)
        fbn.fit_glm(courses).contrast("sort - rest")  # which network is task-positive?

    Args:
        recording: Activations.
        networks: An atlas, a network, or names to networks.
        how: ``"mean"`` or ``"regression"``, which needs an atlas with maps.
        signed: With ``"mean"``, subtract members that have a negative sign.

    Returns:
        A recording of site ``"networks"``: one unit a network, in order, with the same events and row tables. Its space is called
        after the networks.

    Raises:
        InputError: Networks of another space, an empty one, or maps that follow from each other.
    """
    one_of(how, CourseMethod, "how")
    sets = {networks.name: networks} if isinstance(networks, Network) else dict(networks)
    if not sets:
        raise InputError("time_courses got no networks; give at least one")
    for network in sets.values():
        recording.space.require_same(network.space, "read the time course of")
    weights = _means(sets, signed) if how == "mean" else _projection(networks)
    space = UnitSpace(SITE, (len(sets),), model=recording.space.model, weights=recording.space.weights)
    runs = tuple(_projected(run, space, weights) for run in recording)
    digest = hashlib.sha256(f"{recording.key} {how}".encode() + np.ascontiguousarray(weights).tobytes()).hexdigest()
    about = {**recording.about, "key": digest, "networks": list(sets), "how": how}
    return Recording((space,), (runs,), about)


def _means(sets: Mapping[str, Network], signed: bool) -> Float[np.ndarray, "unit network"]:
    columns = []
    for name, network in sets.items():
        if not len(network):
            raise InputError(f"network {name!r} has no units, so no time course; leave it out")
        weights = np.where(network.signs < 0, -1.0, 1.0) if signed and network.signs is not None else 1.0
        columns.append(network.members * weights / len(network))
    return np.column_stack(columns)


def _projection(networks: Mapping[str, Network] | Network) -> Float[np.ndarray, "unit network"]:
    """The pseudo-inverse of the centred maps, which also takes the mean off a row."""
    maps = networks.maps if isinstance(networks, Atlas) else None
    if maps is None:
        raise InputError(
            'how="regression" needs an atlas with maps, such as find_networks gives; for others take how="mean"'
        )
    maps = np.asarray(maps, dtype=np.float64)
    centred = maps - maps.mean(1, keepdims=True)
    if np.linalg.matrix_rank(centred) < len(centred):
        raise InputError(
            f"the {len(centred)} maps of this atlas follow from each other, so a row has no one reading by them; drop some"
        )
    return np.linalg.pinv(centred)


def _projected(run: Run, space: UnitSpace, weights: Float[np.ndarray, "unit network"]) -> Run:
    parts = [(array, weights[run.space.layer_slice(layer)]) for layer, array in run.layers.items()]
    found = sum(each(_of_layer, parts, size=run.n_rows * run.space.n_units))
    return Run(space, {0: np.asarray(found)}, dict(run.about), None, {"events": run.events, "rows": run.rows})


def _of_layer(
    part: tuple[np.ndarray | HalfArray, Float[np.ndarray, "unit network"]],
) -> Float[np.ndarray, "row network"]:
    array, weights = part
    found = np.zeros((len(array), weights.shape[1]))
    for rows, units, y in pieces(array, np.zeros(array.shape[1])):
        found[rows] += y @ weights[units]
    return found
