"""One number for every unit, and the selection of the units with the largest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.errors import InputError
from tl_fbn.units.html_tables import complete_widths, frame_columns, html_table, refuse_repeated
from tl_fbn.units.network import Network
from tl_fbn.units.prose import space_in_words
from tl_fbn.units.result import Result
from tl_fbn.units.score_prose import describe
from tl_fbn.units.selection_prose import source_in_words
from tl_fbn.units.space import Provenance, UnitSpace

TOP_UNITS = 20  # lines of a table of the largest
CAUTION = "The score compares no two tasks and proves no cause: contrast it with other tasks' scores, and silence what it finds."
SIGNED_KINDS = frozenset({"t", "z", "effect", "standardized", "loading", "correlation", "weight"})
"""Kinds of maps in which a large negative value says as much as a large positive one."""


@dataclass(frozen=True, eq=False)
class UnitMap(Result, step="scores", picture="unit_map"):
    """One number for every unit, and what kind of number it is.

    >>> space = UnitSpace("mlp.neurons", (3, 2))
    >>> scores = UnitMap(space, np.array([1.0, -5.0, 2.0, 0.0, 2.0]), "t")
    >>> scores.top(2).indices, scores.top(1, two_sided=True).indices
    (array([2, 4]), array([1]))

    Args:
        space: Where the units are.
        values: (unit,) floats.
        kind: ``"t"``, ``"z"``, ``"p"``, ``"loading"``, ``"attribution"``, ``"effect"`` ...
        provenance: Where the map came from; travels on to networks made of it.
    """

    space: UnitSpace
    values: Float[np.ndarray, " unit"]
    kind: str
    provenance: Provenance = field(default_factory=dict)

    _settings_ = ("kind",)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        if values.shape != (self.space.n_units,):
            raise InputError(
                f"a map of {self.space.describe()} needs {self.space.n_units} values in one row; got shape {values.shape}"
            )
        object.__setattr__(self, "values", values)

    @property
    def signed(self) -> bool:
        """Whether large negative values count as much as large positive ones; decided by the kind."""
        return self.kind in SIGNED_KINDS

    def by_layer(self) -> list[Float[np.ndarray, " unit"]]:
        """The values of every layer, as views."""
        return [self.values[self.space.layer_slice(layer)] for layer in range(self.space.n_layers)]

    def top(
        self, amount: int | float, *, two_sided: bool | None = False, per_layer: bool = False, name: str | None = None
    ) -> Network:
        """The units with the largest values: exactly that many, ties broken by index.

        Args:
            amount: An integer, a number of units; a float in (0, 1), a share of them (rounded down).
            two_sided: Take the largest absolute values; None: where the map is :attr:`signed`.
            per_layer: Take ``amount`` from every layer that has units.
            name: Name of the network.

        Returns:
            A network that remembers the sign of each value.

        Raises:
            InputError: More units than there are (NaN does not count, infinity does), or a fraction outside (0, 1).
        """
        two_sided = self.signed if two_sided is None else two_sided
        scores = np.abs(self.values) if two_sided else self.values
        mask = np.zeros(self.space.n_units, dtype=bool)
        spans = [self.space.layer_slice(layer) for layer in range(self.space.n_layers)] if per_layer else [slice(None)]
        for layer, span in enumerate(spans):
            chosen = scores[span]
            if chosen.size == 0:
                continue
            where = f"layer {layer} of {self.space.describe()}" if per_layer else self.space.describe()
            n = _count(amount, chosen.size, where)
            valid = int((~np.isnan(chosen)).sum())
            if n > valid:
                raise InputError(
                    f"top({amount}) asks for {n} units, but only {valid} of {where} have a value (the others are NaN); ask for fewer"
                )
            mask[span] = top_mask(chosen, n)
        provenance = {
            **self.provenance,
            "selection": {"top": amount, "two_sided": two_sided, "per_layer": per_layer, "kind": self.kind},
        }
        signs = np.where(mask, np.sign(self.values), 0)
        return Network(
            self.space, mask, np.nan_to_num(signs).astype(np.int8), name or _named(amount, self.provenance), provenance
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit (within the layer), value."""
        layers = self.space.layer_of
        return pd.DataFrame(
            {
                "layer": layers,
                "unit": np.arange(len(layers)) - np.array(self.space.offsets)[layers],
                "value": self.values,
            }
        )

    @classmethod
    def from_dataframe(
        cls,
        table: pd.DataFrame,
        space: UnitSpace | None = None,
        *,
        kind: str,
        value: str = "value",
        site: str = "mlp.neurons",
    ) -> UnitMap:
        """A map from a table with one line a unit, in any order: the way back from :meth:`to_dataframe`.

        >>> table = pd.DataFrame({"layer": [1, 0, 0], "unit": [0, 1, 0], "value": [3.0, 2.0, 1.0]})
        >>> UnitMap.from_dataframe(table, kind="effect").values
        array([1., 2., 3.])

        Args:
            table: Columns ``layer``, ``unit`` (within the layer) and ``value``; others are left alone.
            space: Where the units are; those that the table lacks are NaN. None: the table itself tells the widths, and must then have
                every unit of every layer.
            kind: What kind of number it is.
            value: Name of the column of values.
            site: Name of the site where no space is given.

        Raises:
            InputError: A column is missing; a layer or unit is no whole number, not in the space, or comes twice; a value is no number;
                without a space, a layer or unit is missing. Messages name the line, counted from 0.
        """
        layers, units, values = frame_columns(table, value)
        if space is None:
            space = UnitSpace(site, complete_widths(layers, units))
        widths = np.array(space.widths)
        known = (layers >= 0) & (layers < space.n_layers)
        known[known] = (units[known] >= 0) & (units[known] < widths[layers[known]])
        if not known.all():
            line = int(np.argmin(known))
            raise InputError(
                f"line {line} has layer {layers[line]}, unit {units[line]}, which is not in {space.describe()}; layers and units are "
                "numbered from 0"
            )
        flat = np.array(space.offsets)[layers] + units
        refuse_repeated(flat, layers, units)
        found = np.full(space.n_units, np.nan)
        found[flat] = values
        return cls(space, found, kind, {"method": "from_dataframe"})

    def _methods_(self) -> list[str]:
        if said := describe(self.provenance):
            kept = [
                f"{name.replace('_', ' ')} {self.provenance[name]}"
                for name in ("site", "groups", "weight_of_demonstrations", "n_steps")
                if name in self.provenance
            ]
            return [f"{said.rstrip('.')} ({', '.join(kept)})."]
        return [f"The map of {self.kind} over {space_in_words(self.space)} is {source_in_words(self.provenance)}."]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"One number ({self.kind}) for each of {self.space.n_units:,} units of {self.space.describe()}. "
            "Colours are clipped at the 99.5th percentile of the magnitudes. "
            f"The table lists the {TOP_UNITS} units of largest magnitude."
        )
        if said := describe(self.provenance):
            text = f"{said} {CAUTION}\n\n{text}"
        return [
            {
                "title": f"Map of {self.kind}",
                "text": text,
                "origin": self.provenance,
                "picture": "unit_map",
                "table": largest_units(self),
            }
        ]

    def __repr__(self) -> str:
        finite = self.values[np.isfinite(self.values)]
        span = f"{finite.min():.3g} to {finite.max():.3g}" if finite.size else "no finite value"
        return f"UnitMap of {self.kind}: {self.space.describe()}, {span}"

    def _repr_html_(self) -> str:
        rows = [
            (layer, f"{np.nanmin(part):.3g}", f"{np.nanmedian(part):.3g}", f"{np.nanmax(part):.3g}")
            for layer, part in enumerate(self.by_layer())
            if np.isfinite(part).any()
        ]
        return html_table(repr(self), ("layer", "lowest", "median", "highest"), rows)


