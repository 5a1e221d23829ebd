"""A map, which is one number for every unit, and the selection of the units with the largest numbers.

The *kind* of a map says what its numbers are (``"t"``, ``"effect"``, ``"attribution"`` ...) and whether their sign
means
something: a unit with t = -9 responds as clearly as one with t = 9, while a p of 0.9 is no opposite of a p of 0.1.
Selection breaks ties by a seeded draw that is spread over layers (:mod:`.ties`). It is no test: thresholds
that control errors are methods of the results that have p values (:meth:`tl_fbn.glm.Contrast.threshold`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from tl_fbn.arguments import number_array, refuse_doubled_columns
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked
from tl_fbn.units.html_tables import complete_widths, frame_columns, html_table, refuse_repeated
from tl_fbn.units.network import Network
from tl_fbn.units.prose import space_in_words
from tl_fbn.units.result import Result
from tl_fbn.units.score_prose import describe
from tl_fbn.units.selection_prose import source_in_words
from tl_fbn.units.space import Provenance, UnitSpace
from tl_fbn.units.ties import checked_seed, tied_at_cut, top_mask

TOP_UNITS = 20  # number of units in the table of a map's largest values
CAUTION = (
    "The score compares no two tasks and proves no cause: contrast it with other tasks' scores, "
    "and silence what it finds."
)
SIGNED_KINDS = frozenset(
    {"t", "z", "effect", "standardized", "contribution", "z_within_layer", "loading", "correlation", "weight"}
)
"""Kinds of maps in which a large negative value means as much as a large positive one."""


@checked
@dataclass(frozen=True, eq=False)
class UnitMap(Result, step="scores", picture="unit_map"):
    """One number for every unit, and what kind of number it is.

    >>> effect = contrast.effect
    >>> effect
    UnitMap of effect: tl_fbn-demo mlp.neurons (3 x 384), -1.49 to 1.33
    >>> effect.top(0.02, two_sided=True).per_layer()
    array([20,  1,  2])

    Args:
        space: The space of the units.
        values: (unit,) floating-point numbers; NaN where a unit has none.
        kind: What the numbers are: ``"t"``, ``"z"``, ``"p"``, ``"effect"``, ``"loading"``, ``"attribution"`` or any
            other word.
        provenance: Where the map came from: method, settings, seed, digests of prompts. Networks that are selected
            from the map keep it.
    """

    space: UnitSpace
    values: Float[np.ndarray, " unit"]
    kind: str
    provenance: Provenance = field(default_factory=dict)

    _settings_ = ("kind",)

    def __post_init__(self) -> None:
        # masked units have no value; a copy, as whoever made the array may write to it
        values = np.array(number_array(self.values, "the values of a map", masked=np.nan))
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        if values.shape != (self.space.n_units,):
            raise InputError(
                f"a map of {self.space.describe()} needs {self.space.n_units} values in one row; got shape "
                f"{values.shape}"
            )
        object.__setattr__(self, "values", values)

    @property
    def signed(self) -> bool:
        """Whether large negative values mean as much as large positive ones, which the kind decides."""
        return self.kind in SIGNED_KINDS

    def by_layer(self) -> list[Float[np.ndarray, " unit"]]:
        """For every layer its (unit,) values, as views of :attr:`values`."""
        return [self.values[self.space.layer_slice(layer)] for layer in range(self.space.n_layers)]

    @checked
    def top(
        self,
        amount: int | float,
        *,
        two_sided: bool | None = False,
        per_layer: bool = False,
        name: str | None = None,
        seed: int = 0,
    ) -> Network:
        """The units with the largest values: exactly as many as asked for, and never one without a value (NaN).

        Where more units have the value at the cut than are asked for, those that are taken are drawn, spread over
        layers. The network's ``provenance["selection"]`` then says how many were ``tied`` and how many of them were
        ``drawn``; :meth:`tied` says it beforehand.

        Args:
            amount: An integer is a number of units; a float between 0 and 1 is a share of them, rounded down.
            two_sided: True selects the largest absolute values, False the largest values; None selects absolute
                values where the kind of the map is :attr:`signed`. (:meth:`tl_fbn.glm.Contrast.threshold` selects in
                both directions unless told otherwise.)
            per_layer: True selects ``amount`` in every layer that has units, False in all layers together.
            name: Name of the network; by default ``top`` and the amount.
            seed: Seed of the draw among units with equal values at the cut; the same seed draws the same units of one
                map.

        Returns:
            The network, with the sign of each unit's value.

        Raises:
            InputError: There are fewer units with a value than asked for (infinity is a value, NaN is none), or a
                float is not between 0 and 1.
        """
        two_sided = self.signed if two_sided is None else two_sided
        seed = checked_seed(seed)
        mask = np.zeros(self.space.n_units, dtype=bool)
        n_tied = n_drawn = 0
        for layer, span, chosen, n in self._parts(amount, two_sided, per_layer):
            layers = None if per_layer else self.space.layer_of
            mask[span] = top_mask(chosen, n, layers=layers, seed=[seed, layer])
            here = tied_at_cut(chosen, n)
            n_tied += here[0]
            n_drawn += here[1]
        selection = {"top": amount, "two_sided": two_sided, "per_layer": per_layer, "kind": self.kind}
        if n_tied:
            selection |= {"tied": n_tied, "drawn": n_drawn, "seed": seed}
        # the sign of the value itself, also where absolute values were compared
        signs = np.where(mask, np.sign(self.values), 0)
        return Network(
            self.space,
            mask,
            np.nan_to_num(signs).astype(np.int8),
            name or _default_name(amount, self.provenance),
            {**self.provenance, "selection": selection},
        )

    @checked
    def tied(self, amount: int | float, *, two_sided: bool | None = False, per_layer: bool = False) -> int:
        """How many units have the value at the cut of :meth:`top` where only some of them fit; 0 where all do.

        >>> space = fbn.UnitSpace("mlp.neurons", (2, 2))
        >>> scores = fbn.UnitMap(space, np.array([3.0, 1.0, 1.0, 1.0]), "score")
        >>> scores.tied(1), scores.tied(2), scores.tied(4)
        (0, 3, 0)

        Args:
            amount: An integer is a number of units; a float between 0 and 1 is a share of them, rounded down.
            two_sided: True compares absolute values, False values; None absolute values where the kind of the map is
                :attr:`signed`.
            per_layer: True counts in every layer by itself and adds up, False in all layers together.

        Raises:
            InputError: There are fewer units with a value than asked for, or a float is not between 0 and 1.
        """
        two_sided = self.signed if two_sided is None else two_sided
        return sum(tied_at_cut(chosen, n)[0] for _, _, chosen, n in self._parts(amount, two_sided, per_layer))

    def _parts(
        self, amount: int | float, two_sided: bool, per_layer: bool
    ) -> Iterator[tuple[int, slice, Float[np.ndarray, " unit"], int]]:
        """Number, place and scores of each part that is selected from by itself, and how many units it gives."""
        scores = np.abs(self.values) if two_sided else self.values
        # each layer by itself, or all units as if they were one layer
        spans = [self.space.layer_slice(layer) for layer in range(self.space.n_layers)] if per_layer else [slice(None)]
        for layer, span in enumerate(spans):
            chosen = scores[span]
            if chosen.size == 0:  # a layer without such units
                continue
            where = f"layer {layer} of {self.space.describe()}" if per_layer else self.space.describe()
            n = _number_of_units(amount, chosen.size, where)
            # NaN is never taken, so that there must be enough numbers
            valid = int((~np.isnan(chosen)).sum())
            if n > valid:
                raise InputError(
                    f"top({amount}) asks for {n} units, but only {valid} of {where} have a value (the others are "
                    "NaN); ask for fewer"
                )
            yield layer, span, chosen, n

    def to_dataframe(self) -> pd.DataFrame:
        """One line a unit: layer, unit (numbered within the layer), value."""
        layers = self.space.layer_of
        return pd.DataFrame(
            {
                "layer": layers,
                "unit": np.arange(len(layers)) - np.array(self.space.offsets)[layers],
                "value": self.values,
            }
        )

    @classmethod
    @checked
    def from_dataframe(
        cls,
        table: pd.DataFrame,
        space: UnitSpace | None = None,
        *,
        kind: str,
        value: str = "value",
        site: str = "mlp.neurons",
    ) -> UnitMap:
        """A map from a table with one line a unit, in any order, as :meth:`to_dataframe` writes it.

        >>> table = pd.DataFrame({"layer": [1, 0, 0], "unit": [0, 1, 0], "value": [3.0, 2.0, 1.0]})
        >>> UnitMap.from_dataframe(table, kind="effect").values
        array([1., 2., 3.])

        Args:
            table: The columns ``layer``, ``unit`` (numbered within the layer, from 0) and the column of values;
                others are ignored.
            space: The space of the units; a unit without a line gets NaN. None: the widths are taken from the table,
                which must then have a line for every unit of every layer.
            kind: What the numbers are; one of the signed kinds (``"t"``, ``"effect"`` ...) if negative values mean as
                much.
            value: Name of the column of values.
            site: Name of the site; used only where no space is given.

        Raises:
            InputError: A column is missing; a layer or unit is no whole number, is not in the space, or comes twice;
                a value is no number; without a space, a layer or unit is missing. The message names the line, counted
                from 0.
        """
        refuse_doubled_columns(table.columns, "the table")
        layers, units, values = frame_columns(table, value)
        if space is None:
            space = UnitSpace(site, complete_widths(layers, units))
        widths = np.array(space.widths)
        # layers first: only a layer that exists has a width to compare the unit with
        known = (layers >= 0) & (layers < space.n_layers)
        known[known] = (units[known] >= 0) & (units[known] < widths[layers[known]])
        if not known.all():
            line = int(np.argmin(known))  # the first False
            raise InputError(
                f"line {line} has layer {layers[line]}, unit {units[line]}, which is not in {space.describe()}; "
                "layers and units are numbered from 0"
            )
        # flat index = start of the layer + number within it
        flat = np.array(space.offsets)[layers] + units
        refuse_repeated(flat, layers, units)
        found = np.full(space.n_units, np.nan)
        found[flat] = values
        return cls(space, found, kind, {"method": "from_dataframe"})

    def _methods_(self) -> list[str]:
        if description := describe(self.provenance):
            settings = [
                f"{name.replace('_', ' ')} {self.provenance[name]}"
                for name in ("site", "groups", "weight_of_demonstrations", "n_steps")
                if name in self.provenance
            ]
            return [f"{description.rstrip('.')} ({', '.join(settings)})."]
        return [f"The map of {self.kind} over {space_in_words(self.space)} is {source_in_words(self.provenance)}."]

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            f"One number ({self.kind}) for each of {self.space.n_units:,} units of {self.space.describe()}. "
            "Colours are clipped at the 99.5th percentile of the magnitudes. "
            f"The table lists the {TOP_UNITS} units of largest magnitude."
        )
        if description := describe(self.provenance):
            text = f"{description} {CAUTION}\n\n{text}"
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
        # the range of the finite values; NaN and infinity would hide it
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
    """The units of largest magnitude, largest first: layer, unit (within the layer) and the value, under its kind.

    Args:
        values: The map.
        n: Number of units; fewer are returned where fewer have a value.
    """
    order = order_by_magnitude(values, n)
    layers = values.space.layer_of[order]
    units = order - np.array(values.space.offsets)[layers]
    return pd.DataFrame({"layer": layers, "unit": units, values.kind: values.values[order]})


def order_by_magnitude(values: UnitMap, n: int = TOP_UNITS) -> Int[np.ndarray, " some"]:
    """Flat indices of the units of largest magnitude, infinity included, largest first, ties in the order of indices.

    Args:
        values: The map.
        n: Number of units; fewer are returned where fewer have a value.
    """
    sizes = np.abs(values.values)
    # NaN gets -1, below every magnitude; a stable sort keeps ties in the order of flat indices
    order = np.argsort(-np.where(np.isnan(sizes), -1.0, sizes), kind="stable")
    return order[: min(n, int((~np.isnan(sizes)).sum()))]


def _default_name(amount: int | float, provenance: Provenance) -> str:
    """Name of a selection that was given none; it tells the contrast, as a page may show several selections."""
    of = provenance.get("contrast_name", provenance.get("contrast"))
    return f"top {amount} of {of}" if isinstance(of, str) else f"top {amount}"


def _number_of_units(amount: int | float, available: int, where: str) -> int:
    """The number of units that an integer or a share stands for.

    ``available`` is the number of units to choose from, and ``where`` names them in the message of an error.
    """
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
    # rounded down, as Song et al. (2024) do: int(.05 * 352256) = 17612.
    # 1e-9 mends products that floating point leaves just short of an integer: 0.29 * 100 = 28.999...
    return int(amount * available + 1e-9)
