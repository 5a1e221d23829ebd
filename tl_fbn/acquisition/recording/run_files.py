"""Runs in memory to the files of a recording, and back.

A folder takes one recording, told by its key. Every run is claimed before it is written, so that several processes may
write the same recording to one folder: who finds a run taken waits, and then finds it there. A run whose writing fails
leaves nothing behind. Numbers are stored as they are: 16-bit words as words, float64 as float64, all others as float32.

How the files look, and when a run counts as written, is :mod:`.store`'s business. This module knows runs only;
:class:`tl_fbn.Recording` calls it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tl_fbn import files
from tl_fbn.acquisition.recording import descriptions, store
from tl_fbn.acquisition.recording.half_precision import HalfArray, StoredDtype
from tl_fbn.acquisition.recording.massive_units import VARIANCE
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.acquisition.recording.stored_tensors import RecentTensors
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace


def open_runs(path: Path) -> tuple[dict[str, Any], tuple[UnitSpace, ...], tuple[tuple[Run, ...], ...]]:
    """A recording on disk: its description, the units of every site, and the runs of every site.

    Args:
        path: Folder of the recording.

    Raises:
        FileNotFoundError: There is no recording at ``path``.
        InputError: A run is missing or damaged, belongs to another recording, or the format is newer than this version.
    """
    about = store.read_about(path)
    if not descriptions.has_checksum(about):
        warnings.warn(
            f"{path} was recorded by an earlier version, whose {store.ABOUT} and run.json have no checksum: damage to "
            "them is seen only where they contradict each other",
            stacklevel=3,
        )
    committed = store.committed_runs(path)
    n_runs = about["n_runs"]
    # counted first: a damaged number of runs may be of any size
    if len([number for number in committed if number < n_runs]) < n_runs:
        raise InputError(
            f"{path} holds {len(committed)} of {n_runs} runs; call scanner.scan(design, folder) again to complete it"
        )
    if len(committed) > n_runs:
        extra = store.run_folder(path, committed[-1])
        raise InputError(f"{extra} is none of the {n_runs} runs of {path}; delete it")
    weights = about["fields"].get("weights")
    described = descriptions.described_spaces(about)
    try:
        spaces = tuple(UnitSpace(one["site"], tuple(one["widths"]), about["model"], weights) for one in described)
    except InputError as error:
        raise InputError(f"{path / store.ABOUT} is damaged: {error}; delete it and scan again") from error
    # names of tensors have their site only where there are several: number of a layer to name, a site
    names = [
        {
            layer: store.tensor_name(layer, space.site if len(spaces) > 1 else "")
            for layer, width in enumerate(space.widths)
            if width
        }
        for space in spaces
    ]
    widths = {
        name: space.widths[layer]
        for space, of_site in zip(spaces, names, strict=True)
        for layer, name in of_site.items()
    }
    recent = RecentTensors()
    runs = []
    for number in committed:
        folder = store.run_folder(path.absolute(), number)
        run_about, tensors = store.open_run(folder, widths)
        # a run that was copied in from another folder, or from another place in this one
        if run_about["key"] != about["key"]:
            raise InputError(f"{folder} belongs to another recording than {path}; delete it and scan again")
        if run_about.get("run", number) != number:
            raise InputError(f"{folder} was recorded as run {run_about['run']}; delete it and scan again")
        runs.append(
            tuple(
                Run(space, tensors.renamed(of_site, recent), run_about, folder)
                for space, of_site in zip(spaces, names, strict=True)
            )
        )
    return about, spaces, tuple(zip(*runs, strict=True))  # runs of sites to sites of runs


def write_runs(path: Path, about: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Write the runs of a recording of one site to a folder; runs that are there already are skipped.

    Args:
        path: Folder of the recording; made if it is not there.
        about: Description of the recording (its ``recording.json``); ``key`` says which recording it is.
        runs: All runs of the recording, in order.

    Raises:
        InputError: The folder holds a recording with another key, or the runs hold what is no real number.
        OSError: The disk is full; the message names the run. Runs that were written are kept.
    """
    dtype = _dtype_of(runs)
    about = {**_about_of_one_site(about, runs[0].space, dtype), "n_runs": len(runs)}
    # the description first: from then on the folder belongs to this recording, and a broken write can be gone on with.
    # Of two recordings that are written to one new folder at the same time, one makes it and the other is refused
    if not store.write_about(path, about, new=True):
        existing = store.read_about(path)
        if existing["key"] != str(about["key"]):
            raise InputError(
                f"{path} already holds another recording (key {existing['key'][:12]}); give another folder or delete it"
            )
        # the same content may be described anew, with other notes or more runs
        store.write_about(path, about)
    for number, run in enumerate(runs):
        claim = store.claim(path, number, wait=True)
        assert claim is not None  # None is the answer of a claim that does not wait
        try:
            # asked for under the claim: while this process waited, the one before may have written the run
            if not store.is_committed(path, number):
                what = f"{path} ran out of room while run {number} was written"
                with files.full_disk_named(what, "runs that were written are kept: make room and save again"):
                    _write_claimed_run(path, number, run, claim, dtype, str(about["key"]))
        finally:
            claim.release()


