"""Networks as plain JSON: the form in which others publish theirs, and in which ours can be read without this package.

One network is one object, its units numbered within their layers::

    {"name": "sort", "model": "gpt2", "site": "mlp.neurons", "widths": [3072, 3072, ...],
     "units": [[17, 2048], [], ...], "signs": [[1, -1], [], ...], "provenance": {...}}

``signs`` (1 or -1; 0 where unknown) is there if any is known, ``weights`` if the digest of the model's weights is. An atlas has
``networks``, an object of names to such objects, in place of ``units``. Maps are not in it: they are numbers by the hundred thousand, and
``save`` keeps them.

What is read may also be what others release, with a :class:`~tl_fbn.units.UnitSpace` to say where it lives: a list (layer) of lists
of units, of arrays or of torch tensors (task neurons of Song et al. 2024, language neurons of Tang et al. 2024), a boolean mask for
every layer, or an object of layers to lists, whose keys are layer numbers or hook and module names with one number in them
(``"blocks.3.mlp.hook_post"``, ``"model.layers.3.mlp"``).

Nothing is guessed: a layer too many, a unit that is not there, one that is listed twice, is an error that says which. A list of (layer,
unit) pairs has the same form as a list of layers; :meth:`Network.from_indices` takes pairs.
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
from tl_fbn.units.space import UnitSpace

_FORMS = "a list (layer) of lists of units, or an object of layers to lists of units"
_TOO_MANY = "Network.from_json takes one network; take one of the list, or Atlas.from_json for all of it"


def written(about: Mapping[str, Any], path: str | os.PathLike | None) -> str:
    """JSON of a description: one line a key, numbers that JSON lacks as null; to a file too if a path is given."""
    lines = [f"{json.dumps(key)}: {json.dumps(_plain(value), allow_nan=False)}" for key, value in about.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if path is not None:
        files.write_atomically(Path(path), text.encode())
    return text


def parsed(source: Any) -> Any:
    """The plain value behind a path, a JSON text, or something that is plain already."""
    if isinstance(source, str) and source.lstrip()[:1] in ("{", "["):
        where = "the text given"
        text = source
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}; give the path of a JSON file, its text, or lists of units")
        where = str(path)
        text = path.read_text(encoding="utf-8")
    else:
        return source
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is no JSON ({error}); give what to_json wrote, or {_FORMS}") from error


def described_space(about: Any, space: UnitSpace | None) -> UnitSpace:
    """The space that a description states, or the one given; an error where they differ or neither is there."""
    stated = None
    if isinstance(about, Mapping) and "widths" in about:
        if "site" not in about:
            raise InputError("this JSON gives widths but no site; add one, for instance mlp.neurons")
        widths = about["widths"]
        if not isinstance(widths, Sequence) or not all(type(one) is int for one in widths):
            raise InputError(f"widths {widths!r} are no list of numbers of units; give one integer a layer")
        stated = UnitSpace(str(about["site"]), tuple(widths), about.get("model", "unknown"), about.get("weights"))
    if stated is None:
        if space is None:
            raise InputError(
                "this JSON does not say where its units are (it has no site and widths); give space=UnitSpace(site, widths), "
                "or scanner.space"
            )
        return space
    if space is not None:
        stated.require_same(space, "read")
    return stated


def layer_lists(space: UnitSpace, mask: Bool[np.ndarray, " unit"]) -> list[list[int]]:
    """Members of every layer, numbered within the layer."""
    return [np.flatnonzero(mask[space.layer_slice(layer)]).tolist() for layer in range(space.n_layers)]


def layer_signs(space: UnitSpace, mask: Bool[np.ndarray, " unit"], signs: Int8[np.ndarray, " unit"]) -> list[list[int]]:
    """Signs of the members of every layer, in the order of :func:`layer_lists`."""
    spans = [space.layer_slice(layer) for layer in range(space.n_layers)]
    return [signs[span][mask[span]].tolist() for span in spans]


def read_members(
    space: UnitSpace, units: Any, signs: Any = None
) -> tuple[Bool[np.ndarray, " unit"], Int8[np.ndarray, " unit"]]:
    """Membership and signs from lists of units a layer.

    Args:
        space: Where the units are.
        units: A list (layer) of lists of units or of masks, or a mapping of layers to such; arrays and tensors count as lists.
        signs: The same with one sign a listed unit; None where none is known.

    Raises:
        InputError: Another number of layers, or a list that is none; a unit that is no integer, is listed twice or is not in its layer;
            signs that do not match.
    """
    members = np.zeros(space.n_units, dtype=bool)
    values = np.zeros(space.n_units, dtype=np.int8)
    signed = None if signs is None else _by_layer(space, signs, "signs")
    for layer, listed in _by_layer(space, units, "units").items():
        start = space.offsets[layer]
        found = [start + unit for unit in _units_of(space, layer, listed)]
        members[found] = True
        if signed is not None:
            given = signed.get(layer, [])
            if len(given) != len(found) or any(isinstance(one, bool) or one not in (-1, 0, 1) for one in given):
                raise InputError(
                    f"layer {layer} lists {len(found)} units and the signs {given}; give -1, 0 or 1 a unit"
                )
            values[found] = given
    return members, values


def _by_layer(space: UnitSpace, given: Any, what: str) -> dict[int, list[Any]]:
    """Layer number to the plain list it has."""
    if isinstance(given, Mapping):
        found: dict[int, list[Any]] = {}
        for key, listed in given.items():
            layer = _layer_of(key)
            if layer in found or not 0 <= layer < space.n_layers:
                trouble = "comes twice" if layer in found else f"is not in {space.describe()}"
                raise InputError(
                    f"layer {layer} (from the key {key!r} of {what}) {trouble}; layers: 0 to {space.n_layers - 1}"
                )
            found[layer] = _listed(listed, f"layer {layer} of {what}")
        return found
    layers = _listed(given, what)
    if len(layers) != space.n_layers:
        raise InputError(
            f"{what} has {len(layers)} layers, {space.describe()} has {space.n_layers}; give {_FORMS}. {_TOO_MANY}"
        )
    return {layer: _listed(listed, f"layer {layer} of {what}") for layer, listed in enumerate(layers)}


def _listed(value: Any, what: str) -> list[Any]:
    plain = value.tolist() if hasattr(value, "tolist") else value  # arrays, and tensors on any device
    if isinstance(plain, (str, bytes, Mapping)) or not isinstance(plain, Sequence):
        raise InputError(f"{what} is {plain!r}, no list; give {_FORMS}")
    return list(plain)


def _units_of(space: UnitSpace, layer: int, listed: list[Any]) -> list[int]:
    width = space.widths[layer]
    if listed and all(isinstance(one, bool) for one in listed):
        if len(listed) != width:
            raise InputError(f"layer {layer} is a mask of {len(listed)} units, {space.describe()} has {width} there")
        return [unit for unit, member in enumerate(listed) if member]
    units: list[int] = []
    for place, one in enumerate(listed):
        if isinstance(one, (list, tuple)) or getattr(one, "ndim", 0):
            raise InputError(f"layer {layer}, entry {place} is a list itself. {_TOO_MANY}")
        try:
            if isinstance(one, bool):
                raise TypeError
            units.append(operator.index(one))
        except TypeError:
            raise InputError(
                f"layer {layer}, entry {place} is {one!r}, no integer; units are numbered from 0"
            ) from None
        if not 0 <= units[-1] < width:
            raise InputError(
                f"layer {layer}, entry {place}: unit {units[-1]} is not in {space.describe()}; that layer has {width} units, "
                "numbered from 0"
            )
    if len(set(units)) < len(units):
        twice = next(unit for place, unit in enumerate(units) if unit in units[:place])
        raise InputError(
            f"layer {layer} lists unit {twice} twice; list it once (a mask is of booleans, not of 0 and 1)"
        )
    return units


def _layer_of(key: Any) -> int:
    """The layer that a key names: a number, or a dotted name with one number in it."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    numbers = re.findall(r"(?:^|[._])(\d+)(?=$|[._])", key) if isinstance(key, str) else []
    if len(numbers) != 1:
        raise InputError(
            f"the key {key!r} names no layer; keys are layer numbers, or hook and module names with one number in them"
        )
    return int(numbers[0])


def _plain(value: Any) -> Any:
    """A value that every reader of JSON understands."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputTypeError(
        f"provenance holds {value!r}, which JSON has no form for; give numbers, strings, lists or mappings"
    )
