"""The units that the controls of a lesion study silenced, drawn again as the study drew them.

A study keeps them, so that a lesion map (:mod:`.lesion_map`) does not hang on the stream of numpy's generators, on the
activity that controls were matched on, or on the networks. It is a whole number for each unit of each control: 100
controls of 46 units take 18 KB a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from tl_fbn.intervention.studies.controls import ControlKind, Features, matched_controls
from tl_fbn.intervention.studies.exclusion import Exclude
from tl_fbn.units import Network


def control_units(
    networks: Mapping[str, Network],
    controls: Sequence[ControlKind],
    n_controls: int,
    seed: int,
    features: Features | None,
    exclude: Exclude = None,
) -> dict[str, Int[np.ndarray, "network control member"]]:
    """Which units the controls of a study silence, by kind of control; without ``"rotated"`` ones, which are no units.

    Args:
        networks: Names to the source networks of a study.
        controls: Kinds of controls of the study.
        n_controls: Number of controls of each kind for each network.
        seed: Seed of the study; the n-th network's controls are drawn from seed + n.
        features: Activity and outgoing norm of every unit, which ``"activity"`` controls are matched on.
        exclude: Units that are in no control.

    Returns:
        Flat numbers of units; -1 beyond the last member of networks that are smaller than the largest.
    """
    largest = max(len(network) for network in networks.values())
    found = {}
    for kind in controls:
        if kind != "rotated":
            found[kind] = np.full((len(networks), n_controls, largest), -1, dtype=np.int32)
            for number, network in enumerate(networks.values()):
                matched_on = features if kind == "activity" else None
                drawn = matched_controls(network, n_controls, seed=seed + number, features=matched_on, exclude=exclude)
                found[kind][number, :, : len(network)] = [control.indices for control in drawn]
    return found
