"""An atlas: an ordered mapping of names to networks of one space, with the maps they were thresholded from.

What a decomposition measured is kept with the networks, network by network: the map, the stability (how alike the
copies of a network are in resampled analyses, Iq of Himberg et al. 2004), its p against matched noise, and the share
of variance. Everything but the networks may be missing, as in an atlas of networks that were found elsewhere.

Cost: 2 bytes a unit and network, and 4 or 8 for a map.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError, InputKeyError
from tl_fbn.signatures import checked
from tl_fbn.units import exchange_formats as exchange
from tl_fbn.units import selection_prose
from tl_fbn.units.dice import dice_table
from tl_fbn.units.html_tables import html_frame
from tl_fbn.units.network import Network
from tl_fbn.units.preparation import Preparation
from tl_fbn.units.prose import space_in_words
from tl_fbn.units.result import Arrays, Described, Result
from tl_fbn.units.space import Provenance, UnitSpace

_ARRAY_FIELDS = ("maps", "stability", "stability_p", "explained", "noise_iq")  # each an array, or None if not measured


@checked
@dataclass(frozen=True, eq=False)
class Atlas(Result, Mapping[str, Network], step="decomposition", picture="layer_profile"):
    """Named networks of one space, in order, with the maps they were thresholded from.

    An atlas is a mapping: ``atlas[name]`` is a network, and ``len``, ``in`` and iteration work as on a dict.

    >>> atlas["N00"]
    Network "N00": 24 of 1,152 units (2.08%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 0 1 23
    >>> len(atlas), atlas.maps.shape
    (8, (8, 1152))
    >>> atlas.to_dataframe()[["network", "units"]].head(2)
      network  units
    0     N00     24
    1     N01      6

    Args:
        space: The space of all networks.
        networks: Names to networks. Each network takes the name it has here.
        maps: (network, unit) the map that each network was thresholded from; None where there is none.
        stability: (network,) stability of each network over resampled analyses, from 0 to 1; None where not measured.
        provenance: Where the atlas came from: method, settings, seed, digests of prompts.
        stability_p: (network,) share of networks of matched noise that are at least as stable; None where not measured.
        explained: (network,) share of the data's variance that the network's component holds; None where not measured.
        noise_iq: (decomposition,) 95th percentile of the stability of networks of matched noise; there is one
            decomposition, or one for each layer where layers were decomposed by themselves. None where not measured.
        converged: Whether the last rotation of an independent component analysis converged; None where there was none.
        preparation: How the activations were prepared that the networks were found in: rows left out, and centre,
            spread and clipping of every unit. Functions that lay the atlas on a recording prepare it in the same way.
            None where nothing was done, or nothing is known of it, as in atlases of earlier versions.
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
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        if not self.networks:
            raise InputError("an atlas needs at least one network; got none")
        for name, network in self.networks.items():
            self.space.require_same(network.space, f"put network {name!r} into an atlas:")
        # what was measured has one entry a network; noise_iq alone has one a decomposition
        shapes = dict.fromkeys(_ARRAY_FIELDS, (len(self.networks),)) | {
            "maps": (len(self.networks), self.space.n_units),
            "noise_iq": None,
        }
        for what, shape in shapes.items():
            if getattr(self, what) is not None:
                array = number_array(getattr(self, what), f"{what} of this atlas", masked=np.nan)
                if shape is not None and array.shape != shape:
                    raise InputError(f"{what} of this atlas need shape {shape}; got {array.shape}")
                object.__setattr__(self, what, array)
        for what, array in ({} if self.preparation is None else self.preparation.arrays()).items():
            if array.shape != (self.space.n_units,):
                raise InputError(f"{what} of this atlas needs shape {(self.space.n_units,)}; got {array.shape}")
        # a network's own name is the one that the atlas gives it, so that pictures and tables agree
        object.__setattr__(self, "networks", {name: network.rename(name) for name, network in self.networks.items()})

    @classmethod
    @checked
    def from_networks(cls, networks: Mapping[str, Network]) -> Atlas:
        """An atlas of networks of any origin, without maps.

        >>> fbn.Atlas.from_networks({"sort": network.positive(), "reverse": network.negative()})
        Atlas of 2 networks in tl_fbn-demo mlp.neurons (3 x 384): sort (4), reverse (19)

        Args:
            networks: Names to networks, all of one space.

        Raises:
            InputError: There is no network, or two are of different spaces.
        """
        if not networks:
            raise InputError("an atlas needs at least one network; got none")
        return cls(next(iter(networks.values())).space, networks)

    def __getitem__(self, name: str) -> Network:
        if not isinstance(name, str) or name not in self.networks:
            raise InputKeyError(f"no network {name!r} in this atlas; networks: {', '.join(self.networks)}")
        return self.networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    @checked
    def rename(self, names: Mapping[str, str]) -> Atlas:
        """The same atlas with some of its networks renamed.

        Args:
            names: Old names to new names; networks that are not named keep theirs.

        Raises:
            InputKeyError: There is no network of an old name.
            InputError: Two networks would have one name.
        """
        for name in names:
            self[name]  # raises the error that lists the names
        renamed = {names.get(name, name): network for name, network in self.networks.items()}
        # a dict keeps one network a name: a clash shows as a lost entry
        if len(renamed) != len(self):
            raise InputError(
                f"renaming {dict(names)} would give two networks one name; names: {', '.join(self.networks)}"
            )
        return replace(self, networks=renamed)

    @checked
    def union(self, names: Sequence[str] | None = None, *, name: str = "union") -> Network:
        """The units that are in any of several networks (the union mask of Liu et al. 2025).

        Args:
            names: Names of the networks; None takes all.
            name: Name of the network that is returned.

        Raises:
            InputKeyError: There is no network of such a name.
            InputError: ``names`` is empty.
        """
        found: Network | None = None
        # one after the other with |, which also joins provenance and digests of prompts
        for one in self if names is None else names:
            found = self[one] if found is None else found | self[one]
        if found is None:
            raise InputError(f"union of no networks; networks: {', '.join(self.networks)}")
        return found.rename(name)

    def to_dataframe(self) -> pd.DataFrame:
        """One line a network: its name, number and share of units, stability (if measured), and units in each layer."""
        table = pd.DataFrame(
            {"network": list(self), "units": [len(n) for n in self.values()], "share": [n.share for n in self.values()]}
        )
        if self.stability is not None:
            table["stability"] = self.stability
        if self.stability_p is not None:
            table["stability_p"] = self.stability_p
        # (network, layer) numbers of units, one column a layer
        counts = np.array([n.per_layer() for n in self.values()])
        return table.join(pd.DataFrame(counts, columns=[f"layer {i}" for i in range(self.space.n_layers)]))

    def _pack_(self) -> tuple[Arrays, Described]:
        networks = list(self.values())
        # (network, unit) arrays of all networks together, and not two arrays for each: an atlas may have hundreds
        arrays = {
            "members": np.array([network.members for network in networks]),
            "signs": np.array([network.signs for network in networks]),
        }
        arrays |= {name: array for name in _ARRAY_FIELDS if (array := getattr(self, name)) is not None}
        arrays |= {} if self.preparation is None else self.preparation.arrays()
        about: Described = {
            "space": self.space.about(),
            "names": list(self),
            "each": [dict(network.provenance) for network in networks],
            "provenance": dict(self.provenance),
            "converged": self.converged,
            "preparation": None if self.preparation is None else self.preparation.about(),
        }
        return arrays, about

    @classmethod
    def _unpack_(cls, arrays: Arrays, about: Described) -> Atlas:
        space = UnitSpace.from_about(about["space"])
        # row i of the two (network, unit) arrays belongs to name i
        parts = zip(about["names"], arrays["members"], arrays["signs"], about["each"], strict=True)
        networks = {name: Network(space, members, signs, name, each) for name, members, signs, each in parts}
        measured: dict[str, Any] = {name: arrays.get(name) for name in _ARRAY_FIELDS}
        measured |= {"converged": about["converged"], "provenance": about["provenance"]}
        return cls(space, networks, preparation=Preparation.from_file(about.get("preparation"), arrays), **measured)

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        if "converged" in about:
            return arrays, about
        # version 0.1 kept what an ICA measured among its settings; the fields came later
        origin = dict(about["provenance"])
        explained = origin.pop("explained", None)
        noise = origin.pop("iq_of_noise_95", None)
        arrays |= {} if explained is None else {"explained": np.array(explained, dtype=float)}
        arrays |= {} if noise is None else {"noise_iq": np.array(noise, dtype=float)}
        return arrays, {**about, "converged": origin.pop("converged", None), "provenance": origin}

    @checked
    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The networks as plain JSON, which needs no tl_fbn to read: units by layer, and stability if it was measured.

        Maps are left out; :meth:`save` keeps them.

        Args:
            path: A file to write the JSON to as well; None writes none.

        Returns:
            The JSON text. :mod:`tl_fbn.units.exchange_formats` describes its keys.
        """
        measured = {"stability": self.stability, "stability_p": self.stability_p}
        about = {
            **self.space.stated(),
            "networks": {name: network._units_as_json() for name, network in self.items()},
            **{key: array for key, array in measured.items() if array is not None},
            "provenance": dict(self.provenance),
        }
        return exchange.written(about, path)

    @classmethod
    @checked
    def from_json(cls, source: Any, space: UnitSpace | None = None, *, names: Sequence[str] | None = None) -> Atlas:
        """An atlas from JSON, or from lists, arrays or tensors of units that somebody released.

        >>> space = fbn.UnitSpace("mlp.neurons", (3, 3))
        >>> fbn.Atlas.from_json([[[0], [1, 2]], [[], [0]]], space, names=["en", "zh"])
        Atlas of 2 networks in unknown mlp.neurons (2 x 3): en (3), zh (1)

        Args:
            source: The path of a JSON file, a JSON text, or its content: the object that :meth:`to_json` writes, an
                object of names to networks, or a list of networks. Each network is in a form that
                :meth:`Network.from_json` reads: a list (layer) of lists of units or boolean masks, or an object of
                layers to such lists.
            space: The space of the units; needed unless the JSON states it.
            names: A name for each network of a list; by default N00, N01, ...

        Raises:
            FileNotFoundError: There is no file at the path.
            InputError: The source is no JSON, no space is known, a layer or unit does not exist (the message names the
                network), or the names are not one for each network and all different.
        """
        about = exchange.parsed(source)
        as_we_write = isinstance(about, Mapping) and "networks" in about
        given = about["networks"] if as_we_write else about
        # one network has the key "units" where an atlas has "networks"
        if isinstance(about, Mapping) and not as_we_write and "units" in about:
            raise InputError("this is one network, no atlas; read it with Network.from_json")
        # a list of networks gets names; an object of networks has them as keys
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
        # without a stated or given space, each network of an object has to state its own
        if as_we_write or space is not None:
            space = exchange.described_space(about, space)
        # errors say which network they are about
        networks = {}
        for name, one in given.items():
            try:
                networks[str(name)] = Network.from_json(one, space)
            except ValueError as error:
                raise InputError(f"network {name!r}: {error}") from error
        # what others release holds sets of units and no measurements
        if not as_we_write:
            return cls.from_networks(networks)
        arrays: dict[str, Any] = {
            key: np.array(about[key], np.float64) for key in ("stability", "stability_p") if key in about
        }
        assert space is not None
        return cls(space, networks, None, provenance=about.get("provenance", {}), **arrays)

    @property
    def empty(self) -> list[str]:
        """Names of the networks without a unit, none of whose values reached the threshold."""
        return [name for name, network in self.items() if not len(network)]

    @property
    def unstable(self) -> list[str]:
        """Names of the networks no more stable than networks of matched noise (p >= .05); empty if not measured."""
        return (
            []
            if self.stability_p is None
            else [name for name, p in zip(self, self.stability_p, strict=True) if p >= 0.05]
        )

    def _methods_(self) -> list[str]:
        about = self.provenance
        # an atlas of selected networks tells how each was selected
        if not str(about.get("method", "")).startswith("ica"):
            return selection_prose.sentences(list(self.values()))
        kind = str(about["method"]).removeprefix("ica, ")
        thresholding = about.get("threshold") or {}
        preparation = about.get("preparation") or {}
        rule = thresholding.get("threshold")
        # one-sided thresholds are on z, two-sided ones on |z|
        bar = "" if thresholding.get("one_sided") else "|"
        members = f"by the rule {rule}" if isinstance(rule, str) else f"of {bar}z{bar} at least {rule}"
        steps = [f"{name} {value}" for name, value in preparation.items() if value not in (None, False, 0)]
        together = "all layers together" if about.get("across_layers") else "each layer by itself"
        sentences = [
            f"{about.get('n_components')} networks were sought in {space_in_words(self.space)} by {kind} independent "
            f"component analysis ({together}; contrast function {about.get('fun')}; "
            f"{about.get('n_restarts')} restarts; seed {about.get('seed')}; "
            f"{', '.join(steps) or 'activations as they were'}). Members are units {members}."
        ]
        if self.stability is not None:
            noise = "" if self.stability_p is None else ", with p from matched noise"
            sentences.append(f"Stability is Iq over resampled restarts{noise}.")
        if self.converged is False:
            sentences.append("The final rotation did not converge.")
        if self.empty:
            sentences.append(f"Without a unit above the threshold: {', '.join(self.empty)}.")
        return sentences

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
                "Iq of a network is how alike its copies in resampled analyses are, less their likeness to others; p "
                "the share of networks of matched noise with as large an Iq."
            )
            if self.unstable:
                text += f" No more stable than noise: {', '.join(self.unstable)}."
            measured = [name for name in ("network", "units", "stability", "stability_p") if name in table]
            sections.append({"title": "Stability", "text": text, "picture": "stability", "table": table[measured]})
        if len(self) > 1:
            text = (
                "Dice is twice the shared units over the sum of both sizes. The chance level is its expectation for "
                "random sets that take as many units from every layer as the two networks do; it is no test."
            )
            sections.append(
                {"title": f"Overlap of {count}", "text": text, "picture": "overlap_matrix", "table": dice_table(self)}
            )
        return sections

    def _headline(self) -> str:
        """Number of networks, space, and what a reader has to know before using them."""
        warning = ", NOT CONVERGED" if self.converged is False else ""
        if self.unstable:
            warning += f", {len(self.unstable)} no more stable than noise (marked ?)"
        if self.empty:
            warning += f", {len(self.empty)} without units"
        return f"Atlas of {len(self)} networks in {self.space.describe()}{warning}"

    def __repr__(self) -> str:
        weak = set(self.unstable)
        listed = [f"{name}{'?' if name in weak else ''} ({len(network)})" for name, network in self.items()]
        return f"{self._headline()}: {', '.join(listed)}"

    def _repr_html_(self) -> str:
        return html_frame(self._headline(), self.to_dataframe())
