"""Networks as plain JSON: the form in which others release networks, and in which ours are read without this package.

A network is one object; its units are numbered within their layers, from 0::

    {"name": "sort", "model": "gpt2", "site": "mlp.neurons", "widths": [3072, 3072, ...],
     "units": [[17, 2048], [], ...], "signs": [[1, -1], [], ...], "provenance": {...}}

``signs`` (1 or -1, and 0 where unknown) is present if any sign is known; ``weights`` is present if the digest of the
model's weights is known. An atlas has ``networks``, an object of names to such objects, in place of ``units``. Maps
are left out, as they are hundreds of thousands of numbers: ``save`` keeps them.

Networks that others release are read too, together with a :class:`~tl_fbn.units.UnitSpace` that says where the units
are:

- a list (layer) of lists of units, as arrays or torch tensors too (task neurons of Song et al. 2024, language neurons
  of Tang et al. 2024);
- a list (layer) of boolean masks;
- an object of layers to such lists, whose keys are layer numbers, or names of hooks or modules with one number in them
  (``"blocks.3.mlp.hook_post"``, ``"model.layers.3.mlp"``).

Nothing is guessed: a layer too many, a unit that does not exist or a unit that is listed twice is an error that names
it. A list of (layer, unit) pairs would look like a list of layers and is not read here; :meth:`Network.from_indices`
takes pairs.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int8

from tl_fbn import files
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.text_files import json_value, read_text
from tl_fbn.units.space import UnitSpace

# endings of error messages
_FORMS = "a list (layer) of lists of units, or an object of layers to lists of units"
_TOO_MANY = "Network.from_json takes one network; take one of the list, or Atlas.from_json for all of it"


def written(about: Mapping[str, Any], path: str | os.PathLike | None) -> str:
    """The JSON text of a description, with one line for each key; NaN and infinity, which JSON lacks, become null.

    Args:
        about: Keys to values; numbers and arrays of numpy, sets and tuples are allowed.
        path: A file to write the text to as well; None writes none.

    Raises:
        InputTypeError: A value has no form in JSON.
    """
    # one line a key: short enough to read, and units of a layer stay together
    lines = [f"{json.dumps(key)}: {json.dumps(_plain(value), allow_nan=False)}" for key, value in about.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if path is not None:
        files.write_atomically(Path(path), text.encode())
    return text


def parsed(source: Any) -> Any:
    """The value that a path or a JSON text holds; anything else is returned as it is.

    Args:
        source: A text that begins with ``{`` or ``[`` is JSON; any other text is a path.

    Raises:
        FileNotFoundError: There is no file at the path.
        InputError: The text is no JSON.
    """
    # a text that opens with a bracket is taken for JSON, any other for a path
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        where = "the text given"
        text = source.removeprefix("\ufeff")  # the byte order mark of the file that it was read from
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}; give the path of a JSON file, its text, or lists of units")
        where = str(path)
        text = read_text(path)
    else:
        return source
    try:
        value = json_value(text)
    except InputError as error:
        raise InputError(f"{where} is no JSON ({error}); give what to_json wrote, or {_FORMS}") from error
    if not isinstance(value, (dict, list)):
        raise InputError(f"{where} holds {str(value)[:60]}, no object or list; give what to_json wrote, or {_FORMS}")
    return value


def described_space(about: Any, space: UnitSpace | None) -> UnitSpace:
    """The space of what was read: the one that the JSON states, or else the one given.

    Args:
        about: What was read; it states a space if it has the keys ``site`` and ``widths``.
        space: The space given by the caller; None for none.

    Raises:
        InputError: Both are there and differ, neither is there, or the JSON states half a space.
    """
    stated = None
    if isinstance(about, Mapping) and "widths" in about:
        if "site" not in about:
            raise InputError("this JSON gives widths but no site; add one, for instance mlp.neurons")
        widths = about["widths"]
        # type() and not isinstance(): True is an int for the latter
        if not isinstance(widths, Sequence) or isinstance(widths, str) or not all(type(one) is int for one in widths):
            raise InputError(f"widths {widths!r} are no list of numbers of units; give one integer a layer")
        stated = UnitSpace(str(about["site"]), tuple(widths), about.get("model", "unknown"), about.get("weights"))
    if stated is None:
        if space is None:
            raise InputError(
                "this JSON does not say where its units are (it has no site and widths); give space=UnitSpace(site, "
                "widths), or scanner.space"
            )
        return space
    if space is not None:
        stated.require_same(space, "read")
    return stated


def layer_lists(space: UnitSpace, mask: Bool[np.ndarray, " unit"]) -> list[list[int]]:
    """For every layer the members in it, numbered from 0 within the layer."""
    return [np.flatnonzero(mask[space.layer_slice(layer)]).tolist() for layer in range(space.n_layers)]


def layer_signs(space: UnitSpace, mask: Bool[np.ndarray, " unit"], signs: Int8[np.ndarray, " unit"]) -> list[list[int]]:
    """For every layer the signs (-1, 0, 1) of the members in it, in ascending order of the members."""
    spans = [space.layer_slice(layer) for layer in range(space.n_layers)]
    return [signs[span][mask[span]].tolist() for span in spans]


def read_members(
    space: UnitSpace, units: Any, signs: Any = None
) -> tuple[Bool[np.ndarray, " unit"], Int8[np.ndarray, " unit"]]:
    """Membership and sign of every unit, from lists of units by layer.

    Args:
        space: The space of the units.
        units: A list (layer) of lists of units or of boolean masks, or a mapping of layers to such lists; arrays and
            tensors count as lists.
        signs: Lists of -1, 0 or 1 in the same form as ``units``, one sign for each listed unit; None: no sign is known.

    Returns:
        (unit,) booleans, and (unit,) signs that are 0 where no sign is known.

    Raises:
        InputError: The number of layers differs from that of the space; something is no list; a unit is no integer, is
            listed twice or is not in its layer; signs do not match the units.
    """
    members = np.zeros(space.n_units, dtype=bool)
    signs_found = np.zeros(space.n_units, dtype=np.int8)
    signs_by_layer = None if signs is None else _by_layer(space, signs, "signs")
    for layer, listed in _by_layer(space, units, "units").items():
        # flat index = start of the layer + number within it
        start = space.offsets[layer]
        found = [start + unit for unit in _units_in_layer(space, layer, listed)]  # flat indices, in the order listed
        members[found] = True
        if signs_by_layer is not None:
            given = signs_by_layer.get(layer, [])
            if len(given) != len(found) or any(isinstance(one, bool) or one not in (-1, 0, 1) for one in given):
                raise InputError(
                    f"layer {layer} lists {len(found)} units and the signs {given}; give -1, 0 or 1 a unit"
                )
            signs_found[found] = given
    return members, signs_found


def _by_layer(space: UnitSpace, given: Any, what: str) -> dict[int, list[Any]]:
    """Layer number to the list of that layer; layers that a mapping leaves out have none."""
    if isinstance(given, Mapping):
        found: dict[int, list[Any]] = {}
        for key, listed in given.items():
            layer = _layer_named_by(key)
            if layer in found or not 0 <= layer < space.n_layers:
                trouble = "comes twice" if layer in found else f"is not in {space.describe()}"
                raise InputError(
                    f"layer {layer} (from the key {key!r} of {what}) {trouble}; layers: 0 to {space.n_layers - 1}"
                )
            found[layer] = _as_list(listed, f"layer {layer} of {what}")
        return found
    layers = _as_list(given, what)
    if len(layers) != space.n_layers:
        raise InputError(
            f"{what} has {len(layers)} layers, {space.describe()} has {space.n_layers}; give {_FORMS}. {_TOO_MANY}"
        )
    return {layer: _as_list(listed, f"layer {layer} of {what}") for layer, listed in enumerate(layers)}


def _as_list(value: Any, what: str) -> list[Any]:
    """A list from a list, tuple, array or tensor; ``what`` names it in the error for anything else."""
    plain = value.tolist() if hasattr(value, "tolist") else value  # arrays, and tensors on any device
    if isinstance(plain, (str, bytes, Mapping)) or not isinstance(plain, Sequence):
        raise InputError(f"{what} is {plain!r}, no list; give {_FORMS}")
    return list(plain)


def _units_in_layer(space: UnitSpace, layer: int, listed: list[Any]) -> list[int]:
    """Units of one layer, numbered within it, from a list of units or a boolean mask."""
    width = space.widths[layer]
    # a mask of the whole layer; an empty list is an empty list of units
    if listed and all(isinstance(one, bool) for one in listed):
        if len(listed) != width:
            raise InputError(f"layer {layer} is a mask of {len(listed)} units, {space.describe()} has {width} there")
        return [unit for unit, member in enumerate(listed) if member]
    units: list[int] = []
    for place, one in enumerate(listed):
        if isinstance(one, (list, tuple)) or getattr(one, "ndim", 0):
            raise InputError(f"layer {layer}, entry {place} is a list itself. {_TOO_MANY}")
        try:
            if isinstance(one, bool):  # True is 1 for operator.index; booleans mixed with numbers are a mistake
                raise TypeError
            units.append(operator.index(one))
        except TypeError:
            raise InputError(
                f"layer {layer}, entry {place} is {one!r}, no integer; units are numbered from 0"
            ) from None
        if not 0 <= units[-1] < width:
            raise InputError(
                f"layer {layer}, entry {place}: unit {units[-1]} is not in {space.describe()}; that layer has {width} "
                "units, numbered from 0"
            )
    # a mask written as 0 and 1 shows up here: it would list units 0 and 1 again and again
    if len(set(units)) < len(units):
        twice = next(unit for place, unit in enumerate(units) if unit in units[:place])
        raise InputError(
            f"layer {layer} lists unit {twice} twice; list it once (a mask is of booleans, not of 0 and 1)"
        )
    return units


def _layer_named_by(key: Any) -> int:
    """The layer that a key names: the key is a number, or a dotted name with one number in it."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    # digits that fill a whole part of the dotted name: the 3 of blocks.3.mlp.hook_post, not the 2 of hook_q2
    numbers = re.findall(r"(?:^|[._])(\d+)(?=$|[._])", key) if isinstance(key, str) else []
    if len(numbers) != 1:
        raise InputError(
            f"the key {key!r} names no layer; keys are layer numbers, or hook and module names with one number in them"
        )
    return int(numbers[0])


def _plain(value: Any) -> Any:
    """A value as one that JSON has: arrays and sets as lists, numbers of numpy as numbers, NaN and infinity as None."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # Python would write NaN and Infinity, which other readers of JSON refuse
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputTypeError(
        f"provenance holds {value!r}, which JSON has no form for; give numbers, strings, lists or mappings"
    )
