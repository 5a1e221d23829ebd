"""What every result of the package has in common: saving, loading, and its place in a report.

A class of results is a frozen dataclass that derives from :class:`Result`::

    @dataclass(frozen=True, eq=False)
    class Recurrence(Result, step="comparison", picture="recurrence"):
        counts: Int[np.ndarray, " network"]
        provenance: Mapping[str, Any] = field(default_factory=dict)

        def to_dataframe(self) -> pd.DataFrame: ...
        def _methods_(self) -> list[str]: ...          # optional: its sentences of a methods section

The class statement is the only registration. From then on the class saves and loads itself; :func:`tl_fbn.load` and
:func:`tl_fbn.load_results` find it by the name in a file (the public names of its folder say where it lives); and
reports lay it out with its picture, its table, its sentences and its provenance. Beside its fields a class may define:

======================== =============================================================================================
``provenance``           a field or property: seed, recordings, digests of prompts, settings
``to_dataframe()``       its numbers, one line a case; required
``_report_sections_()``  its sections in a report, as dicts of a section's fields (``picture`` names one of
                         ``fbn.plot``); by default one section of its ``repr``, its picture and its table
``_methods_()``          sentences for the methods section of a paper, without their full context
``_settings_``           names of fields that are settings, listed in a report's table of settings
``_measured_``           names of those settings that were computed from the data
======================== =============================================================================================

On disk a result is one safetensors file (:mod:`tl_fbn.files`): arrays are tensors named like their fields, everything
else is JSON. Fields may hold arrays, numbers, text, tuples, mappings, a UnitSpace, another result, a DataFrame, or a
mapping of names to arrays. If files of earlier versions called a field otherwise, the class names it in ``renamed``;
if their layout differed, ``_older_`` converts it. Nothing is pickled.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import pandas as pd

from tl_fbn import files
from tl_fbn.errors import InputError, one_of, visible
from tl_fbn.signatures import checked
from tl_fbn.units.html_tables import html_frame
from tl_fbn.units.space import Provenance, UnitSpace

Step = Literal[
    "settings",
    "design",
    "recording",
    "fit",
    "contrast",
    "model order",
    "decomposition",
    "networks",
    "comparison",
    "scores",
    "answers",
    "lesions",
    "amplification",
    "pruning",
    "protocols",
]
"""The steps of an analysis, in the order in which a report and its methods section tell them."""

Arrays = dict[str, np.ndarray]
Described = dict[str, Any]
AnyResult = TypeVar("AnyResult", bound="Result")

RESULT_CLASSES: dict[str, type[Result]] = {}
"""Name of a class, as its files hold it, to the class; of all classes of results imported so far."""


class Result:
    """Base class of everything that is found, saved, loaded and reported.

    >>> network.save("sort.safetensors")
    >>> fbn.Network.load("sort.safetensors") == network
    True

    Args:
        step: Where the result belongs in an analysis, one of :data:`Step`; it orders reports. Without it the class is
            a base of others and is not registered.
        picture: Name of the function of ``fbn.plot`` that draws it; None where there is none.
        renamed: Names of fields in files of older versions, to the names they have now.
    """

    _step_: ClassVar[Step]
    _picture_: ClassVar[str | None] = None
    _renamed_: ClassVar[Mapping[str, str]] = {}
    _settings_: ClassVar[tuple[str, ...]] = ()
    _measured_: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        step: Step | None = None,
        picture: str | None = None,
        renamed: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        if (own := cls.__dict__.get("__repr__")) is not None:  # names in it are the user's
            cls.__repr__ = functools.wraps(own)(lambda self: visible(own(self)))
        if step is None:
            return  # a base of others
        one_of(step, Step, "step")
        cls._step_ = step
        cls._picture_ = picture
        cls._renamed_ = dict(renamed or {})
        RESULT_CLASSES[cls.__name__] = cls

    def to_dataframe(self) -> pd.DataFrame:
        """The numbers of the result as a table, one line a case."""
        raise NotImplementedError(f"{type(self).__name__} has no to_dataframe")

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Save to one safetensors file; an existing file is replaced, whole or not at all.

        Args:
            path: The file, by custom with the ending ``.safetensors``; missing parent folders are made.
        """
        arrays, about = self._pack_()
        files.write_result(path, type(self).__name__, arrays, about)

    @classmethod
    @checked
    def load(cls: type[AnyResult], path: str | os.PathLike) -> AnyResult:
        """Load what :meth:`save` saved.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: There is no file at the path.
            InputError: The file is damaged, was not saved by tl_fbn, holds another kind of result, or a newer format.
        """
        arrays, about = files.read_result(path, cls.__name__)
        return cls._of_file(path, arrays, about)

    @classmethod
    def _of_file(cls: type[AnyResult], path: str | os.PathLike, arrays: Arrays, about: Described) -> AnyResult:
        """The result that a file describes; an error of unpacking becomes an InputError: the file is damaged."""
        try:
            return cls._unpack_(*cls._older_(arrays, about))
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged description can raise anything: KeyError, TypeError, a refused argument
            if isinstance(error, InputError) and str(path) in str(error):
                raise  # it names the file already
            raise InputError(
                f"{path} is damaged, or not what tl_fbn wrote ({type(error).__name__}: {error}); load another copy of "
                "it"
            ) from error

    def _pack_(self) -> tuple[Arrays, Described]:
        """The fields, as arrays and as values that JSON can hold."""
        arrays: Arrays = {}
        about: Described = {}
        for one in fields(self):  # pyright: ignore[reportArgumentType]  (every result is a dataclass)
            _pack_field(one, getattr(self, one.name), arrays, about)
        return arrays, about

    @classmethod
    def _unpack_(cls: type[AnyResult], arrays: Arrays, about: Described) -> AnyResult:
        """The result from what :meth:`_pack_` returned; fields that a file lacks take their defaults."""
        about = {cls._renamed_.get(name, name): value for name, value in about.items()}
        arrays = {cls._renamed_.get(name, name): value for name, value in arrays.items()}
        values = {}
        for one in fields(cls):  # pyright: ignore[reportArgumentType]
            value = _unpack_field(one, arrays, about)
            if value is not MISSING:
                values[one.name] = value
        return cls(**values)

    @classmethod
    def _older_(cls, arrays: Arrays, about: Described) -> tuple[Arrays, Described]:
        """What a file of an older version holds, converted to what this version writes."""
        return arrays, about

    def _setting_values_(self) -> dict[str, Any]:
        """The settings that are fields (those that ``_settings_`` names), by name; others are in the provenance."""
        return {name: getattr(self, name) for name in self._settings_}

    def _methods_(self) -> list[str]:
        """Sentences for the methods section of a paper; none where the class has nothing to say."""
        return []

    @classmethod
    def _methods_of_(cls, results: Sequence[Any]) -> list[str]:
        """Sentences for several results of this class; a class whose results share a sentence overrides it."""
        return [sentence for result in results for sentence in result._methods_()]

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.to_dataframe().head(20))


