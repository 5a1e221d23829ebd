"""Results that are kept as they come, so that an interrupted study goes on where it stopped.

A folder holds ``study.json`` and one safetensors file for each part of the study. ``study.json`` says what is
studied, as fields of digests and settings; a call that would study something else is refused, with the fields that
differ. The file of a part is rewritten whole (beside its place, then renamed, so that it is never half a file) every
few seconds while the part grows, and once when it is complete. A study that is killed loses the seconds since the
last write. Before each write the model is compared with what ``study.json`` says of it: results of a model that
changed meanwhile are not kept.

Of two different studies that begin in one new folder at the same time, one makes it and the other is refused; two
that are the same write the same results, and the last one's stay. A ``study.json`` that was left half written is
replaced where no results are beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_fbn import files
from tl_fbn.acquisition.model.foreign_hooks import placed_hooks
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.units import Network, UnitMap

DESCRIPTION = "study.json"
SAVE_EVERY = 5.0  # seconds between writes of a part that grows


class Unfinished:
    """A folder that keeps the parts of a study while they grow.

    Args:
        path: The folder; it is made if there is none.
        fields: What is studied, as JSON-serialisable fields, for example those of :func:`identity_of_study`.
        state: The model that is studied, as it was when the fields were made; None where no model is part of them.

    Raises:
        InputError: The path is a file, the folder holds another study or something that is no study, or it holds
            results whose ``study.json`` cannot be read.
    """

    def __init__(self, path: str | os.PathLike, fields: Mapping[str, Any], state: ModelState | None = None) -> None:
        self._folder = Path(path)
        self._state = state
        description = self._folder / DESCRIPTION
        # compared with what is read back from the file, in which tuples are lists
        plain = json.loads(json.dumps(fields))
        if self._folder.is_file():
            raise InputError(f"{self._folder} is a file; give a folder, which is made if there is none")
        if not description.exists() and self._folder.is_dir() and any(map(_is_result, self._folder.iterdir())):
            raise InputError(f"{self._folder} holds something that is no study; give another folder")
        written = {"key": keys.digest(plain), "fields": plain} | (keys.beside_a_key(state) if state else {})
        data = json.dumps(written, indent=1, sort_keys=True).encode()
        if not files.create_atomically(description, data):
            about = _read_description(description)
            if about is None:  # half written, and nothing was kept yet
                files.write_atomically(description, data)
            else:
                keys.refuse_other(self._folder, about, plain, state.fingerprint if state else None)

    def grow(
        self,
        name: str,
        n: int,
        results_from: Callable[[Sequence[np.ndarray]], Iterable[tuple[np.ndarray, Mapping[str, Any]]]],
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Results 0 to n - 1 of a part; those that the folder has already are not made again.

        Args:
            name: Name of the part, which is the name of its file.
            n: Number of results of the complete part.
            results_from: Given the results that the folder has, makes those behind them, in order: each an array of the
                same shape, and notes.

        Returns:
            All results as one array, (result, ...), and the notes of all results together.
        """
        path = self._folder / f"{name}.safetensors"
        rows: list[np.ndarray] = []
        notes: dict[str, Any] = {}
        if path.exists():
            arrays, notes = files.read_result(path, "LesionPart")
            rows = list(arrays["results"])  # those of the calls before this one
        saved = len(rows)
        written = time.monotonic()
        if self._state is not None and len(rows) < n:
            self._state.require_unchanged()
        try:
            # a complete part is read, and nothing is run for it
            for row, noted in results_from(tuple(rows)) if len(rows) < n else ():
                rows.append(row)
                notes |= noted
                if time.monotonic() - written > SAVE_EVERY:
                    self._write(path, rows, notes, time.monotonic() - written)
                    saved = len(rows)
                    written = time.monotonic()
        finally:  # also when the user interrupts, or a lesion fails
            if len(rows) > saved:
                self._write(path, rows, notes, time.monotonic() - written)
        return np.array(rows), notes

    def _write(self, path: Path, rows: list[np.ndarray], notes: Mapping[str, Any], seconds: float) -> None:
        """Keep what a part has, of which the last rows took some seconds, unless the model is another by now."""
        if self._state is not None:
            self._state.require_unchanged(seconds)
        files.write_result(path, "LesionPart", {"results": np.array(rows)}, notes)


