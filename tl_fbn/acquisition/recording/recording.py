"""What a scan recorded: activations by run and layer, the events, and a table that says what every row was.

A :class:`Recording` is a sequence of :class:`Run`. The layers of a run are read-only memory maps, so that opening costs
next to nothing and only the bytes that are asked for are read:

>>> recording[0].layer(2).shape  # (row, unit) of run 0, layer 2; a map of the file
(768, 384)
>>> recording[0].read(units=network, rows=slice(0, 100)).shape  # the members of a network only, in memory
(100, 23)

A scan of several sites is one recording; ``recording.site("attn.out")`` is the view of one of them.
:meth:`Recording.pool` makes one row of every prompt, as localizers want. Activations from anywhere else become a
recording with :meth:`Recording.from_arrays`; everything downstream treats them alike. No torch, no model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from tl_fbn.acquisition.recording import recording_prose
from tl_fbn.acquisition.recording.descriptions import model_dtype_of
from tl_fbn.acquisition.recording.external_arrays import arrays_of, check_arrays, stored_array
from tl_fbn.acquisition.recording.massive import Massive, measured_massive
from tl_fbn.acquisition.recording.massive_units import as_provenance, stated_units
from tl_fbn.acquisition.recording.pooling import Pool
from tl_fbn.acquisition.recording.run import Run, pooled_run, read_only_view
from tl_fbn.acquisition.recording.run_files import open_runs, verify_runs, write_runs
from tl_fbn.arguments import whole_number
from tl_fbn.errors import InputError, InputIndexError
from tl_fbn.signatures import checked
from tl_fbn.units import UnitSpace
from tl_fbn.units.html_tables import html_frame
from tl_fbn.units.outgoing_norms import stated_norms
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class Recording(Result, Sequence, step="recording"):
    """Runs of activations, of one site or of several recorded together.

    A recording is a sequence of its runs: ``recording[0]`` is the first, ``len(recording)`` counts them.

    >>> recording  # doctest: +ELLIPSIS
    Recording at recordings/tasks: 2 runs, 1,536 rows, tl_fbn-demo mlp.neurons (3 x 384) in float32; conditions ...
    >>> [run.n_rows for run in recording]
    [768, 768]
    >>> recording.to_dataframe()[["run", "row", "token", "trial_type"]].head(2)
       run  row   token trial_type
    0    0    0   <bos>       sort
    1    0    1  [INST]       sort

    Args:
        spaces: The units of every site that was recorded, one space a site; the units are the same in all runs.
        runs_of: The runs of every site, in order: ``runs_of[i]`` are those of ``spaces[i]``. All sites have the same
            rows, events and row tables.
        about: Description of the recording, as in its ``recording.json``: its content key (``key``), what the key was
            computed from (``fields``, of a scan), the model's name and digests of the prompts.
        path: Folder of the recording on disk; None for a recording in memory.
    """

    spaces: tuple[UnitSpace, ...]
    runs_of: tuple[tuple[Run, ...], ...]
    about: Mapping[str, Any]
    path: Path | None = None

    @classmethod
    @checked
    def open(cls, path: str | os.PathLike) -> Recording:
        """Open a recording on disk; only descriptions are read, no activations.

        >>> fbn.Recording.from_arrays([[np.eye(4)]], events=[design.events(0).head(1).assign(duration=4)], path="mine")
        Recording at mine: 1 runs, 4 rows, external mlp.neurons (1 x 4); conditions sort
        >>> fbn.Recording.open("mine").n_rows
        4

        Args:
            path: Folder of the recording, which :meth:`tl_fbn.Scanner.scan`, :meth:`save` or :meth:`from_arrays` wrote.

        Returns:
            The recording, whose layers are read-only memory maps of its files.

        Raises:
            FileNotFoundError: There is no recording at ``path``.
            InputError: A run is missing or damaged in size, or the format is newer than this version.
        """
        about, spaces, runs_of = open_runs(Path(path))
        return cls(spaces, runs_of, about, Path(path))

    @classmethod
    @checked
    def from_arrays(
        cls,
        activations: Sequence[Sequence[Any]],
        *,
        events: Sequence[pd.DataFrame],
        rows: Sequence[pd.DataFrame] | None = None,
        path: str | os.PathLike | None = None,
        model: str = "external",
        site: str = "mlp.neurons",
    ) -> Recording:
        """Make a recording of activations you already have.

        >>> activations = [[np.zeros((128, 5)), np.ones((128, 7))]]  # one run, two layers of 5 and 7 units
        >>> fbn.Recording.from_arrays(activations, events=[design.events(0).head(2)])
        Recording in memory: 1 runs, 128 rows, external mlp.neurons (2 layers of 5, 7); conditions sort, reverse

        Args:
            activations: A list (run) of lists (layer) of arrays or tensors (row, unit), finite; kept as float32. Layers
                have the same units in every run; a layer of which nothing was recorded has an array of 0 columns.
            events: For every run a table of its blocks with the columns ``onset`` (first row, from 0) and ``duration``
                (number of rows), both whole numbers of rows, and ``trial_type`` (the condition).
            rows: For every run a table with one line a row and any columns; ``prompt`` says which rows share a context
                and ``position`` the place in it. None: nothing is known of rows, and a run counts as one context.
            path: Folder to which the recording is written; None keeps it in memory.
            model: Name of the model, a label that is not part of the key.
            site: Name of the site where the activations were read.

        Returns:
            The recording: opened from ``path`` if that was given, else in memory.

        Raises:
            InputError: Shapes, tables or values do not fit together, a value is masked or no real number, float32 would
                blur how a unit varies (messages name run and layer), or the folder holds another recording.
        """
        arrays = arrays_of(activations)  # arrays[run][layer] is (row, unit)
        tables = check_arrays(arrays, events, rows)
        space = UnitSpace(site, tuple(layer.shape[1] for layer in arrays[0]), model)
        # The key is a digest of all that is stored: equal activations, events and row tables have equal keys.
        digest = hashlib.sha256(f"{site} {space.widths}".encode())
        for run, (event_table, row_table) in zip(arrays, tables, strict=True):
            digest.update(event_table.to_csv().encode() + row_table.to_csv().encode())
            for layer in run:
                digest.update(np.ascontiguousarray(layer, np.float32).tobytes())
        about = {
            "key": digest.hexdigest(),
            "fields": {"weights": None, "site": site},
            "spaces": [{"site": site, "widths": list(space.widths)}],
            "model": model,
            "n_runs": len(arrays),
            "prompts": None,
        }
        runs = []
        for run, (event_table, row_table) in zip(arrays, tables, strict=True):
            # what is written at once needs no copy
            stored = [stored_array(layer) if path is None else np.ascontiguousarray(layer, np.float32) for layer in run]
            layers = {number: read_only_view(layer) for number, layer in enumerate(stored) if layer.shape[1]}
            runs.append(Run(space, layers, {"key": about["key"]}, None, {"events": event_table, "rows": row_table}))
        recording = cls((space,), (tuple(runs),), about)
        if path is None:
            return recording
        write_runs(Path(path), recording.about, recording.runs)
        return Recording.open(Path(path))

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike) -> Recording:
        """Open a recording on disk; the name that all results have for it, and the same as :meth:`open`.

        Args:
            path: Folder of the recording.

        Returns:
            The recording, whose layers are read-only memory maps of its files.

        Raises:
            FileNotFoundError: There is no recording at ``path``.
            InputError: A run is missing or damaged in size, or the format is newer than this version.
        """
        return cls.open(path)

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Write a recording of one site to a folder; runs of it that are there already are left alone.

        Numbers are stored as they are: 16-bit recordings in 16 bits, courses of networks in float64. One site of a
        recording of several gets a key of its own, as it is another content than all of them.

        >>> recording.pool("mean").save("pooled")
        >>> fbn.Recording.open("pooled").n_rows
        113

        Args:
            path: Folder of the recording; made if it is not there.

        Raises:
            InputError: The folder holds another recording, or this one has several sites.
            OSError: The disk is full; runs that were written are kept.
        """
        self._index_of_the_only_site()
        write_runs(Path(path), self.about, self.runs)
        Recording.open(Path(path))  # raises unless every run is there, whole, and belongs to this recording

    @property
    def sites(self) -> list[str]:
        """Names of the sites that were recorded, in the order of :attr:`spaces`."""
        return [space.site for space in self.spaces]

    @property
    def space(self) -> UnitSpace:
        """The units of a recording of one site; with several sites an InputError, as one has to be chosen."""
        return self.spaces[self._index_of_the_only_site()]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of a recording of one site, in order; with several sites an InputError, as one has to be chosen."""
        return self.runs_of[self._index_of_the_only_site()]

    def _index_of_the_only_site(self) -> int:
        """0, or an error where there are several sites and one has to be chosen."""
        if len(self.spaces) != 1:
            raise InputError(
                f"this recording holds the sites {', '.join(self.sites)}; take one of them with recording.site(name)"
            )
        return 0

    @checked
    def site(self, name: str) -> Recording:
        """The recording of one site alone, with the same rows, events and row tables; nothing is copied.

        >>> recording.site("mlp.neurons").space.widths
        (384, 384, 384)

        Args:
            name: Name of the site, one of :attr:`sites`.

        Raises:
            InputError: The site was not recorded.
        """
        if name not in self.sites:
            raise InputError(f"site {name!r} was not recorded; sites: {', '.join(self.sites)}")
        index = self.sites.index(name)
        return Recording((self.spaces[index],), (self.runs_of[index],), self.about, self.path)

    @checked
    def pool(self, how: Pool, *, drop_first: int = 0) -> Recording:
        """One row a prompt, in memory: the row of its last token, or the mean of its rows.

        >>> recording.pool("mean").n_rows  # the number of prompts that the blocks showed
        113

        Args:
            how: ``"last"`` takes the last row of every prompt, ``"mean"`` the mean of its rows; a prompt that was cut
                by the end of its block counts as far as it was shown.
            drop_first: Number of rows at the start of every prompt that take no part, such as a first token, which may
                be many times as large as all others. A prompt that was cut before it had more is left out.

        Returns:
            A recording of the same sites and runs; its events count prompts, its row tables have one line a prompt.

        Raises:
            InputError: ``how`` is neither, the row table has no column ``prompt``, or a prompt that was not cut has no
                more than ``drop_first`` rows.
        """
        pooled = tuple(tuple(pooled_run(run, how, drop_first) for run in runs) for runs in self.runs_of)
        # another recording than the one pooled, and the same one whenever it is pooled again
        dropped = {"pool_drop_first": drop_first} if drop_first else {}
        key = hashlib.sha256(" ".join([self.key, how, *map(str, dropped.values())]).encode()).hexdigest()
        return Recording(self.spaces, pooled, {**self.about, "key": key, "pool": how, **dropped})

    @property
    def key(self) -> str:
        """The content key, a SHA-256 digest in hexadecimal: recordings with equal keys hold equal data."""
        return str(self.about["key"])

    @property
    def conditions(self) -> list[str]:
        """Names of the conditions (every ``trial_type`` of the events), in the order in which they first appear."""
        return list(dict.fromkeys(name for run in self.runs_of[0] for name in run.events["trial_type"]))

    @property
    def n_rows(self) -> int:
        """Number of rows of all runs together."""
        return sum(run.n_rows for run in self.runs_of[0])

    @property
    def provenance(self) -> Provenance:
        """What a network found in this recording remembers of it.

        The recording's key, a digest of the model's weights (None if unknown) and, if they are known, the number type
        that the model computed in and digests of the prompts, which later show whether a battery has questions that the
        network was found on; and, where a scan found any, the massive units (layer, unit, share of the variance).
        """
        known = {"prompts": list(self.about["prompts"])} if self.about.get("prompts") is not None else {}
        if len(self.spaces) == 1:
            known = as_provenance(stated_units([run.about for run in self.runs], self.space)) | known
        origin = {"recording": self.key, "weights": self.about["fields"].get("weights")}
        return {**origin, **model_dtype_of(self.about), **known}

    @property
    def outgoing_norms(self) -> Float[np.ndarray, " unit"] | None:
        """(unit,) norms of the outgoing weights, what one unit of activation adds to the stream; None where unknown.

        >>> recording.outgoing_norms[:3].round(2)
        array([0.47, 0.5 , 0.6 ])

        Unknown to recordings of earlier versions and of arrays; 1 for coordinates of the stream, None for heads.
        """
        return stated_norms(self.about, self.space)

    def mean(self) -> Float[np.ndarray, " unit"]:
        """Mean activation of every unit over the rows of all runs.

        >>> recording.mean()[:3].round(2)
        array([ 0.18, -0.03,  0.36])

        Returns:
            (unit,) means in float64, units in flat order. Memory: one layer of one run at a time.

        Raises:
            InputError: The recording has several sites.
        """
        total = np.zeros(self.space.n_units)
        for run in self.runs:
            for layer, array in run.layers.items():
                # summed in float64: a float32 sum of many rows loses the digits of small activations
                total[self.space.layer_slice(layer)] += np.asarray(array).sum(0, dtype=np.float64)
        return total / self.n_rows

    @checked
    def massive(
        self,
        *,
        share: float = 0.9,
        top: int = 20,
        model: Any = None,
        texts: Sequence[Any] | None = None,
        progress: bool = True,
    ) -> Massive:
        """Rows and units that hold most of the variance, and what the model loses when such a unit is zero.

        >>> recording.massive()  # doctest: +ELLIPSIS
        Massive: 408 of 1,152 units and 1,218 of 1,536 rows hold 90 % of the variance of tl_fbn-demo mlp.neurons ...

        Args:
            share: Share of the variance, between 0 and 1, that the listed units, and the listed rows, hold together.
            top: Largest number of units, and of rows, that are listed.
            model: The model that was recorded, to measure what zeroing listed units costs it; None measures nothing.
            texts: What it reads for that: strings, chats or lists of token ids; None takes 32 prompts of the recording.
            progress: Whether to show a bar while the model runs.

        Returns:
            Tables of units and rows, largest first, and the shares of all.

        Raises:
            InputError: There are several sites, nothing varies, or the model has other units.
        """
        return measured_massive(self.runs, self.provenance, share, top, model=model, texts=texts, progress=progress)

    def verify(self) -> None:
        """Compare the checksum of every file with the one it was committed with; runs in memory have no files and pass.

        All else is compared whenever a recording is opened; this also reads every activation.

        Raises:
            InputError: A file is missing or has changed; the message names the first.
        """
        verify_runs(self.runs_of[0], self.path, self.key)  # the sites of a run share its files

    def to_dataframe(self) -> pd.DataFrame:
        """The row tables of all runs, one below the other; the first columns are ``run`` and ``row``, both from 0."""
        tables = [run.rows.reset_index(names="row") for run in self.runs_of[0]]  # all sites have the same rows
        for number, table in enumerate(tables):
            table.insert(0, "run", number)
        return pd.concat(tables, ignore_index=True)

    def _setting_values_(self) -> dict[str, Any]:
        return recording_prose.settings_of(self)

    def _methods_(self) -> list[str]:
        return [recording_prose.recorded_in_words(self)]

    def _report_sections_(self) -> list[dict[str, Any]]:
        return recording_prose.recording_sections(self)

    def __getitem__(self, index: int) -> Run:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not isinstance(index, slice) and not -len(self) <= whole_number(index, "run") < len(self):
            raise InputIndexError(f"run {index} is not in this recording; runs: 0 to {len(self) - 1}")
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs_of[0])

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __repr__(self) -> str:
        return recording_prose.in_one_line(self)

    def _repr_html_(self) -> str:
        return html_frame(repr(self), recording_prose.table_of_runs(self), ".3g")
