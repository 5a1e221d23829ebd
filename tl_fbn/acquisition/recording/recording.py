"""What the scanner wrote: activations by run and layer, the events, and a table that says what every row was.

A :class:`Recording` is a sequence of :class:`Run`; a run's layers are read-only memory maps, so opening costs nothing and
only the bytes that are asked for are read::

    recording = Recording.open("recordings/sort")
    recording[0].layer(3)                                   # (row, unit) of run 0, layer 3, lazily mapped
    recording[0].read(units=network, rows=slice(0, 100))    # (row, unit) of a network's members only

A scan of several sites is one recording; ``recording.site("attn.out")`` is the view of one. :meth:`Recording.pool` makes one row
of every prompt, as localizers want. Activations from anywhere else become a recording with
:meth:`Recording.from_arrays`; everything downstream treats them alike. No torch, no model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.external_arrays import check_arrays
from tl_fbn.acquisition.recording.half_precision import HalfArray
from tl_fbn.acquisition.recording.pooling import Pool, pool_rows, pooled_tables
from tl_fbn.acquisition.recording.run_sums import blocks_of, segment_starts_of
from tl_fbn.errors import InputError, InputIndexError, one_of
from tl_fbn.units import Network, UnitSpace, html_table
from tl_fbn.units.prose import NOT_RECORDED, listed, space_in_words
from tl_fbn.units.result import Result
from tl_fbn.units.space import Provenance


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a recording.

    Args:
        space: The units of its columns.
        layers: Layer to (row, unit) array, for the layers that have units; 16-bit recordings are decoded where they are
            indexed.
        about: Its description (``run.json``).
        folder: Where it is stored; None in memory.
        tables: Events and rows where they are in memory.
    """

    space: UnitSpace
    layers: Mapping[int, Float[np.ndarray, "row unit"] | HalfArray]
    about: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return next(iter(self.layers.values())).shape[0]

    def layer(self, layer: int) -> Float[np.ndarray, "row unit"]:
        """Activations of one layer: lazily mapped and read-only, or decoded to float32 where the recording has 16 bits."""
        if layer not in self.layers:
            raise InputIndexError(
                f"layer {layer} was not recorded at {self.space.describe()}; layers: {', '.join(map(str, self.layers))}"
            )
        array = self.layers[layer]
        return array[:] if isinstance(array, HalfArray) else array

    def read(
        self,
        *,
        units: Network | Iterable[int] | Int[np.ndarray, " few"] | None = None,
        rows: slice | Sequence[int] | Int[np.ndarray, " some"] | None = None,
    ) -> Float[np.ndarray, "row unit"]:
        """Activations of some units and rows, as one array in memory; only those bytes are read.

        Args:
            units: A network, or ascending flat indices; None for all.
            rows: A slice or row numbers; None for all.

        Returns:
            (row, unit), units in ascending flat order.
        """
        if units is None:
            members = np.ones(self.space.n_units, dtype=bool)
        elif isinstance(units, Network):
            self.space.require_same(units.space, "read")
            members = units.members
        else:
            members = Network.from_indices(self.space, units).members
        chosen = slice(None) if rows is None else rows
        parts = []
        for layer, array in self.layers.items():
            wanted = np.flatnonzero(members[self.space.layer_slice(layer)])
            if wanted.size == array.shape[1]:
                parts.append(np.asarray(array[chosen]))
            elif wanted.size:  # one index for both, so that nothing else is read or decoded
                at = (chosen, wanted) if isinstance(chosen, slice) else np.ix_(np.asarray(chosen), wanted)
                parts.append(array[at])
        if not parts:
            return np.empty((len(np.arange(self.n_rows)[chosen]), 0), np.float32)
        return np.concatenate(parts, axis=1)

    @cached_property
    def events(self) -> pd.DataFrame:
        """One line a block: onset and duration in rows, trial_type."""
        return self._table("events", store.EVENTS)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One line a row: prompt, block, position, token_id, token, trial_type, surprisal (nats), flags."""
        table = self._table("rows", store.ROWS)
        return table.set_index("row") if "row" in table else table  # in memory the index is the row already

    def _table(self, name: str, file: str) -> pd.DataFrame:
        return self.tables[name] if self.folder is None else store.read_table(self.folder / file)

    def blocks(self) -> list[tuple[str, slice]]:
        """The events as (trial_type, rows)."""
        return blocks_of(self.events)

    @property
    def segment_starts(self) -> Bool[np.ndarray, " row"]:
        """True at the first row of every stretch of rows that share one context.

        Where prompts have fresh contexts, the row before a prompt's first is no neighbour in the model's time.
        """
        return segment_starts_of(self.rows)

    def __repr__(self) -> str:
        return f"Run of {self.n_rows:,} rows, {len(self.events)} blocks: {self.space.describe()}"


@dataclass(frozen=True, eq=False)
class Recording(Result, Sequence, step="recording"):
    """Runs of activations, of one site or of several recorded together.

    Args:
        spaces: The units of every site; all runs have them.
        runs_of: For every site its runs, in order.
        about: Its description (``recording.json``): key, key fields, prompts.
        path: Where it is stored; None in memory.
    """

    spaces: tuple[UnitSpace, ...]
    runs_of: tuple[tuple[Run, ...], ...]
    about: Mapping[str, Any]
    path: Path | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> Recording:
        """Open a recording on disk; reads descriptions only.

        Raises:
            FileNotFoundError: There is no recording at ``path``.
            InputError: A run is missing or damaged in size, or the format is newer than this version.
        """
        path = Path(path)
        about = store.read_about(path)
        present = store.committed_runs(path)
        expected = list(range(about["n_runs"]))
        if present != expected:
            raise InputError(
                f"{path} holds {len(present)} of {len(expected)} runs; call scanner.scan(design, folder) again to complete it"
            )
        listed = about["spaces"] if "spaces" in about else [about["space"]]
        weights = about["fields"]["weights"]
        spaces = tuple(UnitSpace(one["site"], tuple(one["widths"]), about["model"], weights) for one in listed)
        runs = []
        for number in expected:
            folder = store.run_folder(path, number)
            run_about, tensors = store.open_run(folder)
            if run_about["key"] != about["key"]:
                raise InputError(f"{folder} belongs to another recording than {path}; delete it and scan again")
            runs.append(tuple(Run(space, _layers(tensors, space, spaces), run_about, folder) for space in spaces))
        return cls(spaces, tuple(zip(*runs, strict=True)), about, path)

    @classmethod
    def from_arrays(
        cls,
        activations: Sequence[Sequence[np.ndarray]],
        *,
        events: Sequence[pd.DataFrame],
        rows: Sequence[pd.DataFrame] | None = None,
        path: str | os.PathLike | None = None,
        model: str = "external",
        site: str = "mlp.neurons",
    ) -> Recording:
        """Make a recording of activations you already have.

        Args:
            activations: A list (run) of lists (layer) of arrays (row, unit); stored as float32.
            events: One table a run: onset and duration in rows, trial_type.
            rows: One table a run with one line a row; ``prompt`` marks contexts and ``position`` the place in them.
            path: Write it to this folder; in memory if None.
            model: Label of the model.
            site: Name of the site.

        Raises:
            InputError: Shapes, tables or values that do not fit together; every message names run and layer.
        """
        arrays = [[np.asarray(layer) for layer in run] for run in activations]
        tables = check_arrays(arrays, events, rows)
        space = UnitSpace(site, tuple(layer.shape[1] for layer in arrays[0]), model)
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
            layers = {
                i: _read_only(np.ascontiguousarray(layer, np.float32)) for i, layer in enumerate(run) if layer.shape[1]
            }
            runs.append(Run(space, layers, {"key": about["key"]}, None, {"events": event_table, "rows": row_table}))
        recording = cls((space,), (tuple(runs),), about)
        return recording if path is None else _write(recording, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Recording:
        """As :meth:`open`."""
        return cls.open(path)

    def save(self, path: str | os.PathLike) -> None:
        """Write a recording of one site to a folder; what is there already and the same is left alone.

        Args:
            path: The folder.

        Raises:
            InputError: The folder holds another recording, or this one has several sites.
        """
        self._only()
        _write(self, Path(path))

    @property
    def sites(self) -> list[str]:
        """Names of the sites recorded."""
        return [space.site for space in self.spaces]

    @property
    def space(self) -> UnitSpace:
        """The units, of a recording of one site."""
        return self.spaces[self._only()]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, of a recording of one site."""
        return self.runs_of[self._only()]

    def _only(self) -> int:
        if len(self.spaces) != 1:
            raise InputError(
                f"this recording holds the sites {', '.join(self.sites)}; take one of them with recording.site(name)"
            )
        return 0

    def site(self, name: str) -> Recording:
        """The view of one site."""
        if name not in self.sites:
            raise InputError(f"site {name!r} was not recorded; sites: {', '.join(self.sites)}")
        at = self.sites.index(name)
        return Recording((self.spaces[at],), (self.runs_of[at],), self.about, self.path)

    def pool(self, how: Pool) -> Recording:
        """One row a prompt, in memory: the row of its last token, or the mean of its rows.

        Args:
            how: ``"last"`` or ``"mean"`` over the rows of each prompt (as far as its block showed it).

        Returns:
            The same sites and runs; events count prompts, and the row table has one line a prompt.
        """
        pooled = tuple(tuple(pooled_run(run, how) for run in runs) for runs in self.runs_of)
        key = hashlib.sha256(f"{self.key} {how}".encode()).hexdigest()
        return Recording(self.spaces, pooled, {**self.about, "key": key, "pool": how})

    @property
    def key(self) -> str:
        """The content key: equal keys mean equal data."""
        return str(self.about["key"])

    @property
    def conditions(self) -> list[str]:
        """Every trial_type, in the order of first appearance."""
        return list(dict.fromkeys(name for run in self.runs_of[0] for name in run.events["trial_type"]))

    @property
    def n_rows(self) -> int:
        """Number of rows, over all runs."""
        return sum(run.n_rows for run in self.runs_of[0])

    @property
    def provenance(self) -> Provenance:
        """What a network found in this recording has to remember of it."""
        known = {"prompts": list(self.about["prompts"])} if self.about.get("prompts") is not None else {}
        return {"recording": self.key, "weights": self.about["fields"].get("weights"), **known}

    def mean(self) -> Float[np.ndarray, " unit"]:
        """Mean activation of every unit over all rows (float64), one layer at a time."""
        total = np.zeros(self.space.n_units)
        for run in self.runs:
            for layer, array in run.layers.items():
                total[self.space.layer_slice(layer)] += np.asarray(array).sum(0, dtype=np.float64)
        return total / self.n_rows

    def verify(self) -> None:
        """Hash every file again; ValueError names the first that is not what was committed."""
        for run in self.runs_of[0]:
            if run.folder is not None:
                store.verify_run(run.folder)

    def to_dataframe(self) -> pd.DataFrame:
        """The row tables of all runs, one below the other, with the run in front."""
        tables = [run.rows.reset_index(names="row") for run in self.runs_of[0]]
        for number, table in enumerate(tables):
            table.insert(0, "run", number)
        return pd.concat(tables, ignore_index=True)

    def _setting_values_(self) -> dict[str, Any]:
        fields = self.about.get("fields") or {}
        named = ("site", "dtype", "pool", "generation", "interventions")
        return {**(self.about.get("design") or {}), **{name: fields[name] for name in named if name in fields}}

    def _methods_(self) -> list[str]:
        about = self.about.get("design") or {}
        fields = self.about.get("fields") or {}
        blocks = sum(len(run.events) for run in self.runs_of[0])
        size = about.get("tokens_per_block")
        order = about.get("order", NOT_RECORDED)
        row = "token" if fields.get("pool") is None else f"prompt ({fields['pool']} of its tokens)"
        kind = "generated " if fields.get("generation") else ""
        length = f"{size} tokens" if size else f"a number of tokens that is {NOT_RECORDED}"
        return [
            f"Activations of {' and '.join(map(space_in_words, self.spaces))} were recorded at every {kind}{row}: {self.n_rows:,} rows in {len(self)} runs, "
            f"{blocks} blocks of {length} of the conditions {listed(self.conditions)} "
            f"(order: {order}; design seed: {about.get('seed', NOT_RECORDED)})."
        ]

    def _report_sections_(self) -> list[dict[str, Any]]:
        lines = [
            (number, run.n_rows, len(run.events), ", ".join(dict.fromkeys(map(str, run.events["trial_type"]))))
            for number, run in enumerate(self.runs_of[0])
        ]
        table = pd.DataFrame(lines, columns=["run", "rows", "blocks", "conditions"])
        of_networks = "networks" in self.about
        spaces = ", ".join(space.describe() for space in self.spaces)
        text = f"{self.n_rows:,} rows in {len(self)} runs of {spaces}. Key {self.key[:16]}."
        sections = [{"title": "Time courses" if of_networks else "Recording", "text": text, "table": table}]
        if of_networks:
            text = "The first networks of the first run."
            sections.append({"title": "Networks over tokens", "text": text, "picture": "time_courses"})
        return sections

    def __getitem__(self, index: int) -> Run:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs_of[0])

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __repr__(self) -> str:
        where = f" at {self.path}" if self.path else " in memory"
        units = " and ".join(space.describe() for space in self.spaces)
        return f"Recording{where}: {len(self)} runs, {self.n_rows:,} rows, {units}; conditions {', '.join(self.conditions)}"

    def _repr_html_(self) -> str:
        rows = [
            (i, f"{run.n_rows:,}", len(run.events), ", ".join(dict.fromkeys(run.events["trial_type"])))
            for i, run in enumerate(self.runs_of[0])
        ]
        return html_table(repr(self), ("run", "rows", "blocks", "conditions"), rows)


