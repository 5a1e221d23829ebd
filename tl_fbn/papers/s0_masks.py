"""Masks of the protocol of Liu et al. (2025), and what they are compared with.

=================== ================================================================================================
mask                which units
=================== ================================================================================================
union               of all K networks: one-sided z of the loading at least 3.6 in any of them (the paper's)
without five        the union less its five units of largest variance
five                these five alone
first tokens        units of the union most of whose variance lies in the first tokens of prompts
layer-matched       random units, as many in every layer as the union has
variance-matched    random other units of the same layers whose variances are like those of the union's
uniform             random units of all layers, as many (the paper's own control, of which it has one draw)
=================== ================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.recording.massive import first_tokens
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.studies.controls import matched_controls
from tl_fbn.units import Atlas, Network, UnitSpace

FEW = 5  # units of largest variance that are looked at by themselves
_MOSTLY = 0.5  # share of a unit's variance in first tokens from which it is about them


@dataclass(frozen=True, eq=False)
class Variances:
    """Variance of every unit, over all rows and over those that are no first token of a prompt.

    Args:
        space: The units.
        whole: (unit,) variance over all rows.
        later: (unit,) variance over rows that are no first token.
        first: Share of all variance that lies in first tokens.
    """

    space: UnitSpace
    whole: Float[np.ndarray, " unit"]
    later: Float[np.ndarray, " unit"]
    first: float

    @classmethod
    def of(cls, recording: Recording) -> Variances:
        """The variances of a recording of one site.

        Args:
            recording: Activations of one site.
        """
        space = recording.space
        sums = np.zeros((2, 2, space.n_units))  # (all rows or later ones, sum or sum of squares, unit)
        counts = np.zeros(2)
        for run in recording:
            marked = first_tokens(run)
            later = np.ones(run.n_rows, dtype=bool) if marked is None else ~marked
            counts += run.n_rows, later.sum()
            for layer, array in run.layers.items():
                values = np.asarray(array[:], dtype=np.float64)
                place = space.layer_slice(layer)
                for number, rows in enumerate((slice(None), later)):
                    sums[number, 0, place] += values[rows].sum(0)
                    sums[number, 1, place] += np.square(values[rows]).sum(0)
        means = sums / counts[:, None, None]
        whole, later_variance = np.maximum(means[:, 1] - np.square(means[:, 0]), 0.0)
        total = (whole * counts[0]).sum()
        return cls(space, whole, later_variance, float(1 - (later_variance * counts[1]).sum() / total))

    def largest(self, network: Network, n: int = FEW) -> Network:
        """The units of a network that vary most.

        Args:
            network: The network.
            n: Number of units.
        """
        order = sorted(network.indices.tolist(), key=lambda unit: -self.whole[unit])
        return Network.from_indices(self.space, order[:n], name=f"the {n} of largest variance")

    def about_first_tokens(self, network: Network) -> Network:
        """The units of a network most of whose variance goes with the first tokens.

        Args:
            network: The network.
        """
        share = 1 - self.later / np.where(self.whole > 0, self.whole, 1.0)
        members = network.indices[share[network.indices] > _MOSTLY]
        return Network.from_indices(self.space, members, name="about first tokens")

    def like(self, network: Network, n: int, *, seed: int) -> list[Network]:
        """Random other units of the same layers, of like variance; none where a layer has too few others.

        Args:
            network: The network.
            n: Number of draws.
            seed: Seed of the draws.
        """
        features = np.log(self.whole + 1e-12 * self.whole.max())[None]
        try:
            return matched_controls(network, n, seed=seed, features=features)
        except InputError:  # more than half of a layer's units are in the network
            return []


def uniform(network: Network, n: int, *, seed: int) -> list[Network]:
    """Random units of all layers together, as many as a network has.

    Args:
        network: The network.
        n: Number of draws.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    space = network.space
    return [
        Network.from_indices(space, rng.choice(space.n_units, len(network), replace=False), name=f"uniform {number}")
        for number in range(n)
    ]


def of_share(atlas: Atlas, share: float) -> Network:
    """The share of all units whose largest value of any map of an atlas is largest.

    Args:
        atlas: Networks with maps.
        share: Share of all units.
    """
    assert atlas.maps is not None
    largest = np.abs(atlas.maps).max(0)
    n = max(1, int(share * atlas.space.n_units))
    units = np.argsort(-largest, kind="stable")[:n]
    return Network.from_indices(atlas.space, units, name=f"top {share:.0%}")


def masks_of(union: Network, variances: Variances) -> dict[str, Network]:
    """A union and its parts; parts without units are left out.

    Args:
        union: The units of all networks.
        variances: Variances of the units.
    """
    five = variances.largest(union)
    found = {
        "union": union,
        "without five": union - five,
        "five": five,
        "first tokens": variances.about_first_tokens(union),
    }
    return {name: network for name, network in found.items() if len(network)}


def controls_of(union: Network, variances: Variances, n: int, seed: int) -> dict[str, Sequence[Network]]:
    """Random masks of every kind beside a union.

    Args:
        union: The units of all networks.
        variances: Variances of the units.
        n: Number of draws of each kind.
        seed: Seed of the draws.
    """
    found = {
        "layer-matched": matched_controls(union, n, seed=seed),
        "variance-matched": variances.like(union, n, seed=seed),
        "uniform": uniform(union, n, seed=seed),
    }
    return {name: drawn for name, drawn in found.items() if drawn}
