"""One number for every unit, and the selection of the units with the largest."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from tl_fbn import files
from tl_fbn.units.html_tables import complete_widths, frame_columns, html_table, refuse_repeated
from tl_fbn.units.network import Network
from tl_fbn.units.space import Provenance, UnitSpace


@dataclass(frozen=True, eq=False)
class UnitMap:
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

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        if values.shape != (self.space.n_units,):
            raise ValueError(
                f"a map of {self.space.describe()} needs {self.space.n_units} values in one row; got shape {values.shape}"
            )
        object.__setattr__(self, "values", values)

    def by_layer(self) -> list[Float[np.ndarray, " unit"]]:
        """The values of every layer, as views."""
        return [self.values[self.space.layer_slice(layer)] for layer in range(self.space.n_layers)]

    def top(
        self, amount: int | float, *, two_sided: bool = False, per_layer: bool = False, name: str | None = None
    ) -> Network:
        """The units with the largest values: exactly that many, ties broken by index.

        Args:
            amount: An integer, a number of units; a float in (0, 1), a share of them (rounded down).
            two_sided: Take the largest absolute values.
            per_layer: Take ``amount`` from every layer that has units.
            name: Name of the network.

        Returns:
            A network that remembers the sign of each value.

        Raises:
            ValueError: More units than there are (NaN does not count, infinity does), or a fraction outside (0, 1).
        """
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
                raise ValueError(
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
            ValueError: A column is missing; a layer or unit is no whole number, not in the space, or comes twice; a value is no number;
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
            raise ValueError(
                f"line {line} has layer {layers[line]}, unit {units[line]}, which is not in {space.describe()}; layers and units are "
                "numbered from 0"
            )
        flat = np.array(space.offsets)[layers] + units
        refuse_repeated(flat, layers, units)
        found = np.full(space.n_units, np.nan)
        found[flat] = values
        return cls(space, found, kind, {"method": "from_dataframe"})

    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file."""
        files.write_result(
            path,
            "UnitMap",
            {"values": self.values},
            {"space": self.space.about(), "kind": self.kind, "provenance": dict(self.provenance)},
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> UnitMap:
        """Load what :meth:`save` saved."""
        arrays, about = files.read_result(path, "UnitMap")
        return cls(UnitSpace.from_about(about["space"]), arrays["values"], about["kind"], about["provenance"])

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
        raise ValueError(f"top({amount}) names no number of units; give an integer or a fraction between 0 and 1")
    if isinstance(amount, (int, np.integer)):
        if not 0 <= amount <= available:
            raise ValueError(
                f"top({amount}) asks for {amount} units, but {where} has {available}; ask for 0 to {available}"
            )
        return int(amount)
    if not 0.0 < amount < 1.0:
        raise ValueError(
            f"top({amount}) is no fraction between 0 and 1; give 0.05 for 5 %, or an integer for a number of units"
        )
    return int(amount * available + 1e-9)  # S1 truncates: int(.05 * 352256) = 17612