def _is_result(file: Path) -> bool:
    """Whether a file is more than the description, and what others write beside its place or left there."""
    return file.name != DESCRIPTION and not file.name.startswith(".")


def _read_description(path: Path) -> dict[str, Any] | None:
    """What ``study.json`` says; None if it is half written and no results are beside it."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        about = None
    if isinstance(about, dict) and isinstance(about.get("fields"), dict) and isinstance(about.get("key"), str):
        return about
    if any(path.parent.glob("*.safetensors")):
        raise InputError(
            f"{path} is damaged, and what the results beside it belong to is not known; give another folder, or delete "
            "this one"
        )
    return None


def study_folder(
    path: str | os.PathLike | None,
    model: HookedModel,
    networks: Mapping[str, Network],
    battery: Battery,
    settings: Mapping[str, Any],
    rivals: Mapping[str, Mapping[str, Network]] | None = None,
) -> Unfinished | None:
    """The folder that keeps a study.

    Args:
        path: The folder; it is made if there is none. None keeps nothing, and gives None.
        model: The model, under the interventions that the whole study is made under.
        networks: Names to the networks that are studied, all of one unit space.
        battery: The tasks.
        settings: Other settings of the study that change its results.
        rivals: Name of a rival to networks by the name of their source network.

    Raises:
        InputError: Hooks of the user's are on the model, or the folder holds something else.
    """
    if path is None:
        return None
    foreign = [one.name for one in placed_hooks(model) if one.is_foreign]
    if foreign:
        raise InputError(
            f"hooks that are not ours are on the model (on {foreign[0]}), and what they do cannot be told from a "
            "folder of results; take them off, or leave path= out"
        )
    site = next(iter(networks.values())).space.site
    state = ModelState.of(model, resolve_site(model, site).taps)
    identity = identity_of_study(state, networks, rivals or {}, battery, settings)
    return Unfinished(path, identity, state)


def identity_of_study(
    state: ModelState,
    networks: Mapping[str, Network],
    rivals: Mapping[str, Mapping[str, Network]],
    battery: Battery,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides whether two studies are the same; a folder that was begun with other values is refused.

    Args:
        state: The model as it is now: its weights, what it computes, and the interventions that are on it.
        networks: Names to the networks that are studied, which are known by name, site, widths of the site's layers,
            and units.
        rivals: Name of a rival to networks by the name of their source network.
        battery: The tasks, which are known by the tokens of their items.
        settings: Other settings of the study that change its results.

    Returns:
        JSON-serialisable fields, the digests of large contents among them.
    """
    tokens = battery.scored_tokens(state.model)
    tasks = [
        [name, task.kind, [len(item.alternatives) for item in task.items], tokens[name]]
        for name, task in battery.tasks.items()
    ]
    rival_networks = [(f"{rival}/{name}", one) for rival, of in rivals.items() for name, one in of.items()]
    lesioned = [
        [name, keys.digest([one.space.site, one.space.widths, one.indices.tolist()])]
        for name, one in [*networks.items(), *rival_networks]
    ]
    return {
        "weights": state.weights,
        "computes": state.fingerprint.fields,
        "interventions": state.edits,
        "battery": keys.digest(tasks),
        "networks": lesioned,
        **settings,
    }


def map_digest(scores: UnitMap) -> str:
    """A map as a setting of a study: a digest of its values.

    Args:
        scores: The map.
    """
    return hashlib.sha256(np.ascontiguousarray(scores.values, dtype=float).tobytes()).hexdigest()