def _write_claimed_run(path: Path, number: int, run: Run, claim: store.Claim, dtype: StoredDtype, key: str) -> None:
    """Write one run, all or nothing, that this process holds a claim on."""
    store.sweep(path, number, claim)
    names = {layer: store.tensor_name(layer) for layer in sorted(run.layers)}
    widths = {name: run.space.widths[layer] for layer, name in names.items()}
    laid_out = store.lay_out(path, number, run.n_rows, widths, dtype)
    try:
        for layer, name in names.items():
            laid_out.write(name, 0, _stored_values(run.layers[layer], dtype))
        # The recording's key, which is not that of the run where the run was computed from another recording's.
        # of the same numbers, and of the same prompts
        kept = {name: run.about[name] for name in (VARIANCE, "prompts", descriptions.DIGESTS) if name in run.about}
        about = {"key": key, "run": number, **kept}
        store.commit(laid_out, store.run_folder(path, number), about, run.events, run.rows)
    except BaseException:  # an interrupt too: no half-written folder stays behind
        laid_out.discard()
        raise


def verify_runs(runs: Sequence[Run], path: Path | None, key: str) -> None:
    """Compare the checksums of the files of runs with those they were committed with.

    Args:
        runs: The runs; those in memory have no files.
        path: Folder of the recording; None in memory.
        key: Key of the recording when it was opened.

    Raises:
        InputError: A file is missing or has changed, or the folder holds another recording by now.
    """
    for run in runs:
        if run.folder is not None:
            store.verify_run(run.folder, opened=dict(run.about))
    if path is not None and store.read_about(path)["key"] != key:
        raise InputError(f"{path} holds another recording than when it was opened; open it again")


def _dtype_of(runs: Sequence[Run]) -> StoredDtype:
    """The type that stores the numbers of all runs as they are."""
    kinds: set[StoredDtype] = {_kind_of(array) for run in runs for array in run.layers.values()}
    if len(kinds) == 1:
        return kinds.pop()
    # 16-bit numbers of two formats, or beside wider ones: each is also a float32
    return "float64" if "float64" in kinds else "float32"


def _kind_of(array: Any) -> StoredDtype:
    """The type that stores the numbers of an array as they are."""
    if isinstance(array, HalfArray):
        kind: Any = array.kind
        return kind
    # float32 of what fits into it, float64 of wider integers
    kind: Any = np.result_type(array.dtype, np.float32).name
    if kind not in get_args(StoredDtype):
        raise InputError(f"activations of {array.dtype} cannot be stored; give numbers of float64 or fewer bits")
    return kind


def _stored_values(array: Any, dtype: StoredDtype) -> np.ndarray:
    """An array as its file takes it: words of 16 bits as words, all else as numbers."""
    if isinstance(array, HalfArray) and array.kind == dtype and dtype in ("bfloat16", "float16"):
        return array.words
    return np.asarray(array[:], dtype=dtype)  # [:] decodes 16-bit arrays; of others it is a view


def _about_of_one_site(about: Mapping[str, Any], space: UnitSpace, dtype: StoredDtype) -> dict[str, Any]:
    """The description of what is written: one site and its own units, and how numbers are stored."""
    described = {name: value for name, value in about.items() if name != "space"}  # so called in format 1
    fields = dict(about.get("fields") or {})
    if len(about.get("spaces", ())) > 1:
        # One site of several is another content than all of them, and must not pass for it.
        described["key"] = hashlib.sha256(f"{about['key']} site {space.site}".encode()).hexdigest()
        fields |= {"site": space.site, "widths": list(space.widths)}
    if "dtype" in fields:
        fields["dtype"] = dtype
    return {**described, "fields": fields, "spaces": descriptions.description_of_spaces([space])}
