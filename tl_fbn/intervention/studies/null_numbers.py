"""Which numbers an analysis claims: read off whatever it returned, so that runs of it can be compared.

=================== ==========================================================================================
returned            numbers
=================== ==========================================================================================
a number            itself
:class:`Contrast`   units that pass a false discovery rate of .05, and the share of the sum of squares that the
                    1 % of units with the largest t hold
:class:`UnitMap`    the share of the sum of squares that the 1 % of units with the largest values hold
:class:`Network`    its number of units
:class:`Atlas`      of each network its stability where the method gives one, else its number of units
:class:`LesionStudy` of each network named like a task: what its own task loses, less what the worst other loses
a table             every number in it, named by the text on its line and its column
a mapping           all of these, by name
=================== ==========================================================================================

Beside the numbers stands a map, where there is one: how far it is that of the untouched model is told by Pearson's
correlation over units. Networks are maps of 0 and 1, and an atlas is told network by network, by names.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.analysis.glm.contrast import Contrast
from tl_fbn.errors import InputTypeError
from tl_fbn.intervention.studies.lesion_results import LesionStudy
from tl_fbn.units import Atlas, Network, UnitMap

Numbers = dict[str, float]
Maps = dict[str, np.ndarray]  # (unit,) each
TOP = 0.01  # share of units that a map's concentration is read at: our choice


def numbers_of(returned: Any) -> Numbers:
    """The numbers that a result claims, by name.

    Args:
        returned: What an analysis returned.

    Raises:
        InputTypeError: Nothing in it can be read as a number.
    """
    found = _numbers(returned)
    if found is None or not found:
        what = (
            "an empty result"
            if found is not None
            else f"{returned!r:.80}"
            if returned is None
            else type(returned).__name__
        )
        raise InputTypeError(
            f"the analysis returned {what}; it must return a number, a map, a network, an atlas, a contrast, a lesion "
            "study, a table with numbers, or a mapping of names to these. Or give number=, a function of what it "
            "returns to a number or to a mapping of names to numbers"
        )
    return found


def maps_of(returned: Any) -> Maps:
    """(unit,) values of every map in a result, by name; empty where it holds none.

    Args:
        returned: What an analysis returned.
    """
    if isinstance(returned, Contrast):
        return {"t": returned.t.values}
    if isinstance(returned, UnitMap):
        return {"map": returned.values}
    if isinstance(returned, Network):
        return {"network": returned.members.astype(float)}
    if isinstance(returned, Mapping):  # an atlas is one
        return {_joined(name, own): values for name, one in returned.items() for own, values in maps_of(one).items()}
    return {}


def agreement(one: Float[np.ndarray, " unit"], other: Float[np.ndarray, " other"]) -> float:
    """Pearson's correlation of two maps over the units that both have; NaN where one is flat or of other units.

    Args:
        one: Values of a map.
        other: Those of the other.
    """
    if one.shape != other.shape:
        return np.nan
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return np.nan
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _numbers(returned: Any) -> Numbers | None:
    if isinstance(returned, (Real, np.number)) or (isinstance(returned, np.ndarray) and returned.ndim == 0):
        return {"number": float(returned)}
    if isinstance(returned, Contrast):
        passed = len(returned.threshold(fdr=0.05))
        return {"units at FDR .05": float(passed), "squares in the top 1 %": _concentration(returned.t.values)}
    if isinstance(returned, UnitMap):
        return {"squares in the top 1 %": _concentration(returned.values)}
    if isinstance(returned, Network):
        return {"units": float(len(returned))}
    if isinstance(returned, Atlas):
        if returned.stability is not None:
            return dict(zip(returned, map(float, returned.stability), strict=True))
        return {name: float(len(network)) for name, network in returned.items()}
    if isinstance(returned, LesionStudy):
        table = returned.summary()
        return dict(zip(table["network"], (table["own"] - table["other_worst"]).astype(float), strict=True))
    if isinstance(returned, pd.Series):
        return _numbers(returned.to_dict())
    if isinstance(returned, pd.DataFrame):
        return _of_table(returned)
    if isinstance(returned, Mapping):
        found: Numbers = {}
        for name, one in returned.items():
            own = _numbers(one)
            if own is None:
                return None
            found |= {_joined(name, each): value for each, value in own.items()}
        return found
    return None


def _of_table(table: pd.DataFrame) -> Numbers:
    numeric = list(table.select_dtypes("number").columns)
    words = [column for column in table.columns if column not in numeric and table[column].dtype != bool]
    found: Numbers = {}
    values = table[numeric].to_numpy(dtype=float)
    for place, line in enumerate(table[words].to_numpy(dtype=object)):
        name = ", ".join(map(str, line)) or str(table.index[place])
        found |= {
            f"{name}: {numeric[i]}" if len(numeric) > 1 else name: float(one) for i, one in enumerate(values[place])
        }
    return found


def _joined(name: Any, own: str) -> str:
    """Name of a number in a mapping: that of the entry, where it has one number only."""
    return str(name) if own in ("number", "map", "network", "t") else f"{name}: {own}"


def _concentration(values: Float[np.ndarray, " unit"]) -> float:
    squares = np.sort(np.square(values[np.isfinite(values)]))
    n = max(1, round(TOP * len(squares)))
    return float(squares[-n:].sum() / squares.sum()) if squares.any() else np.nan
