"""The controls of a lesion study, drawn once: they are silenced, what the matching left is measured, units are kept.

A study keeps the units of its controls, so that a lesion map (:mod:`.lesion_map`) does not hang on the stream of
numpy's generators, on the activity that controls were matched on, or on the networks. It is a whole number for each
unit of each control: 100 controls of 46 units take 18 KB a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from tl_fbn.intervention.studies.controls import ControlKind, Features, balance, matched_controls
from tl_fbn.units import Network


@dataclass
class ControlDraws:
    """Draws the controls of a study, network after network, and remembers what it keeps of them.

    ``"rotated"`` controls are no units and are not drawn here.

    Args:
        n: Number of controls of each kind for each network.
        features: Activity and outgoing norm of every unit, which ``"activity"`` controls are matched on; None without.
        out: Units that are in no control; None for none.
        balance: Standardised differences in activity and outgoing norm that the matching left, by network and kind;
            empty without features.
    """

    n: int
    features: Features | None
    out: Network | None
    balance: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    _units: dict[str, list[list[np.ndarray]]] = field(default_factory=dict)  # kind to (network)(control) members

    def draw(self, kind: ControlKind, name: str, network: Network, *, seed: int) -> list[Network]:
        """The controls of one kind of a network.

        Args:
            kind: ``"random"`` or ``"activity"``.
            name: Name of the network in the study.
            network: The network.
            seed: Seed of the draws.
        """
        matched_on = self.features if kind == "activity" else None
        drawn = matched_controls(network, self.n, seed=seed, features=matched_on, exclude=self.out)
        self._units.setdefault(kind, []).append([control.indices for control in drawn])
        if self.features is not None:
            self.balance.setdefault(name, {})[kind] = balance(network, drawn, self.features).tolist()
        return drawn

    def units(self) -> dict[str, Int[np.ndarray, "network control member"]]:
        """Kind of control to the flat numbers of the units of all that were drawn, network after network.

        -1 stands beyond the last member of networks that are smaller than the largest.
        """
        found = {}
        for kind, networks in self._units.items():
            largest = max((len(units) for controls in networks for units in controls), default=0)
            found[kind] = np.full((len(networks), self.n, largest), -1, dtype=np.int32)
            for rows, controls in zip(found[kind], networks, strict=True):
                for row, units in zip(rows, controls, strict=True):
                    row[: len(units)] = units
        return found
