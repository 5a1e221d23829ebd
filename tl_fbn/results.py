"""Results from their files, without a model: what was saved last month becomes a page today.

    fbn.load("sort.safetensors")                     # a Contrast, an Atlas, a LesionStudy ...: the file says what it holds
    results = fbn.load_results("results/")           # everything in a folder, in the order of the argument
    fbn.Report("Sorting", *results.values()).save("sort.html")
    results.skipped                                  # file name -> why it was left out

Every result writes the name of its class into its file (:mod:`tl_fbn.units.result`); the public names say where that class lives. A recording is a folder, a
pruned model is one too (its report is loaded, not its weights), a table is a .csv or .tsv. Nothing is unpickled and no model is loaded.

What it does not do: go into subfolders that are no recording or pruned model.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

import tl_fbn
from tl_fbn import files
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.units import html_table
from tl_fbn.units.result import RESULT_CLASSES, Result, Step

PRUNED = "tl_fbn_pruned.safetensors"  # the file of a pruned model's folder; see intervention.pruning.checkpoint
TABLES = {".csv": ",", ".tsv": "\t"}
NAMESPACES = (
    *("units", "acquisition", "analysis.glm", "analysis.ica", "analysis.networks", "attribution"),
    *("intervention.behaviour", "intervention.studies", "intervention.pruning"),
)
"""Folders whose public names are searched for the class of a file that nobody has imported yet."""


class SavedResults(dict[str, Any]):
    """Results by the names of their files, in the order of the argument.

    Args:
        found: Name to result.
        skipped: What else was in the folder, and why it was left out.
    """

    def __init__(self, found: Mapping[str, Any], skipped: Mapping[str, str]) -> None:
        super().__init__(found)
        self.skipped = dict(skipped)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name} ({type(result).__name__})" for name, result in self.items())
        return f"SavedResults, {len(self)}: {listed or 'none'}" + (
            f"; skipped: {', '.join(self.skipped)}" if self.skipped else ""
        )

    def _repr_html_(self) -> str:
        lines = [(name, type(result).__name__, repr(result)[:160]) for name, result in self.items()]
        lines += [(name, "skipped", why) for name, why in self.skipped.items()]
        return html_table(f"{len(self)} saved results", ("name", "kind", "what"), lines)


def load(path: str | os.PathLike) -> Any:
    """Load what any result's ``.save(path)`` wrote, whatever it is.

    >>> load("results/sort.safetensors")                                        # doctest: +SKIP

    Args:
        path: A file of a result, the folder of a recording or of a pruned model, or a table as .csv or .tsv.

    Returns:
        The result; a :class:`tl_fbn.Recording`; the report of a pruned model; a DataFrame.

    Raises:
        FileNotFoundError: There is nothing at the path.
        InputError: The file is damaged, none of ours, of a newer format, or part of something unfinished.
    """
    path = Path(path)
    try:
        return _loaded(path)
    except (ValueError, OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # whatever else falls out of a description that is not what we write
        raise InputError(
            f"{path} is damaged, or not what tl_fbn wrote ({type(error).__name__}: {error}); load another copy of it"
        ) from error


def _loaded(path: Path) -> Any:
    """What :func:`load` loads; of a damaged file any error."""
    if path.is_dir():
        return _loaded_folder(path)
    if path.suffix.lower() in TABLES and path.is_file():
        try:
            return pd.read_csv(path, sep=TABLES[path.suffix.lower()])
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


def _loaded_folder(path: Path) -> Any:
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
    """The class of results with a name; it is imported where nobody has done so yet. None where there is no such class."""
    for name in NAMESPACES:
        if noun not in RESULT_CLASSES:
            folder = importlib.import_module(f"{tl_fbn.__name__}.{name}")
            if noun in getattr(folder, "__all__", ()):
                getattr(folder, noun)
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


def load_results(folder: str | os.PathLike) -> SavedResults:
    """Load every result in a folder, in the order of the argument: recordings, models, networks, scores, lesions, tables.

    >>> Report("Sorting", *load_results("results").values()).save("sort.html")  # doctest: +SKIP

    Args:
        folder: Where results were saved; subfolders that are recordings or pruned models count, others do not.

    Returns:
        File names (without their ending; with it where two would be one) to results. Its ``skipped`` says what else there was, and why it was left out.

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
        if path.name.startswith("."):
            continue
        if not path.is_dir() and path.suffix.lower() not in (".safetensors", *TABLES):
            skipped[path.name] = "no result: neither .safetensors nor .csv or .tsv, nor a folder"
            continue
        try:
            found[path] = load(path)
        except (ValueError, OSError) as error:
            skipped[path.name] = str(error)
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:5])
        raise InputError(
            f"no result in {folder} ({reasons or 'it is empty'}); give a folder with files saved by tl_fbn"
        )
    placed = sorted(found, key=lambda path: (*place_in_argument(found[path]), path.name))
    stems = [path.stem if path.is_file() else path.name for path in placed]
    taken = [
        *stems,
        *(p.name for p, stem in zip(placed, stems, strict=True) if p.name != stem),
    ]  # x.csv.safetensors, x.csv
    names = [stem if taken.count(stem) == 1 else path.name for path, stem in zip(placed, stems, strict=True)]
    return SavedResults({name: found[path] for name, path in zip(names, placed, strict=True)}, skipped)


def place_in_argument(result: Any) -> tuple[int, str]:
    """Where a result comes in an argument: by its step, then by its kind; tables come last."""
    steps = get_args(Step)
    step = getattr(result, "_step_", None)
    return (steps.index(step) if step in steps else len(steps)), type(result).__name__
