"""Where units are: a site, and the number of units in every layer."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from tl_fbn.errors import InputError, InputIndexError

Provenance = Mapping[str, Any]


def pooled_prompts(sources: Iterable[Provenance]) -> dict[str, list[str]]:
    """What several results together were found on, as an entry of provenance; none where one of them does not know."""
    known = [source.get("prompts") for source in sources]
    return {} if None in known else {"prompts": sorted({digest for part in known for digest in part or ()})}


def pooled_origins(networks: Mapping[str, Any]) -> dict[str, Any]:
    """Where several networks or maps came from: each one's provenance by name, and the prompts of all, if all know them."""
    parts = {
        name: {key: value for key, value in one.provenance.items() if key != "prompts"}
        for name, one in networks.items()
    }
    return {"of": parts, **pooled_prompts(one.provenance for one in networks.values())}


@dataclass(frozen=True)
class UnitSpace:
    """Where units are: a site and the number of units in every layer.

    >>> space = UnitSpace("mlp.neurons", (4, 4, 6), model="toy")
    >>> space.n_units, space.locate(9), space.index(2, 1)
    (14, (2, 1), 9)

    Args:
        site: Site name, e.g. ``"mlp.neurons"``.
        widths: Units in each layer, one number a layer of the model; 0 where a layer has none.
        model: Name of the model; a label, not part of equality.
        weights: Digest of the model's weights if known; a label likewise.
    """

    site: str
    widths: tuple[int, ...]
    model: str = field(default="unknown", compare=False)
    weights: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        widths = tuple(operator.index(width) for width in self.widths)
        if not widths or min(widths) < 0 or sum(widths) == 0:
            raise InputError(f"widths {self.widths} describe no units; give the number of units of every layer")
        object.__setattr__(self, "widths", widths)

    @property
    def n_layers(self) -> int:
        """Number of layers, those without units included."""
        return len(self.widths)

    @property
    def n_units(self) -> int:
        """Number of units, over all layers."""
        return sum(self.widths)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Flat index at which each layer starts, and the total at the end: (layer + 1,)."""
        return (0, *np.cumsum(self.widths).tolist())

    @property
    def layer_of(self) -> Int[np.ndarray, " unit"]:
        """Layer of every unit."""
        return np.repeat(np.arange(self.n_layers), self.widths)

    def layer_slice(self, layer: int) -> slice:
        """The flat indices of one layer."""
        if not 0 <= layer < self.n_layers:
            raise InputIndexError(f"layer {layer} is not in {self.describe()}; layers: 0 to {self.n_layers - 1}")
        offsets = self.offsets
        return slice(offsets[layer], offsets[layer + 1])

    def locate(self, index: int) -> tuple[int, int]:
        """Flat index to (layer, unit within the layer)."""
        if not 0 <= index < self.n_units:
            raise InputIndexError(f"unit {index} is not in {self.describe()}; flat indices: 0 to {self.n_units - 1}")
        layer = int(np.searchsorted(self.offsets, index, side="right")) - 1
        return layer, int(index) - self.offsets[layer]

    def index(self, layer: int, unit: int) -> int:
        """(layer, unit within the layer) to flat index."""
        span = self.layer_slice(layer)
        if not 0 <= unit < span.stop - span.start:
            raise InputIndexError(
                f"layer {layer} has {span.stop - span.start} units at {self.site}; {unit} is none of them"
            )
        return span.start + int(unit)

    def about(self) -> dict[str, Any]:
        """The space as JSON-serialisable values, for :meth:`from_about`."""
        return {"site": self.site, "widths": list(self.widths), "model": self.model, "weights": self.weights}

    @classmethod
    def from_about(cls, about: Mapping[str, Any]) -> UnitSpace:
        """The space that :meth:`about` described."""
        return cls(about["site"], tuple(about["widths"]), about["model"], about["weights"])

    def stated(self) -> dict[str, Any]:
        """The space as the keys that plain JSON opens with: model, site, widths, and the weights where they are known."""
        about = {"model": self.model, "site": self.site, "widths": list(self.widths)}
        return about if self.weights is None else {**about, "weights": self.weights}

    def describe(self) -> str:
        """The space in words: ``gpt2 mlp.neurons (12 x 3072)``."""
        return f"{self.model} {self.site} ({shape_words(self.widths)})"

    def require_same(self, other: UnitSpace, what: str = "combine") -> None:
        """Raise InputError, naming both spaces, unless they are equal."""
        if self != other:
            raise InputError(
                f"cannot {what} units of {self.describe()} and {other.describe()}; "
                "both must come from the same site with the same widths"
            )


def shape_words(widths: Sequence[int]) -> str:
    """Widths of layers in words: ``12 x 3072`` where they agree, else one by one."""
    if len(set(widths)) == 1:
        return f"{len(widths)} x {widths[0]}"
    listed = ", ".join(map(str, widths[:6])) + (", ..." if len(widths) > 6 else "")
    return f"{len(widths)} layers of {listed}"
