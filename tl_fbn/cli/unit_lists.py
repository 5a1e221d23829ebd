"""Which units were found, listed: layer, unit and value, largest first, beside the words that they promote.

Commands print the first ten and put all of them into their JSON (``unit_list``; words of the first 100). Words are a
reading of output weights (:func:`tl_fbn.networks.promoted_tokens`), so that a model must be there: ``tl-fbn cgvst`` has
one, ``glm`` and ``networks`` load no model unless ``--model`` names one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tl_fbn.cli.console import WIDTH, Console, table
from tl_fbn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tl_fbn.units import Atlas, Network, UnitMap, UnitSpace

FIRST = 10  # units of one network that are printed
WITH_WORDS = 100  # units of one network that have words in the JSON: some ten milliseconds each on a real model
FIRST_OF_EACH = 3  # of each network, where there are several in one table
N_WORDS = 3
HINT = "Words that these units promote: give --model MODEL."
READING = (
    "Words: what a unit's output weights promote by themselves where it is active.\n"
    "What later layers do is left out, so that they say little of early units."
)


def load_model(console: Console, model: str | None, space: UnitSpace) -> Any:
    """The model whose words are shown, or None where none was named.

    Args:
        console: Where the line on what was loaded goes.
        model: What the user gave as ``--model``; None for no model.
        space: Units that words will be asked of: a model that does not have them is refused before the work begins.

    Raises:
        InputError: The model cannot be loaded, has no tokenizer, or has no such units.
    """
    if model is None:
        return None
    from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
    from tl_fbn.cli import model_argument
    from tl_fbn.units import Network

    loaded = model_argument.load(console, model, dtype="auto", device=None, label=None)
    promoted_tokens(Network.from_indices(space, [0]), loaded, n_tokens=1)
    return loaded


def speaking(console: Console, model: Any, space: UnitSpace) -> Any:
    """A command's own model if its units have words, else None and a note that says why.

    Args:
        console: Where the note goes.
        model: The model.
        space: Units that words will be asked of.
    """
    from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
    from tl_fbn.units import Network

    try:
        promoted_tokens(Network.from_indices(space, [0]), model, n_tokens=1)
    except InputError as error:
        console.note(f"no words beside units: {error}")
        return None
    return model


def unit_list(network: Network, values: UnitMap, model: Any = None, *, words_of: int | None = None) -> pd.DataFrame:
    """Every unit of a network with its value, the largest magnitudes first, and what the unit promotes.

    Args:
        network: The network.
        values: The map that gives the values, of the network's space.
        model: The model of the units; None adds no words.
        words_of: Number of units, from the first, that get words; None for all.

    Returns:
        Columns layer, unit, one named like the map's kind, and, with a model, promotes (empty where none was asked).
    """
    import numpy as np
    import pandas as pd

    members = network.indices
    # a unit without a value comes last; a stable sort keeps ties in the order of units
    sizes = np.abs(values.values[members])
    members = members[np.argsort(-np.where(np.isnan(sizes), -1.0, sizes), kind="stable")]
    layers = network.space.layer_of[members]
    found = pd.DataFrame(
        {
            "layer": layers,
            "unit": members - np.asarray(network.space.offsets)[layers],
            values.kind: values.values[members],
        }
    )
    if model is not None:
        some = members[:words_of]
        words = _words_of_units(network.space, some, model) if len(some) else {}
        found["promotes"] = [
            words.get(place, "") for place in zip(found["layer"].tolist(), found["unit"].tolist(), strict=True)
        ]
    return found


def _words_of_units(space: UnitSpace, members: Any, model: Any) -> Mapping[tuple[int, int], str]:
    """(layer, unit) to the words that it promotes."""
    from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens
    from tl_fbn.units import Network

    frame = promoted_tokens(Network.from_indices(space, members), model, n_tokens=N_WORDS)
    return {
        (layer, unit): text
        for layer, unit, text in zip(frame["layer"], frame["unit"], frame["promotes"], strict=True)
        if layer >= 0  # the first line is of the whole network
    }


def first_units(found: pd.DataFrame, name: str) -> str:
    """The first units of a list as text, under a line that says how many there are.

    Args:
        found: What :func:`unit_list` returns.
        name: What the units are of, in the line above them.
    """
    if not len(found):
        return f"{name}: no units."
    shown = min(FIRST, len(found))
    value = str(found.columns[2])
    what = f"{'All' if shown == len(found) else f'First {shown} of'} {len(found):,} units"
    if (found.iloc[:, 2] < 0).any():  # both signs: by magnitude
        value = f"|{value}|"
    return f"{what} of {name}, largest {value} first:\n{table(_clipped(found.head(FIRST)))}"


def _clipped(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with words cut to what is left of a line."""
    if "promotes" not in frame:
        return frame
    return frame.assign(promotes=[clip(text, WIDTH // 2) for text in frame["promotes"]])


def clip(text: str, most: int) -> str:
    """A text cut to a number of characters, an ellipsis for what is lost.

    Args:
        text: The text.
        most: Largest number of characters.
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def atlas_lists(atlas: Atlas, model: Any = None, *, words_of: int | None = None) -> dict[str, pd.DataFrame]:
    """:func:`unit_list` of every network of an atlas, by name; the values are those of its map.

    Args:
        atlas: Networks with their maps.
        model: The model of the units; None adds no words.
        words_of: Number of units of each network, from the first, that get words; None for all.
    """
    from tl_fbn.units import UnitMap

    assert atlas.maps is not None  # those of a decomposition have maps
    return {
        name: unit_list(network, UnitMap(atlas.space, values, "z"), model, words_of=words_of)
        for (name, network), values in zip(atlas.items(), atlas.maps, strict=True)
    }


def words_of_networks(atlas: Atlas, model: Any) -> dict[str, str]:
    """The words that each network of an atlas promotes as a whole; empty for one without units.

    Args:
        atlas: The networks.
        model: The model of the units.
    """
    from tl_fbn.analysis.networks.promoted_tokens import promoted_tokens

    return {
        name: promoted_tokens(one, model, n_tokens=N_WORDS, n_units=0)["promotes"].tolist()[0] if len(one) else ""
        for name, one in atlas.items()
    }


def first_of_each(
    lists: Mapping[str, pd.DataFrame], layers: Sequence[str], words: Mapping[str, str] | None = None
) -> str:
    """The first units of several networks as text, a line a network; with words, which need the room, without values.

    Args:
        lists: Name of a network to what :func:`unit_list` returns.
        layers: For every network the layers that hold most of its units, in words.
        words: Name of a network to the words that it promotes as a whole; None shows none.
    """
    import pandas as pd

    lines = {
        name: ", ".join(
            f"{layer}:{unit}" + (f" ({value:.1f})" if words is None else "")
            for layer, unit, value in frame.head(FIRST_OF_EACH)[list(frame)[:3]].itertuples(index=False)
        )
        for name, frame in lists.items()
    }
    heading = "first units, layer:unit (z)" if words is None else "first units"
    frame = pd.DataFrame({"network": list(lines), "layers (units)": list(layers), heading: list(lines.values())})
    if words is not None:
        # what the other columns and the space before this one leave of a line
        taken = sum(2 + max(len(name), *map(len, frame[name])) for name in frame)
        frame["promotes"] = [clip(words[name], max(20, WIDTH - taken)) for name in lines]
    return table(frame)
