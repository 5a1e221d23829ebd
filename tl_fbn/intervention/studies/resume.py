"""Results that are kept as they come, so that an interrupted study goes on where it stopped.

A folder holds ``study.json`` and one safetensors file for each part of the study. ``study.json`` says what is
studied, as fields of digests and settings; a call that would study something else is refused, with the fields that
differ. The file of a part is rewritten whole (beside its place, then renamed, so that it is never half a file) every
few seconds while the part grows, and once when it is complete. A study that is killed loses the seconds since the
last write. Two studies that write to one folder at the same time are not kept apart.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_fbn import files
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.errors import InputError
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.units import Network

SAVE_EVERY = 5.0  # seconds between writes of a part that grows


class Unfinished:
    """A folder that keeps the parts of a study while they grow.

    Args:
        path: The folder; it is made if there is none.
        fields: What is studied, as JSON-serialisable fields, for example those of :func:`identity_of_study`.

    Raises:
        InputError: The path is a file, or the folder holds another study or something that is no study.
    """

    def __init__(self, path: str | os.PathLike, fields: Mapping[str, Any]) -> None:
        self._folder = Path(path)
        description = self._folder / "study.json"
        # compared with what is read back from the file, in which tuples are lists
        plain = json.loads(json.dumps(fields))
        if self._folder.is_file():
            raise InputError(f"{self._folder} is a file; give a folder, which is made if there is none")
        if description.exists():
            keys.refuse_other(self._folder, json.loads(description.read_text()), plain)
        elif self._folder.is_dir() and any(self._folder.iterdir()):
            raise InputError(f"{self._folder} holds something that is no lesion study; give another folder")
        else:
            written = {"key": keys.digest(plain), "fields": plain}
            files.write_atomically(description, json.dumps(written, indent=1, sort_keys=True).encode())

    def grow(
        self, name: str, n: int, results_from: Callable[[int], Iterable[tuple[np.ndarray, Mapping[str, Any]]]]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Results 0 to n - 1 of a part; those that the folder has already are not made again.

        Args:
            name: Name of the part, which is the name of its file.
            n: Number of results of the complete part.
            results_from: Given the number of the first missing result, makes the results from there on, in order:
                each an array of the same shape, and notes.

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
        try:
            # a complete part is read, and nothing is run for it
            for row, noted in results_from(len(rows)) if len(rows) < n else ():
                rows.append(row)
                notes |= noted
                if time.monotonic() - written > SAVE_EVERY:
                    self._write(path, rows, notes)
                    saved = len(rows)
                    written = time.monotonic()
        finally:  # also when the user interrupts, or a lesion fails
            if len(rows) > saved:
                self._write(path, rows, notes)
        return np.array(rows), notes

    @staticmethod
    def _write(path: Path, rows: list[np.ndarray], notes: Mapping[str, Any]) -> None:
        files.write_result(path, "LesionPart", {"results": np.array(rows)}, notes)


def identity_of_study(
    model: HookedModel,
    networks: Mapping[str, Network],
    rivals: Mapping[str, Mapping[str, Network]],
    battery: Battery,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What decides whether two lesion studies are the same; a folder that was begun with other values is refused.

    Args:
        model: The model, which is known by its weights and by the interventions that are on it.
        networks: Names to the source networks, which are known by name, site, widths of the site's layers, and units.
        rivals: Name of a rival to networks by the name of their source network.
        battery: The tasks, which are known by the tokens of their items.
        settings: Other settings of the study that change its results.

    Returns:
        JSON-serialisable fields, the digests of large contents among them.
    """
    tokens = battery.scored_tokens(model)
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
        "weights": host.weights_digest(model),
        "interventions": host.active_edits(model),
        "battery": keys.digest(tasks),
        "tokenizer": keys.tokenizer_digest(tokenizer_of(model)),
        "networks": lesioned,
        **settings,
    }
