"""A network: a named set of units of one space, with set algebra and, where they are known, the sign of each unit.

A network is two arrays over all units of its space, 2 bytes a unit: ``members`` (booleans) and ``signs`` (-1, 0 or 1;
0 for units outside, and where no sign is known). The sign tells which way a unit responds, for instance +1 where it
is more active in the first condition of a contrast; it comes from the map that the units were chosen from.

Set algebra needs two networks of one space. Signs of the result are those of its parts; a unit whose parts disagree
has no sign. The result's name and provenance tell its parts.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Int8

from tl_fbn.arguments import layer_numbers, number_array
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import as_integer, is_sequence, shown
from tl_fbn.signatures import checked
from tl_fbn.units import exchange_formats as exchange
from tl_fbn.units import selection_prose
from tl_fbn.units.html_tables import html_table
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance, UnitSpace, pooled_prompts


def _no_signs() -> Int8[np.ndarray, " none"]:
    """The default of ``signs``: an empty array, which the constructor replaces by one 0 for each unit."""
    return np.zeros(0, np.int8)


@checked
@dataclass(frozen=True, eq=False)
class Network(Result, step="networks", picture="layer_profile"):
    """A named set of units, with set algebra and, where they are known, signs.

    >>> up = contrast.threshold(top=0.02).positive()
    >>> up
    Network "sort - reverse (+)": 4 of 1,152 units (0.35%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 4 0 0
    >>> len(network - up), len(network & up), len(~network)
    (19, 4, 1129)
    >>> network.restrict(layers=[1]).per_layer()
    array([0, 5, 0])

    Args:
        space: The space of the units.
        members: (unit,) booleans, True for the units of the network.
        signs: (unit,) -1, 0 or 1; 0 where no sign is known. By default no sign is known. Signs of units outside the
            network are set to 0.
        name: Name for tables and pictures.
        provenance: Where the network came from: method, threshold, recording, seed and, under ``"prompts"``, digests
            of the prompts it was found on; without that entry the prompts are unknown.
    """

    space: UnitSpace
    members: Bool[np.ndarray, " unit"]
    signs: Int8[np.ndarray, " unit"] = field(default_factory=_no_signs)
    name: str = "network"
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        members = np.array(number_array(self.members, "members"))  # a copy: whoever made the mask may use it again
        if members.dtype != np.bool_ or members.shape != (self.space.n_units,):
            raise InputError(
                f"members of a network in {self.space.describe()} are {self.space.n_units} booleans; got "
                f"{members.dtype} of shape {members.shape}. Network.from_indices takes indices"
            )
        given = number_array([] if self.signs is None else self.signs, "signs")
        signs = given if given.size else np.zeros(members.shape, np.int8)
        if signs.shape != members.shape:
            raise InputError(f"signs have shape {signs.shape}, members {members.shape}; give one sign a unit")
        wrong = np.setdiff1d(signs, [-1, 0, 1])  # before they are cast: .5 would become 0, and NaN any number
        if wrong.size:
            raise InputError(f"signs are -1, 0 or 1; got {wrong[:5].tolist()}. np.sign makes them")
        # the class is frozen, which forbids plain assignment
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "signs", np.where(members, signs, 0).astype(np.int8))

    @classmethod
    @checked
    def from_indices(
        cls,
        space: UnitSpace,
        indices: Iterable[int] | Iterable[tuple[int, int]] | Int[np.ndarray, " some"],
        *,
        name: str = "network",
        provenance: Provenance | None = None,
    ) -> Network:
        """A network from a list of units.

        >>> fbn.Network.from_indices(network.space, [(0, 5), (2, 1)], name="two").indices
        array([  5, 769])

        Args:
            space: The space of the units.
            indices: Flat indices, or pairs of a layer and a unit within it, both from 0. A mask is none of these:
                ``Network(space, mask)`` takes it.
            name: Name of the network.
            provenance: Where the units came from; None where that is not known.

        Raises:
            InputIndexError: There is no such unit.
            InputTypeError: An entry is neither an integer nor a pair: a float, a boolean (of a mask), a list.
            InputError: The entries are those of a mask of 0 and 1.
        """
        members = np.zeros(space.n_units, dtype=bool)
        if not is_sequence(indices, loose=True):
            raise InputTypeError(f"indices must be a list of units; got {shown(indices)}")
        listed: list[Any] = indices.tolist() if hasattr(indices, "tolist") else list(indices)  # pyright: ignore
        # units 0 and 1 again and again; one of each, or a unit that is named twice, may be meant
        if len(listed) > 2 and all(as_integer(one) in (0, 1) for one in listed):
            raise InputError(
                f"the indices are {len(listed)} times 0 or 1, which is a mask; make it one of booleans and give it to "
                "Network(space, mask)"
            )
        for place, index in enumerate(listed):
            flat = space.index(*index) if isinstance(index, tuple) and len(index) == 2 else as_integer(index)
            if flat is None:
                raise InputTypeError(
                    f"entry {place} of the indices is {index!r} ({type(index).__name__}), neither the flat index of a "
                    "unit nor a tuple (layer, unit); a mask of booleans goes into Network(space, mask)"
                )
            if not 0 <= flat < members.size:
                space.locate(flat)  # raises the error that names the space
            members[flat] = True
        return cls(space, members, name=name, provenance=provenance or {})

    @property
    def indices(self) -> Int[np.ndarray, " member"]:
        """(member,) flat indices of the units, ascending."""
        return np.flatnonzero(self.members)

    @property
    def share(self) -> float:
        """Share of all units of the space that are in the network, 0 to 1."""
        return len(self) / self.space.n_units

    def per_layer(self) -> Int[np.ndarray, " layer"]:
        """(layer,) number of units of the network in each layer."""
        # bincount leaves out trailing layers without members unless told how many there are
        return np.bincount(self.space.layer_of[self.members], minlength=self.space.n_layers)

    def by_layer(self) -> list[Bool[np.ndarray, " unit"]]:
        """For every layer its (unit,) booleans, as views of :attr:`members`."""
        return [self.members[self.space.layer_slice(layer)] for layer in range(self.space.n_layers)]

    @checked
    def restrict(self, *, layers: Iterable[int]) -> Network:
        """The part of the network that lies in some layers; the space stays the same.

        Args:
            layers: Numbers of the layers, from 0.

        Raises:
            InputIndexError: There is no such layer.
            InputTypeError: An entry is no integer: a float, or a boolean of a mask.
            InputError: A layer comes twice, as in a mask of 0 and 1.
        """
        in_layers = np.zeros(self.space.n_units, dtype=bool)
        for layer in layer_numbers(layers, "layers"):
            in_layers[self.space.layer_slice(layer)] = True
        return replace(self, members=self.members & in_layers)

    @checked
    def rename(self, name: str) -> Network:
        """The same network under another name.

        Args:
            name: The new name.
        """
        return replace(self, name=name)

    def positive(self) -> Network:
        """The part of the network with sign +1: the units with positive values in the map it was chosen from."""
        return replace(self, members=self.members & (self.signs > 0), name=f"{self.name} (+)")

    def negative(self) -> Network:
        """The part of the network with sign -1: the units with negative values in the map it was chosen from."""
        return replace(self, members=self.members & (self.signs < 0), name=f"{self.name} (-)")

    def __len__(self) -> int:
        return int(self.members.sum())

    def __bool__(self) -> bool:
        return True  # otherwise Python would take an empty network for False, as its len() is 0

    def __or__(self, other: Network) -> Network:
        return self._combine(other, "|", operator.or_)

    def __and__(self, other: Network) -> Network:
        return self._combine(other, "&", operator.and_)

    def __sub__(self, other: Network) -> Network:
        return self._combine(other, "-", operator.gt)  # of booleans, a > b is "a and not b"

    def __invert__(self) -> Network:
        return Network(self.space, ~self.members, name=f"~{self.name}", provenance=self.provenance)

    def _combine(self, other: Network, sign: str, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Network:
        """The set that ``rule`` makes of both memberships; ``sign`` is the operator in its name."""
        if not isinstance(other, Network):
            raise InputTypeError(
                f"a network combines with a network; got {type(other).__name__}. Select units with .top first"
            )
        self.space.require_same(other.space)
        members = rule(self.members, other.members)
        own = self.signs
        others = other.signs
        contradicting = (own != 0) & (others != 0) & (own != others)
        # the sign that is known; none where the two contradict each other. The constructor clears those of other units
        signs = np.where(contradicting, 0, np.where(own != 0, own, others))
        name = f"{self.name} {sign} {other.name}"
        sources = self.provenance, other.provenance
        # the prompts of both parts: a battery must not test the result on any of them
        provenance: dict[str, Any] = {
            "method": name,
            "parts": [dict(one) for one in sources],
            **pooled_prompts(sources),
        }
        return Network(self.space, members, signs.astype(np.int8), name, provenance)

    def __eq__(self, other: object) -> bool:
        """Whether space and members are the same; names, signs and provenance do not count."""
        if not isinstance(other, Network):
            return NotImplemented
        return self.space == other.space and bool(np.array_equal(self.members, other.members))

    def __hash__(self) -> int:
        # equal networks have equal hashes: of what __eq__ compares, and of nothing else
        return hash((self.space, self.members.tobytes()))

    def to_dataframe(self) -> pd.DataFrame:
        """One line for each unit of the network: layer, unit (numbered within the layer), sign."""
        # layer of each member, and its number within that layer: flat index less the start of the layer
        layers = self.space.layer_of[self.indices]
        return pd.DataFrame(
            {
                "layer": layers,
                "unit": self.indices - np.array(self.space.offsets)[layers],
                "sign": self.signs[self.indices],
            }
        )

    @checked
    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The network as plain JSON, which needs no tl_fbn to read: its units by layer, numbered within the layer.

        >>> space = fbn.UnitSpace("mlp.neurons", (3, 3), model="toy")
        >>> print(fbn.Network.from_indices(space, [0, 2, 4], name="a").to_json())
        {
        "name": "a",
        "model": "toy",
        "site": "mlp.neurons",
        "widths": [3, 3],
        "units": [[0, 2], [1]],
        "provenance": {}
        }
        <BLANKLINE>

        Args:
            path: A file to write the JSON to as well; None writes none.

        Returns:
            The JSON text. :mod:`tl_fbn.units.exchange_formats` describes its keys.
        """
        return exchange.written({"name": self.name, **self.space.stated(), **self._units_as_json()}, path)

    def _units_as_json(self) -> dict[str, Any]:
        """Units by layer, signs if any is known, and provenance; an atlas writes these for each of its networks."""
        signs = {"signs": exchange.layer_signs(self.space, self.members, self.signs)} if self.signs.any() else {}
        return {
            "units": exchange.layer_lists(self.space, self.members),
            **signs,
            "provenance": dict(self.provenance),
        }

    @classmethod
    @checked
    def from_json(cls, source: Any, space: UnitSpace | None = None, *, name: str | None = None) -> Network:
        """A network from JSON, or from lists, arrays or tensors of units that somebody released.

        >>> space = fbn.UnitSpace("mlp.neurons", (3, 3))
        >>> fbn.Network.from_json([[0, 2], [1]], space, name="released").indices
        array([0, 2, 4])
        >>> fbn.Network.from_json({"blocks.1.mlp.hook_post": [1]}, space).indices
        array([4])

        Args:
            source: The path of a JSON file, a JSON text, or its content: the object that :meth:`to_json` writes, a list
                (layer) of lists of units or of boolean masks, or an object of layers (or hook names) to such lists.
            space: The space of the units; needed unless the JSON states it. Where both are there they must be equal.
            name: Name of the network; by default the name in the JSON.

        Raises:
            FileNotFoundError: There is no file at the path.
            InputError: The source is no JSON, no space is known, or a layer or unit does not exist; the message names
                layer and entry.
        """
        about = exchange.parsed(source)
        space = exchange.described_space(about, space)
        as_we_write = isinstance(about, Mapping) and "units" in about
        # bare lists have neither name nor signs, and their provenance is that they were read
        parts = about if as_we_write else {"units": about, "provenance": {"method": "from_json"}}
        members, signs = exchange.read_members(space, parts["units"], parts.get("signs"))
        provenance = parts.get("provenance") or {}
        if not isinstance(provenance, Mapping):
            raise InputError(f"the provenance is {provenance!r}, no object; give names to values, or leave it out")
        return cls(space, members, signs, name or str(parts.get("name") or "network"), provenance)

    @classmethod
    def _methods_of_(cls, results: Sequence[Network]) -> list[str]:
        return selection_prose.sentences(results)

    def _report_sections_(self) -> list[dict[str, Any]]:
        widths = np.array(self.space.widths)
        counts = self.per_layer()
        share = 100 * counts / np.where(widths > 0, widths, np.nan)  # NaN, not 0 %, where a layer has no units
        table = pd.DataFrame({"layer": range(len(widths)), "members": counts, "units": widths, "share (%)": share})
        n_up = int((self.signs > 0).sum())
        n_down = int((self.signs < 0).sum())
        signs = f", {n_up:,} signed + and {n_down:,} signed -" if n_up or n_down else ""
        size = f"{len(self):,} of {self.space.n_units:,} units ({self.share:.2%})"
        return [
            {
                "title": f"Network {self.name}",
                "text": f"{size} of {self.space.describe()}{signs}.",
                "origin": self.provenance,
                "picture": "layer_profile",
                "table": table,
            }
        ]

    def __repr__(self) -> str:
        layers = " ".join(map(str, self.per_layer()))
        return (
            f'Network "{self.name}": {len(self):,} of {self.space.n_units:,} units ({self.share:.2%}) '
            f"of {self.space.describe()}, per layer {layers}"
        )

    def _repr_html_(self) -> str:
        rows = [
            (layer, n, width, f"{n / width:.1%}")
            for layer, (n, width) in enumerate(zip(self.per_layer(), self.space.widths, strict=True))
            if width
        ]
        return html_table(repr(self), ("layer", "members", "units", "share"), rows)
