"""Words beside units: what each unit in a table promotes, from a model or from a table that was made beforehand.

Pages and viewers list units by layer and number, which says nothing by itself. Where a model is given, or what
:func:`tl_fbn.networks.promoted_tokens` found with one, the words stand beside them. They are a reading of output
weights: what later layers do is left out, so that they say little of units in early ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.units import Atlas, Network, UnitSpace

N_WORDS = 3
MOST_UNITS = 50  # of a network that are listed
READING = (
    "Promotes: words that the output weights of a unit (of a network: of all its units) make more likely by themselves "
    "where it is active. What later layers do is left out."
)


def words_of_table(promoted: Any) -> dict[tuple[int, int], str]:
    """(layer, unit) to the words that it promotes, from a table.

    Args:
        promoted: A table with the columns layer, unit and promotes, as :func:`tl_fbn.networks.promoted_tokens` returns
            it; its line of the whole network is left out.

    Raises:
        InputTypeError: It is no table.
        InputError: A column is missing, or a layer or unit is no whole number.
    """
    if not isinstance(promoted, pd.DataFrame):
        raise InputTypeError(
            f"promoted= takes the table of fbn.networks.promoted_tokens(network, model); got {type(promoted).__name__}"
        )
    if missing := [name for name in ("layer", "unit", "promotes") if name not in promoted]:
        raise InputError(
            f"promoted= lacks the column {', '.join(missing)}; give the table of "
            "fbn.networks.promoted_tokens(network, model)"
        )
    lines = zip(promoted["layer"].tolist(), promoted["unit"].tolist(), promoted["promotes"].tolist(), strict=True)
    try:
        return {(index(layer), index(unit)): str(words) for layer, unit, words in lines if layer >= 0}
    except TypeError as error:
        raise InputError("the columns layer and unit of promoted= hold numbers from 0, such as 2 and 311") from error


class PromotedWords:
    """Puts words into tables of units; what was read once is kept.

    Args:
        model: The model of the results, or None.
        promoted: A table of words, or None; units that it lacks are looked up in the model.
        most: Number of lines of a table that are shown, and get words; None for all.

    Raises:
        InputError: The table of words lacks a column.
        InputTypeError: ``promoted`` is no table.
    """

    def __init__(self, model: Any, promoted: pd.DataFrame | None, most: int | None = None) -> None:
        self._model = model
        self._given = {} if promoted is None else words_of_table(promoted)
        self._read: dict[tuple[Any, int, int], str] = {}
        self._most = most

    def beside(self, table: pd.DataFrame | None, result: Any) -> pd.DataFrame | None:
        """A table with a column of words, if it is of units or of the networks of an atlas; any other as it is.

        Args:
            table: The table, or None.
            result: The result that it is of, which knows the space of its units.

        Raises:
            InputError: The model has no tokenizer, or is of another shape than the result.
        """
        one = next(iter(result.values()), None) if isinstance(result, Mapping) else result
        space = getattr(one, "space", None)
        if table is None or not isinstance(space, UnitSpace) or "promotes" in table:
            return table
        if {"layer", "unit"} <= set(table.columns):
            shown = table.head(len(table) if self._most is None else self._most)
            words = self._of_units(space, shown["layer"].tolist(), shown["unit"].tolist())
            words += [""] * (len(table) - len(words))
        elif isinstance(result, Atlas) and "network" in table and self._model is not None and has_words(space):
            words = [self._of_network(result[name]) if name in result else "" for name in table["network"]]
        else:
            return table
        return table.assign(promotes=words) if any(words) else table

    def units_of(self, network: Network) -> pd.DataFrame | None:
        """The units of a network with their words, those of late layers first, of which words say most.

        Args:
            network: The network.

        Returns:
            Columns layer, unit and promotes, at most 50 lines; None where no words are known.

        Raises:
            InputError: The model has no tokenizer, or is of another shape than the network.
        """
        layers = network.space.layer_of[network.indices]
        units = network.indices - np.asarray(network.space.offsets)[layers]
        order = np.argsort(-layers, kind="stable")
        places = list(zip(layers[order].tolist(), units[order].tolist(), strict=True))
        if self._model is None or not has_words(network.space):
            places = [place for place in places if place in self._given]
        places = places[:MOST_UNITS]
        if not places:
            return None
        listed = pd.DataFrame(places, columns=pd.Index(["layer", "unit"]))
        return listed.assign(promotes=self._of_units(network.space, *map(list, zip(*places, strict=True))))

    def _of_units(self, space: UnitSpace, layers: list[int], units: list[int]) -> list[str]:
        """The words of some units of a space; empty where nothing is known of one."""
        places = list(zip(map(int, layers), map(int, units), strict=True))
        key = (space.site, space.widths)
        if self._model is not None and has_words(space):
            unknown = [
                place for place in dict.fromkeys(places) if place not in self._given and (key, *place) not in self._read
            ]
            if unknown:
                some = Network.from_indices(space, np.sort([space.index(*place) for place in unknown]))
                found = words_of_table(promoted_tokens(some, self._model, n_tokens=N_WORDS))
                self._read |= {(key, *place): words for place, words in found.items()}
        return [self._given.get(place) or self._read.get((key, *place), "") for place in places]

    def _of_network(self, network: Network) -> str:
        """The words of a whole network; empty for one without units."""
        if not len(network):
            return ""
        return str(promoted_tokens(network, self._model, n_tokens=N_WORDS, n_units=0)["promotes"].tolist()[0])


def has_words(space: UnitSpace) -> bool:
    """Whether units of a space have a direction in the residual stream, which attention heads have not.

    Args:
        space: The units.
    """
    return space.site.startswith(("mlp.", "resid.")) or space.site == "attn.out"
