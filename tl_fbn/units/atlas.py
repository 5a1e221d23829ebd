"""An ordered mapping of names to networks, with the maps they were cut from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.errors import InputError, InputKeyError
from tl_fbn.units import exchange_formats as exchange
from tl_fbn.units import selection_prose
from tl_fbn.units.dice import dice_table
from tl_fbn.units.html_tables import html_frame
from tl_fbn.units.network import Network
from tl_fbn.units.prose import space_in_words
from tl_fbn.units.result import Arrays, Described, Result
from tl_fbn.units.space import Provenance, UnitSpace

_MEASURED = ("maps", "stability", "stability_p", "explained", "noise_iq")  # fields that are arrays, if there are any


@dataclass(frozen=True, eq=False)
class Atlas(Result, Mapping[str, Network], step="decomposition", picture="layer_profile"):
    """Named networks in one space, in order, with the maps they were cut from.

    >>> space = UnitSpace("mlp.neurons", (3,))
    >>> atlas = Atlas.from_networks({"N00": Network.from_indices(space, [0]), "N01": Network.from_indices(space, [1, 2])})
    >>> list(atlas), len(atlas["N01"])
    (['N00', 'N01'], 2)

    Args:
        space: Where the units are.
        networks: Names to networks.
        maps: (network, unit) the map behind each network, if there is one.
        stability: (network,) 0 to 1, if it was measured.
        provenance: Where the atlas came from.
        stability_p: (network,) share of noise networks that are as stable, if it was measured.
        explained: (network,) share of the data's variance that each holds, of an ICA.
        noise_iq: (decomposition,) 95th percentile of the stability that matched noise has, if it was measured; one of every
            decomposition, of which there are several where layers were decomposed by themselves.
        converged: Whether an ICA's last rotation did; None where there was none.
    """

    space: UnitSpace
    networks: Mapping[str, Network]
    maps: Float[np.ndarray, "network unit"] | None = None
    stability: Float[np.ndarray, " network"] | None = None
    provenance: Provenance = field(default_factory=dict)
    stability_p: Float[np.ndarray, " network"] | None = None
    explained: Float[np.ndarray, " network"] | None = None
    noise_iq: Float[np.ndarray, " decomposition"] | None = None
    converged: bool | None = None

    def __post_init__(self) -> None:
        if not self.networks:
            raise InputError("an atlas needs at least one network; got none")
        for name, network in self.networks.items():
            self.space.require_same(network.space, f"put network {name!r} into an atlas:")
        for what, array, shape in (
            ("maps", self.maps, (len(self.networks), self.space.n_units)),
            ("stability", self.stability, (len(self.networks),)),
            ("stability_p", self.stability_p, (len(self.networks),)),
            ("explained", self.explained, (len(self.networks),)),
        ):
            if array is not None and array.shape != shape:
                raise InputError(f"{what} of this atlas need shape {shape}; got {array.shape}")
        object.__setattr__(self, "networks", {name: network.rename(name) for name, network in self.networks.items()})

    @classmethod
    def from_networks(cls, networks: Mapping[str, Network]) -> Atlas:
        """An atlas of networks found elsewhere."""
        if not networks:
            raise InputError("an atlas needs at least one network; got none")
        return cls(next(iter(networks.values())).space, networks)

    def __getitem__(self, name: str) -> Network:
        if name not in self.networks:
            raise InputKeyError(f"no network {name!r} in this atlas; networks: {', '.join(self.networks)}")
        return self.networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    def rename(self, names: Mapping[str, str]) -> Atlas:
        """The same atlas with some networks renamed (old name to new)."""
        for name in names:
            self[name]  # raises where there is no such network
        renamed = {names.get(name, name): network for name, network in self.networks.items()}
        if len(renamed) != len(self):
            raise InputError(
                f"renaming {dict(names)} would give two networks one name; names: {', '.join(self.networks)}"
            )
        return replace(self, networks=renamed)

    def union(self, names: Sequence[str] | None = None, *, name: str = "union") -> Network:
        """The units of any of some networks (of all by default), S0's union mask."""
        found: Network | None = None
        for one in self if names is None else names:
            found = self[one] if found is None else found | self[one]
        if found is None:
            raise InputError(f"union of no networks; networks: {', '.join(self.networks)}")
        return found.rename(name)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network: name, units, share, stability, units in each layer."""
        table = pd.DataFrame(
            {"network": list(self), "units": [len(n) for n in self.values()], "share": [n.share for n in self.values()]}
        )
        if self.stability is not None:
            table["stability"] = self.stability
        if self.stability_p is not None:
            table["stability_p"] = self.stability_p
        counts = np.array([n.per_layer() for n in self.values()])
        return table.join(pd.DataFrame(counts, columns=[f"layer {i}" for i in range(self.space.n_layers)]))

    def _pack_(self) -> tuple[Arrays, Described]:
        networks = list(self.values())  # side by side in two arrays, not each by itself
        arrays = {
            "members": np.array([network.members for network in networks]),
            "signs": np.array([network.signs for network in networks]),
        }
        arrays |= {name: array for name in _MEASURED if (array := getattr(self, name)) is not None}
        about: Described = {
            "space": self.space.about(),
            "names": list(self),
            "each": [dict(network.provenance) for network in networks],
            "provenance": dict(self.provenance),
            "converged": self.converged,
        }
        return arrays, about

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> Atlas:
        space = UnitSpace.from_about(about["space"])
        parts = zip(about["names"], arrays["members"], arrays["signs"], about["each"], strict=True)
        networks = {name: Network(space, members, signs, name, each) for name, members, signs, each in parts}
        measured: dict[str, Any] = {name: arrays.get(name) for name in _MEASURED}
        return cls(space, networks, provenance=about["provenance"], converged=about["converged"], **measured)

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        if "converged" in about:
            return arrays, about
        origin = dict(about["provenance"])  # version 0.1 kept what an ICA measured among its settings
        explained = origin.pop("explained", None)
        noise = origin.pop("iq_of_noise_95", None)
        arrays |= {} if explained is None else {"explained": np.array(explained, dtype=float)}
        arrays |= {} if noise is None else {"noise_iq": np.array(noise, dtype=float)}
        return arrays, {**about, "converged": origin.pop("converged", None), "provenance": origin}

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The networks as plain JSON, units by layer, with their stability; maps are not in it, :meth:`save` keeps them.

        Args:
            path: Also write it to this file.

        Returns:
            The JSON text; :mod:`tl_fbn.units.exchange_formats` describes its keys.
        """
        measured = {"stability": self.stability, "stability_p": self.stability_p}
        about = {
            **self.space.stated(),
            "networks": {name: network._units() for name, network in self.items()},
            **{key: array for key, array in measured.items() if array is not None},
            "provenance": dict(self.provenance),
        }
        return exchange.written(about, path)

    @classmethod
    def from_json(cls, source: Any, space: UnitSpace | None = None, *, names: Sequence[str] | None = None) -> Atlas:
        """An atlas from JSON, ours or another's, or from the lists, arrays or tensors that somebody released.

        >>> space = UnitSpace("mlp.neurons", (3, 3))
        >>> Atlas.from_json([[[0], [1, 2]], [[], [0]]], space, names=["en", "zh"])
        Atlas of 2 networks in unknown mlp.neurons (2 x 3): en (3), zh (1)

        Args:
            source: A path, a JSON text, or what was read already: what :meth:`to_json` writes, an object of names to networks, or a
                list of networks, each as :meth:`Network.from_json` takes it.
            space: Where the units are; needed unless the JSON says so.
            names: Names for a list of networks; N00, N01, ... by default.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: As :meth:`Network.from_json`, and the message names the network; or not one name a network.
        """
        about = exchange.parsed(source)
        ours = isinstance(about, Mapping) and "networks" in about
        given = about["networks"] if ours else about
        if isinstance(about, Mapping) and not ours and "units" in about:
            raise InputError("this is one network, no atlas; read it with Network.from_json")
        if not isinstance(given, Mapping):
            if isinstance(given, (str, bytes)) or not hasattr(given, "__len__"):
                raise InputError(f"an atlas is an object of names to networks, or a list of networks; got {given!r}")
            given = list(given)
            named = [f"N{i:02d}" for i in range(len(given))] if names is None else list(names)
            if len(set(named)) != len(given):
                raise InputError(
                    f"{len(given)} networks, but the names {named}; give one name a network, all different"
                )
            given = dict(zip(named, given, strict=True))
        elif names is not None:
            raise InputError(f"names= is for a list of networks; these have names: {', '.join(map(str, given))}")
        if ours or space is not None:
            space = exchange.described_space(about, space)
        networks = {}
        for name, one in given.items():
            try:
                networks[str(name)] = Network.from_json(one, space)
            except ValueError as error:
                raise InputError(f"network {name!r}: {error}") from error
        if not ours:
            return cls.from_networks(networks)
        arrays: dict[str, Any] = {
            key: np.array(about[key], np.float64) for key in ("stability", "stability_p") if key in about
        }
        assert space is not None
        return cls(space, networks, None, provenance=about.get("provenance", {}), **arrays)

    @property
    def unstable(self) -> list[str]:
        """Networks no more stable than noise gives (p at least .05); none where stability was not measured."""
        return (
            []
            if self.stability_p is None
            else [name for name, p in zip(self, self.stability_p, strict=True) if p >= 0.05]
        )

    def _methods_(self) -> list[str]:
        about = self.provenance
        if not str(about.get("method", "")).startswith("ica"):
            return selection_prose.sentences(list(self.values()))
        kind = str(about["method"]).removeprefix("ica, ")
        cutting = about.get("threshold") or {}
        prepared = about.get("preparation") or {}
        rule = cutting.get("threshold")
        bar = "" if cutting.get("one_sided") else "|"
        members = f"by the rule {rule}" if isinstance(rule, str) else f"of {bar}z{bar} at least {rule}"
        steps = [f"{name} {value}" for name, value in prepared.items() if value not in (None, False, 0)]
        together = "all layers together" if about.get("across_layers") else "each layer by itself"
        said = [
            f"{about.get('n_components')} networks were sought in {space_in_words(self.space)} by {kind} independent component analysis "
            f"({together}; contrast function {about.get('fun')}; "
            f"{about.get('n_restarts')} restarts; seed {about.get('seed')}; {', '.join(steps) or 'activations as they were'}). "
            f"Members are units {members}."
        ]
        if self.stability is not None:
            noise = "" if self.stability_p is None else ", with p from matched noise"
            said.append(f"Stability is Iq over resampled restarts{noise}.")
        if self.converged is False:
            said.append("The final rotation did not converge.")
        return said

    def _report_sections_(self) -> list[dict[str, Any]]:
        table = self.to_dataframe()
        count = f"{len(self)} network{'' if len(self) == 1 else 's'}"
        sections: list[dict[str, Any]] = [
            {
                "title": f"Atlas of {count}",
                "text": f"{count} in {self.space.describe()}.",
                "origin": self.provenance,
                "picture": "layer_profile",
                "table": table,
            }
        ]
        if self.stability is not None:
            text = (
                "Iq of a network is how alike its copies in resampled analyses are, less their likeness to others; p the share of networks of matched "
                "noise with as large an Iq."
            )
            if self.unstable:
                text += f" No more stable than noise: {', '.join(self.unstable)}."
            measured = [name for name in ("network", "units", "stability", "stability_p") if name in table]
            sections.append({"title": "Stability", "text": text, "picture": "stability", "table": table[measured]})
        if len(self) > 1:
            text = (
                "Dice is twice the shared units over the sum of both sizes. The chance level is its expectation for random "
                "sets that take as many units from every layer as the two networks do; it is no test."
            )
            sections.append(
                {"title": f"Overlap of {count}", "text": text, "picture": "overlap_matrix", "table": dice_table(self)}
            )
        return sections

    def _headline(self) -> str:
        warning = ", NOT CONVERGED" if self.converged is False else ""
        if self.unstable:
            warning += f", {len(self.unstable)} no more stable than noise (marked ?)"
        return f"Atlas of {len(self)} networks in {self.space.describe()}{warning}"

    def __repr__(self) -> str:
        weak = set(self.unstable)
        listed = [f"{name}{'?' if name in weak else ''} ({len(network)})" for name, network in self.items()]
        return f"{self._headline()}: {', '.join(listed)}"

    def _repr_html_(self) -> str:
        return html_frame(self._headline(), self.to_dataframe())
