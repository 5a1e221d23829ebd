"""The space of units: a site of a model, and the number of units in every layer.

Units are numbered twice: within their layer, from 0, and *flat* over all layers, from 0 for the first unit of layer
0. The flat index of unit ``u`` of layer ``l`` is ``w_0 + ... + w_(l-1) + u`` with ``w`` the widths of the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, InputIndexError, InputKeyError, visible
from tl_fbn.kinds import as_integer
from tl_fbn.signatures import checked

Provenance = Mapping[str, Any]


def pooled_prompts(sources: Iterable[Provenance]) -> dict[str, list[str]]:
    """The prompts on which several results were found together, as an entry of provenance.

    Args:
        sources: Provenance of each result, whose entry ``"prompts"`` holds digests of prompts.

    Returns:
        ``{"prompts": [...]}`` with the digests of all results, sorted; empty where one result does not say its
        prompts, as the list would then be incomplete.
    """
    # an absent entry means unknown prompts, an empty one means none
    known = [source.get("prompts") for source in sources]
    return {} if None in known else {"prompts": sorted({digest for part in known for digest in part or ()})}


def pooled_origins(networks: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of something made of several networks or maps: where each came from, and the prompts of all.

    Args:
        networks: Names to networks or maps.
    """
    # prompts are listed once for all, not once for each part
    parts = {
        name: {key: value for key, value in one.provenance.items() if key != "prompts"}
        for name, one in networks.items()
    }
    return {"of": parts, **pooled_prompts(one.provenance for one in networks.values())}


@checked
@dataclass(frozen=True)
class UnitSpace:
    """The units of one site of a model: the name of the site, and the number of units in every layer.

    >>> space = fbn.UnitSpace("mlp.neurons", (4, 4, 6), model="toy")
    >>> space.n_units, space.locate(9), space.index(2, 1)
    (14, (2, 1), 9)

    Args:
        site: Name of the site, e.g. ``"mlp.neurons"``.
        widths: Number of units in each layer, one entry for each layer of the model; 0 where a layer has none.
        model: Name of the model. It is a label: spaces of differently named models can be equal.
        weights: Digest of the model's weights; None where it is not known. It does not count for equality either.
    """

    site: str
    widths: tuple[int, ...]
    model: str = field(default="unknown", compare=False)
    weights: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        # numpy integers become plain ones; 4.0 and True are refused
        widths = tuple(whole_number(width, f"width of layer {layer}") for layer, width in enumerate(self.widths))
        if not widths or min(widths) < 0 or sum(widths) == 0:
            raise InputError(f"widths {self.widths} describe no units; give the number of units of every layer")
        object.__setattr__(self, "widths", widths)

    @property
    def n_layers(self) -> int:
        """Number of layers of the model, those without units included."""
        return len(self.widths)

    @property
    def n_units(self) -> int:
        """Number of units of all layers together."""
        return sum(self.widths)

    @property
    def offsets(self) -> tuple[int, ...]:
        """(layer + 1,) flat index of the first unit of each layer, and the number of all units at the end."""
        return (0, *np.cumsum(self.widths).tolist())

    @property
    def layer_of(self) -> Int[np.ndarray, " unit"]:
        """(unit,) layer of every unit."""
        # layer 0 w_0 times, layer 1 w_1 times, ...
        return np.repeat(np.arange(self.n_layers), self.widths)

    def layer_slice(self, layer: int) -> slice:
        """The flat indices of the units of one layer, as a slice of a (unit,) array.

        Args:
            layer: Number of the layer, from 0.

        Raises:
            InputIndexError: There is no such layer.
        """
        number = as_integer(layer)  # True is no layer 1, nor 1.0
        if number is None or not 0 <= number < self.n_layers:
            raise InputIndexError(f"layer {layer!r} is not in {self.describe()}; layers: 0 to {self.n_layers - 1}")
        offsets = self.offsets
        return slice(offsets[number], offsets[number + 1])

    def locate(self, index: int) -> tuple[int, int]:
        """The layer of a unit, and its number within the layer.

        Args:
            index: Flat index of the unit.

        Raises:
            InputIndexError: There is no such unit.
        """
        number = as_integer(index)
        if number is None or not 0 <= number < self.n_units:
            raise InputIndexError(f"unit {index!r} is not in {self.describe()}; flat indices: 0 to {self.n_units - 1}")
        # side="right": layers of width 0 start where the next layer does, and the last to start there has the unit
        layer = int(np.searchsorted(self.offsets, number, side="right")) - 1
        return layer, number - self.offsets[layer]

    def index(self, layer: int, unit: int) -> int:
        """The flat index of a unit.

        Args:
            layer: Number of the layer, from 0.
            unit: Number of the unit within the layer, from 0.

        Raises:
            InputIndexError: There is no such layer, or no such unit in it.
        """
        span = self.layer_slice(layer)
        number = as_integer(unit)
        if number is None or not 0 <= number < span.stop - span.start:
            raise InputIndexError(
                f"layer {layer} has {span.stop - span.start} units at {self.site}; {unit!r} is none of them"
            )
        return span.start + number

    def about(self) -> dict[str, Any]:
        """The space as values that JSON can hold; :meth:`from_about` reads them."""
        return {"site": self.site, "widths": list(self.widths), "model": self.model, "weights": self.weights}

    @classmethod
    @checked
    def from_about(cls, about: Mapping[str, Any]) -> UnitSpace:
        """The space from the values that :meth:`about` gave.

        Args:
            about: The keys ``site``, ``widths``, ``model`` and ``weights``.

        Raises:
            InputKeyError: A key is missing.
        """
        if missing := [name for name in ("site", "widths", "model", "weights") if name not in about]:
            raise InputKeyError(
                f"the description of a unit space lacks {', '.join(missing)}; UnitSpace.about writes it"
            )
        widths = about["widths"]
        return cls(
            about["site"], tuple(widths) if isinstance(widths, list) else widths, about["model"], about["weights"]
        )

    def stated(self) -> dict[str, Any]:
        """The keys that open the JSON of a network: model, site, widths, and the digest of the weights if known."""
        about = {"model": self.model, "site": self.site, "widths": list(self.widths)}
        return about if self.weights is None else {**about, "weights": self.weights}

    def describe(self) -> str:
        """The space in words, as ``gpt2 mlp.neurons (12 x 3072)``."""
        return visible(f"{self.model} {self.site} ({shape_words(self.widths)})")

    @checked
    def require_same(self, other: UnitSpace, what: str = "combine") -> None:
        """Raise an error unless another space is equal to this one.

        Args:
            other: The other space.
            what: What was to be done with the units, as a verb for the message.

        Raises:
            InputError: Site or widths differ; the message names both spaces.
        """
        # model and weights are labels (compare=False), so they do not count here
        if self != other:
            raise InputError(
                f"cannot {what} units of {self.describe()} and {other.describe()}; "
                "both must come from the same site with the same widths"
            )


def shape_words(widths: Sequence[int]) -> str:
    """Widths of layers in words: ``12 x 3072`` where all are equal, else one by one.

    Args:
        widths: Number of units in each layer.
    """
    if len(set(widths)) == 1:
        return f"{len(widths)} x {widths[0]}"
    # six widths and an ellipsis keep the message on one line
    listed = ", ".join(map(str, widths[:6])) + (", ..." if len(widths) > 6 else "")
    return f"{len(widths)} layers of {listed}"