@dataclass(frozen=True, eq=False)
class TableResult(Result):
    """A result that is one table.

    Args:
        table: The table, one line a case; each class says which columns it has.
        provenance: Where the numbers came from: seed, settings, and what was compared.
    """

    table: pd.DataFrame
    provenance: Provenance = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def __len__(self) -> int:
        return len(self.table)


def _pack_field(one: Field, value: Any, arrays: Arrays, about: Described) -> None:
    """Put one field of a result into ``arrays`` or into ``about``, by the type of its value."""
    name = one.name
    if value is None and one.default is None:
        return  # not written: it comes back as the default
    # arrays become tensors of the file, everything else becomes JSON
    if isinstance(value, np.ndarray):
        arrays[name] = value
    elif isinstance(value, UnitSpace):
        about[name] = value.about()
    elif isinstance(value, Result):
        inner, about[name] = value._pack_()  # arrays of a result inside a result are named field/array
        arrays.update({f"{name}/{part}": array for part, array in inner.items()})
    elif isinstance(value, pd.DataFrame):
        about[name] = list(value.to_dict("list").items())  # (column, cells) pairs, which keep the order of columns
    elif isinstance(value, Mapping) and _holds_arrays(one):
        about.setdefault("order", {})[name] = list(value)  # a safetensors file does not keep the order of its tensors
        arrays.update({f"{name}/{key}": np.asarray(array) for key, array in value.items()})
    else:
        about[name] = dict(value) if isinstance(value, Mapping) else value


def _unpack_field(one: Field, arrays: Arrays, about: Described) -> Any:
    """The value of one field from ``arrays`` or ``about``, by its annotation; MISSING where it takes its default."""
    name = one.name
    kind = str(one.type)  # the annotation as text: the module imports annotations from __future__
    if name in arrays:
        return arrays[name]
    if name in about.get("order", {}) and _holds_arrays(one):
        return {key: arrays[f"{name}/{key}"] for key in about["order"][name]}
    # a field that the file lacks: one that was added since, or None when it was saved
    if name not in about:
        if one.default is MISSING and one.default_factory is MISSING:
            raise KeyError(f"no field {name!r}")
        return MISSING
    value = about[name]
    if value is None:
        return None
    if kind.startswith("UnitSpace"):
        return UnitSpace.from_about(value)
    # "Contrast | None": the first word names the class of the inner result
    if (noun := kind.partition(" ")[0]) in RESULT_CLASSES:
        inner = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
        return RESULT_CLASSES[noun]._unpack_(inner, value)
    if kind.startswith("pd.DataFrame"):
        return pd.DataFrame(dict(value))
    if kind.startswith("Mapping[int"):
        return {int(key): each for key, each in value.items()}  # keys of a JSON object are text
    return _tuples(value, kind.count("tuple["))


def _holds_arrays(one: Field) -> bool:
    """Whether a field is a mapping of names to arrays, by its annotation."""
    return str(one.type).startswith("Mapping[") and "np.ndarray" in str(one.type)


def _tuples(value: Any, depth: int) -> Any:
    """Lists, which is what JSON makes of tuples, as tuples again, ``depth`` levels deep."""
    return tuple(_tuples(each, depth - 1) for each in value) if depth and isinstance(value, list) else value
