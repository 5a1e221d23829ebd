"""Runs in memory to the files of a recording: what is there already and belongs to it is left alone.

A folder takes one recording, told by its key. Every run is claimed before it is written, so that several processes may
write the same recording to one folder: who finds a run taken waits, and then finds it there. A run whose writing fails
leaves nothing behind. How the files look, and when a run counts as written, is :mod:`.store`'s business.

This module knows runs only; :meth:`tl_fbn.Recording.save` and :meth:`tl_fbn.Recording.from_arrays` call it, and open
what it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.errors import InputError


def write_runs(path: Path, about: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Write the runs of a recording of one site to a folder, as float32; runs that are there already are skipped.

    Args:
        path: Folder of the recording; made if it is not there.
        about: Description of the recording (its ``recording.json``); ``key`` says which recording it is.
        runs: All runs of the recording, in order.

    Raises:
        InputError: The folder holds a recording with another key.
    """
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
            if number not in store.committed_runs(path):
                _write_claimed_run(path, number, run, claim)
        finally:
            claim.release()


def _write_claimed_run(path: Path, number: int, run: Run, claim: store.Claim) -> None:
    """Write one run, all or nothing, that this process holds a claim on."""
    store.sweep(path, number, claim)
    tensors = {store.tensor_name(layer): array for layer, array in run.layers.items()}
    laid_out = store.lay_out(path, number, run.n_rows, {name: array.shape[1] for name, array in tensors.items()})
    try:
        for name, array in tensors.items():
            laid_out.write(name, 0, array[:])  # [:] decodes 16-bit arrays; of others it is a view
        store.commit(laid_out, store.run_folder(path, number), {"key": run.about["key"]}, run.events, run.rows)
    except BaseException:  # an interrupt too: no half-written folder stays behind
        laid_out.discard()
        raise