def _write(recording: Recording, path: Path) -> Recording:
    if (path / store.ABOUT).exists():
        existing = store.read_about(path)
        if existing["key"] != recording.key:
            raise InputError(
                f"{path} already holds another recording (key {existing['key'][:12]}); give another folder or delete it"
            )
    store.write_about(path, recording.about)
    for number, run in enumerate(recording.runs):
        held = store.claim(path, number, wait=True)
        assert held is not None
        try:
            if number not in store.committed_runs(path):
                _write_run(path, number, run, held)
        finally:
            held.release()
    return Recording.open(path)


def _write_run(path: Path, number: int, run: Run, held: store.Claim) -> None:
    """Write one run that is held."""
    store.sweep(path, number, held)
    tensors = {store.tensor_name(layer): array for layer, array in run.layers.items()}
    laid_out = store.lay_out(path, number, run.n_rows, {name: array.shape[1] for name, array in tensors.items()})
    try:
        for name, array in tensors.items():
            laid_out.write(name, 0, array[:])
        store.commit(laid_out, store.run_folder(path, number), {"key": run.about["key"]}, run.events, run.rows)
    except BaseException:
        laid_out.discard()
        raise


def _layers(
    tensors: Mapping[str, store.Layer], space: UnitSpace, spaces: Sequence[UnitSpace]
) -> dict[int, np.ndarray | HalfArray]:
    """The tensors of one site, by layer."""
    site = space.site if len(spaces) > 1 else ""
    return {
        layer: tensors[store.tensor_name(layer, site)]
        for layer, width in enumerate(space.widths)
        if width and store.tensor_name(layer, site) in tensors
    }


def pooled_run(run: Run, how: Pool) -> Run:
    """A run with one row a prompt."""
    one_of(how, Pool, "pool")
    if "prompt" not in run.rows:
        raise InputError("pooling makes one row a prompt and needs the row table's column prompt; give rows= with it")
    starts = np.flatnonzero(run.segment_starts)
    layers = {layer: pool_rows(array, starts, run.n_rows, how) for layer, array in run.layers.items()}
    events, rows = pooled_tables(run.events, run.rows, starts, run.n_rows)
    return Run(run.space, layers, dict(run.about), None, {"events": events, "rows": rows})


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
