"""Results from their files, without a model: read one file or a whole folder, for instance to build a page from it.

::

    fbn.load("sort.safetensors")              # a Contrast, an Atlas, a LesionStudy ...: the file names its class
    results = fbn.load_results("results/")    # everything in a folder, sorted by step of the analysis
    fbn.Report("Sorting", *results.values()).save("sort.html")
    results.skipped                           # file name -> why it was left out

Every result writes the name of its class into its file (:mod:`tl_fbn.units.result`), and the public names of the
package say where that class lives. A recording is a folder; a pruned model is a folder too, of which the report is
loaded and not the weights; a table is a ``.csv`` or ``.tsv`` file. Nothing is unpickled and no model is loaded.

The *step* of a result says where it belongs in an argument (settings, design, recording, contrast, ..., lesions,
pruning; :data:`tl_fbn.units.result.Step`): pages and paragraphs follow that order, and so does what
:func:`load_results` returns.

What it does not do: look into subfolders, unless a subfolder is itself a recording or a pruned model.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

import tl_fbn
from tl_fbn import files
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError, visible
from tl_fbn.signatures import checked
from tl_fbn.text_files import delimited_table, read_text
from tl_fbn.units import html_table
from tl_fbn.units.result import RESULT_CLASSES, Result, Step

PRUNED = "tl_fbn_pruned.safetensors"  # in the folder of every pruned model; see intervention.pruning.checkpoint
TABLES = {".csv": ",", ".tsv": "\t"}  # ending of a file to what separates its cells
NAMESPACES = (
    *("units", "acquisition", "analysis.glm", "analysis.ica", "analysis.networks", "attribution"),
    *("intervention.behaviour", "intervention.studies", "intervention.pruning", "papers"),
)
"""Folders in whose public names the class of a file is looked up, where it has not been imported yet."""


class SavedResults(dict[str, Any]):
    """Results by the names of their files, sorted by step of the analysis: what :func:`load_results` returns.

    Args:
        found: Name of a file (or folder) to the result it holds.
        skipped: Name of a file that was left out, to the reason.
    """

    def __init__(self, found: Mapping[str, Any], skipped: Mapping[str, str]) -> None:
        super().__init__(found)
        self.skipped = dict(skipped)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name} ({type(result).__name__})" for name, result in self.items())
        skipped = f"; skipped: {', '.join(self.skipped)}" if self.skipped else ""
        return visible(f"SavedResults, {len(self)}: {listed or 'none'}{skipped}")

    def _repr_html_(self) -> str:
        lines = [(name, type(result).__name__, repr(result)[:160]) for name, result in self.items()]
        lines += [(name, "skipped", why) for name, why in self.skipped.items()]
        return html_table(f"{len(self)} saved results", ("name", "kind", "what"), lines)


@checked
def load(path: str | os.PathLike) -> Any:
    """Load any result from its file; the file says which class it is of.

    >>> contrast.save("sort.safetensors")
    >>> fbn.load("sort.safetensors")
    Contrast "sort - reverse" at block level, 14 degrees of freedom, runs [0, 1]: tl_fbn-demo mlp.neurons (3 x 384)

    Args:
        path: A file that a result's ``.save(path)`` wrote, the folder of a recording or of a pruned model, or a table
            as ``.csv`` or ``.tsv`` with a header line.

    Returns:
        The result; of a recording's folder the :class:`tl_fbn.Recording`; of a pruned model's folder the report of the
        pruning; of a table a DataFrame.

    Raises:
        FileNotFoundError: There is nothing at the path.
        InputError: The file is damaged, was not saved by tl_fbn, has a newer format, or belongs to a recording that
            is not complete.
    """
    path = Path(path)
    try:
        return _load_unguarded(path)
    except (ValueError, OSError, ImportError, MemoryError, Warning):  # a warning, where the user made them errors
        raise
    # a damaged or forged description can raise anything (KeyError, TypeError ...) in the class that unpacks it
    except Exception as error:
        raise InputError(
            f"{path} is damaged, or not what tl_fbn wrote ({type(error).__name__}: {error}); load another copy of it"
        ) from error


def _load_unguarded(path: Path) -> Any:
    """What :func:`load` returns; a damaged file may raise any error."""
    if path.is_dir():
        return _load_folder(path)
    if path.suffix.lower() in TABLES and path.is_file():
        try:
            text = read_text(path)
            delimited_table(path, ())  # raises for what pandas would shift, rename or fill up
            # a condition may be called None or NA, which pandas takes for missing
            missing = ["", "n/a", "nan", "NaN"]
            delimiter = TABLES[path.suffix.lower()]
            return pd.read_csv(io.StringIO(text), sep=delimiter, keep_default_na=False, na_values=missing)
        except InputError:
            raise
        except ValueError as error:  # pandas' own errors are ValueErrors
            raise InputError(
                f"{path} is no table ({error}); give a .csv or .tsv with a line of column names"
            ) from error
    noun = files.noun_of(path)
    found = result_class(noun)
    if found is None:
        raise InputError(f"{path} holds a {noun}, which is no result to load; results: {', '.join(result_names())}")
    if found is Recording:
        raise InputError(f"{path} is damaged: it says it holds a Recording, which is a folder; load another copy of it")
    return found.load(path)


def _load_folder(path: Path) -> Any:
    """A recording, or the report of a pruned model; each is known by the file that it always has."""
    if (path / store.ABOUT).is_file():
        return Recording.open(path)
    if (path / PRUNED).is_file():
        arrays, about = files.read_result(path / PRUNED, "Pruned")
        report = result_class("PruneReport")
        assert report is not None
        return report._unpack_(arrays, about["report"])
    raise InputError(
        f"{path} is a folder, but no recording and no pruned model; load_results(folder) loads what is in it"
    )


def result_class(noun: str) -> type[Result] | None:
    """The class of results of that name, imported if need be; None where there is no such class.

    Args:
        noun: Name of the class, as files hold it.
    """
    for name in NAMESPACES:
        if noun not in RESULT_CLASSES:
            folder = importlib.import_module(f"{tl_fbn.__name__}.{name}")
            if noun in getattr(folder, "__all__", ()):
                getattr(folder, noun)  # names load lazily: this imports the class, which then registers itself
    return RESULT_CLASSES.get(noun)


def result_names() -> list[str]:
    """Names of all public classes of results."""
    found = set(RESULT_CLASSES)
    for name in NAMESPACES:
        folder = importlib.import_module(f"{tl_fbn.__name__}.{name}")
        nouns = [noun for noun in getattr(folder, "__all__", ()) if noun[0].isupper()]
        found |= {
            noun for noun in nouns if isinstance(kind := getattr(folder, noun), type) and issubclass(kind, Result)
        }
    return sorted(found)


@checked
def load_results(folder: str | os.PathLike) -> SavedResults:
    """Load every result in a folder: recordings, networks, scores, lesion studies, pruned models, tables.

    >>> network.save("results/network.safetensors")
    >>> contrast.save("results/contrast.safetensors")
    >>> fbn.load_results("results")
    SavedResults, 2: contrast (Contrast), network (Network)

    Args:
        folder: The folder that results were saved in. A subfolder counts if it is a recording or a pruned model.

    Returns:
        Names to results, sorted by step of the analysis (designs before contrasts before networks before lesions),
        then by class and file name. A name is that of the file without its ending, or with it where two files would
        have one name. The attribute ``skipped`` says which files were left out, and why.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: Nothing in it is a result.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; give the folder that results were saved in")
    found: dict[Path, Any] = {}
    skipped: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):  # files of the system, and results that are being written
            continue
        if not path.is_dir() and path.suffix.lower() not in (".safetensors", *TABLES):
            skipped[path.name] = "no result: neither .safetensors nor .csv or .tsv, nor a folder"
            continue
        try:
            found[path] = load(path)
        except (ValueError, OSError) as error:  # one bad file must not hide the good ones
            skipped[path.name] = str(error)
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:5])
        raise InputError(
            f"no result in {folder} ({reasons or 'it is empty'}); give a folder with files saved by tl_fbn"
        )
    ordered = sorted(found, key=lambda path: (*place_in_argument(found[path]), path.name))
    stems = [path.stem if path.is_file() else path.name for path in ordered]
    # a stem that is also another file's whole name counts too: x.csv.safetensors beside x.csv
    whole_names = [path.name for path, stem in zip(ordered, stems, strict=True) if path.name != stem]
    names_in_use = [*stems, *whole_names]
    names = [stem if names_in_use.count(stem) == 1 else path.name for path, stem in zip(ordered, stems, strict=True)]
    return SavedResults({name: found[path] for name, path in zip(names, ordered, strict=True)}, skipped)


def place_in_argument(result: Any) -> tuple[int, str]:
    """Sort key of results: the step of the analysis, then the name of the class; tables, which have no step, come last.

    Args:
        result: A result, a recording or a DataFrame.
    """
    steps = get_args(Step)
    step = getattr(result, "_step_", None)
    return (steps.index(step) if step in steps else len(steps)), type(result).__name__
