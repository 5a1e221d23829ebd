"""A named set of units, with set algebra."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Int8

from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.units import exchange_formats as exchange
from tl_fbn.units import selection_prose
from tl_fbn.units.html_tables import html_table
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance, UnitSpace, pooled_prompts


def _no_signs() -> Int8[np.ndarray, " none"]:
    """What stands for "no sign is known" until the constructor has one 0 a unit."""
    return np.zeros(0, np.int8)


@dataclass(frozen=True, eq=False)
class Network(Result, step="networks", picture="layer_profile"):
    """A named set of units.

    >>> space = UnitSpace("mlp.neurons", (3, 3), model="toy")
    >>> a = Network(space, np.array([True, True, False, False, True, False]), name="a")
    >>> b = Network.from_indices(space, [1, 5], name="b")
    >>> (a & b).indices, len(a | b), (~a).per_layer(), (a - b).restrict(layers=[0]).indices
    (array([1]), 4, array([1, 2]), array([0]))

    Args:
        space: Where the units are.
        members: (unit,) booleans.
        signs: (unit,) -1, 0 or 1; 0 outside the set and where no sign is known, as everywhere by default.
        name: A name for tables and pictures.
        provenance: Method, threshold, recording key, seed and, under ``"prompts"``, digests of the prompts the
            network was found on (absent: unknown).
    """

    space: UnitSpace
    members: Bool[np.ndarray, " unit"]
    signs: Int8[np.ndarray, " unit"] = field(default_factory=_no_signs)
    name: str = "network"
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        members = np.array(self.members)  # a copy: whoever made the mask may use it again
        if members.dtype != np.bool_ or members.shape != (self.space.n_units,):
            raise InputError(
                f"members of a network in {self.space.describe()} are {self.space.n_units} booleans; got "
                f"{members.dtype} of shape {members.shape}. Network.from_indices takes indices"
            )
        given = np.asarray([] if self.signs is None else self.signs, dtype=np.int8)
        signs = given if given.size else np.zeros(members.shape, np.int8)
        if signs.shape != members.shape:
            raise InputError(f"signs have shape {signs.shape}, members {members.shape}; give one sign a unit")
        if ((signs < -1) | (signs > 1)).any():
            raise InputError(
                f"signs are -1, 0 or 1; got {np.setdiff1d(signs, [-1, 0, 1]).tolist()}. np.sign makes them"
            )
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "signs", np.where(members, signs, 0).astype(np.int8))

    @classmethod
    def from_indices(
        cls,
        space: UnitSpace,
        indices: Iterable[int] | Iterable[tuple[int, int]] | Int[np.ndarray, " some"],
        *,
        name: str = "network",
        provenance: Provenance | None = None,
    ) -> Network:
        """A network from flat indices, or from (layer, unit) pairs."""
        members = np.zeros(space.n_units, dtype=bool)
        for index in indices:
            flat = space.index(*index) if isinstance(index, tuple) else operator.index(index)
            if not 0 <= flat < members.size:
                space.locate(flat)  # raises, naming the space
            members[flat] = True
        return cls(space, members, name=name, provenance=provenance or {})

    @property
    def indices(self) -> Int[np.ndarray, " member"]:
        """Flat indices of the members, ascending."""
        return np.flatnonzero(self.members)

    @property
    def share(self) -> float:
        """Members as a share of all units."""
        return len(self) / self.space.n_units

    def per_layer(self) -> Int[np.ndarray, " layer"]:
        """Members in each layer."""
        return np.bincount(self.space.layer_of[self.members], minlength=self.space.n_layers)

    def by_layer(self) -> list[Bool[np.ndarray, " unit"]]:
        """Membership of every layer, as views."""
        return [self.members[self.space.layer_slice(layer)] for layer in range(self.space.n_layers)]

    def restrict(self, *, layers: Iterable[int]) -> Network:
        """Only the members in these layers."""
        kept = np.zeros(self.space.n_units, dtype=bool)
        for layer in layers:
            kept[self.space.layer_slice(layer)] = True
        return replace(self, members=self.members & kept)

    def rename(self, name: str) -> Network:
        """The same network under another name."""
        return replace(self, name=name)

    def positive(self) -> Network:
        """Only members whose sign is +1 (more active under the contrast)."""
        return replace(self, members=self.members & (self.signs > 0), name=f"{self.name} (+)")

    def negative(self) -> Network:
        """Only members whose sign is -1."""
        return replace(self, members=self.members & (self.signs < 0), name=f"{self.name} (-)")

    def __len__(self) -> int:
        return int(self.members.sum())

    def __bool__(self) -> bool:
        return True  # an empty network is still a network; ask len()

    def __or__(self, other: Network) -> Network:
        return self._combine(other, "|", operator.or_)

    def __and__(self, other: Network) -> Network:
        return self._combine(other, "&", operator.and_)

    def __sub__(self, other: Network) -> Network:
        return self._combine(other, "-", operator.gt)  # in self and not in other

    def __invert__(self) -> Network:
        return Network(self.space, ~self.members, name=f"~{self.name}", provenance=self.provenance)

    def _combine(self, other: Network, sign: str, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Network:
        if not isinstance(other, Network):
            raise InputTypeError(
                f"a network combines with a network; got {type(other).__name__}. Select units with .top first"
            )
        self.space.require_same(other.space)
        members = rule(self.members, other.members)
        mine = self.signs
        theirs = other.signs
        # a unit that two maps sign differently has no sign
        signs = np.where((mine != 0) & (theirs != 0) & (mine != theirs), 0, np.where(mine != 0, mine, theirs))
        name = f"{self.name} {sign} {other.name}"
        sources = self.provenance, other.provenance
        provenance: dict[str, Any] = {
            "method": name,
            "parts": [dict(one) for one in sources],
            **pooled_prompts(sources),
        }
        return Network(self.space, members, signs.astype(np.int8), name, provenance)

    def __eq__(self, other: object) -> bool:
        """Same space, same members; names, signs and provenance do not count."""
        if not isinstance(other, Network):
            return NotImplemented
        return self.space == other.space and bool(np.array_equal(self.members, other.members))

    def __hash__(self) -> int:
        return hash((self.space, self.members.tobytes()))

    def to_dataframe(self) -> pd.DataFrame:
        """One line a member: layer, unit (within the layer), sign."""
        layers = self.space.layer_of[self.indices]
        return pd.DataFrame(
            {
                "layer": layers,
                "unit": self.indices - np.array(self.space.offsets)[layers],
                "sign": self.signs[self.indices],
            }
        )

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The network as plain JSON: the units of every layer, numbered within it, and what it is called and came from.

        >>> space = UnitSpace("mlp.neurons", (3, 3), model="toy")
        >>> print(Network.from_indices(space, [0, 2, 4], name="a").to_json())
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
            path: Also write it to this file.

        Returns:
            The JSON text; :mod:`tl_fbn.units.exchange_formats` describes its keys.
        """
        return exchange.written({"name": self.name, **self.space.stated(), **self._units()}, path)

    def _units(self) -> dict[str, Any]:
        signs = {"signs": exchange.layer_signs(self.space, self.members, self.signs)} if self.signs.any() else {}
        return {
            "units": exchange.layer_lists(self.space, self.members),
            **signs,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, source: Any, space: UnitSpace | None = None, *, name: str | None = None) -> Network:
        """A network from JSON, ours or another's, or from the lists, arrays or tensors that somebody released.

        >>> Network.from_json([[0, 2], [1]], UnitSpace("mlp.neurons", (3, 3)), name="released").indices
        array([0, 2, 4])
        >>> Network.from_json({"blocks.1.mlp.hook_post": [1]}, UnitSpace("mlp.neurons", (3, 3))).indices
        array([4])

        Args:
            source: A path, a JSON text, or what was read already: what :meth:`to_json` writes, a list (layer) of lists of units or of
                boolean masks, or an object of layers (or hook names) to such lists.
            space: Where the units are; needed unless the JSON says so, and checked against it where it does.
            name: A name; by default the one in the JSON.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: The source is no JSON, names no space, or lists layers or units that are not there; the message names layer and
                entry.
        """
        about = exchange.parsed(source)
        space = exchange.described_space(about, space)
        ours = isinstance(about, Mapping) and "units" in about
        parts = about if ours else {"units": about, "provenance": {"method": "from_json"}}
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
        share = 100 * counts / np.where(widths > 0, widths, np.nan)
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