def largest_units(values: UnitMap, n: int = TOP_UNITS) -> pd.DataFrame:
    """The units of largest finite magnitude, largest first, ties by index: layer, unit, and the value under its kind."""
    order = order_by_magnitude(values, n)
    layers = values.space.layer_of[order]
    units = order - np.array(values.space.offsets)[layers]
    return pd.DataFrame({"layer": layers, "unit": units, values.kind: values.values[order]})


def order_by_magnitude(values: UnitMap, n: int = TOP_UNITS) -> Int[np.ndarray, " some"]:
    """Flat indices of the ``n`` units of largest finite magnitude, largest first, ties by index."""
    sizes = np.abs(values.values)
    order = np.argsort(-np.where(np.isfinite(sizes), sizes, -1.0), kind="stable")
    return order[: min(n, int(np.isfinite(sizes).sum()))]


def _named(amount: int | float, provenance: Provenance) -> str:
    """What a selection is called where nobody said: a page may show several."""
    of = provenance.get("contrast")
    return f"top {amount} of {of}" if isinstance(of, str) else f"top {amount}"


def top_mask(scores: Float[np.ndarray, " unit"], n: int) -> Bool[np.ndarray, " unit"]:
    """Exactly the ``n`` largest scores; among equals the lower index wins; NaN comes last."""
    order = np.argsort(-scores, kind="stable")  # numpy sorts NaN behind everything, infinity included
    mask = np.zeros(scores.shape, dtype=bool)
    mask[order[:n]] = True
    return mask


def _count(amount: int | float, available: int, where: str) -> int:
    """Turn ``n`` or a fraction into a number of units, or say what is wrong with it."""
    if isinstance(amount, (bool, np.bool_)):
        raise InputError(f"top({amount}) names no number of units; give an integer or a fraction between 0 and 1")
    if isinstance(amount, (int, np.integer)):
        if not 0 <= amount <= available:
            raise InputError(
                f"top({amount}) asks for {amount} units, but {where} has {available}; ask for 0 to {available}"
            )
        return int(amount)
    if not 0.0 < amount < 1.0:
        raise InputError(
            f"top({amount}) is no fraction between 0 and 1; give 0.05 for 5 %, or an integer for a number of units"
        )
    return int(amount * available + 1e-9)  # S1 truncates: int(.05 * 352256) = 17612
