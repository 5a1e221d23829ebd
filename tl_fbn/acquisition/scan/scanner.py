"""The scanner: run a model through a design and write what every unit did at every row.

``plan`` counts before anything runs, ``scan`` records run by run into the store, and a second ``scan`` of the same
content returns at once without a forward pass; ``stream`` feeds an analysis during the forward passes and stores nothing.
What decides "the same" is a key of contents (:mod:`.keys`); a folder that holds something else is refused.

Rows are the tokens of prompts or, with ``generate=True``, the tokens the model writes. Batches never span runs, so a scan that
was killed resumes at the first run that is missing and ends with the same bytes; several processes on one folder divide
the runs among them.

A hook that is not ours may change what is recorded, and a key cannot know what it does. It is watched while the model
runs: if it writes, nothing is committed unless ``hooks_id=`` names the change.

Memory: one batch of activations and what waits to be written. Time: the model's forward pass plus one copy of the site.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context, present
from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sampling import Chooser, DecodingMode, decoding_mode
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.half_precision import ITEM_SIZE, Dtype
from tl_fbn.acquisition.recording.pooling import Pool, pooled_tables
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.acquisition.scan.forward_passes import Passes, Words
from tl_fbn.acquisition.scan.plan import Plan
from tl_fbn.acquisition.scan.run_writer import RunWriter
from tl_fbn.acquisition.scan.streaming import Stream
from tl_fbn.acquisition.scan.token_table import row_table
from tl_fbn.acquisition.scan.writer_thread import WriterThread
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitSpace

_KEPT = "runs that were committed are kept: make room and call scan again to go on from there"


class Scanner:
    """Records one site of one model, or several at once.

    Args:
        model: A TransformerLens model in eval mode.
        site: What to record (see :mod:`tl_fbn.acquisition.model.sites`); several names for several sites in one pass.
        layers: Some layers only.
        dtype: How activations are stored: ``"float32"``, ``"bfloat16"`` or ``"float16"``; beyond float16's range is an error.
        pool: ``"token"`` for one row a token, ``"last"`` or ``"mean"`` for one row a prompt.
        batch_size: Prompts in a forward pass; changes speed, not values.
        surprisal: Record each token's surprisal, in nats; costs the unembedding.
        entropy: Record the entropy of the distribution each token was drawn from, in nats.

    Raises:
        InputTypeError: The model cannot be hooked.
        InputError: The model has no such site or layer, or an option is none of those offered.
    """

    def __init__(
        self,
        model: HookedModel,
        *,
        site: str | Sequence[str] = "mlp.neurons",
        layers: Sequence[int] | None = None,
        dtype: Dtype = "float32",
        pool: str = "token",
        batch_size: int = 8,
        surprisal: bool = True,
        entropy: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} runs nothing; give at least 1")
        for name, value, allowed in (("dtype", dtype, get_args(Dtype)), ("pool", pool, ("token", *get_args(Pool)))):
            one_of(value, allowed, name)
        sites = [site] if isinstance(site, str) else list(site)
        if not sites or len(set(sites)) < len(sites):
            raise InputError(f"site={site!r} names no site, or one twice; give each site once")
        self.model = model
        self.batch_size = batch_size
        self.surprisal = surprisal
        self.entropy = entropy
        self.dtype: Dtype = dtype
        self.pool: Pool | None = None if pool == "token" else pool  # pyright: ignore[reportAttributeAccessIssue]
        self._sites = [resolve_site(model, one, layers=layers) for one in sites]
        self._readers: list[Any] = []  # hooks of the user's that were seen to change nothing
        self._mode: DecodingMode | None = None

    def __repr__(self) -> str:
        return f"Scanner of {', '.join(space.describe() for space in self.spaces)}; .scan(design, folder) records"

    @property
    def spaces(self) -> tuple[UnitSpace, ...]:
        """The units of every site this scanner records."""
        return tuple(site.space for site in self._sites)

    @property
    def space(self) -> UnitSpace:
        """The units, of a scanner of one site."""
        if len(self._sites) > 1:
            raise InputError(
                f"this scanner records {', '.join(s.site for s in self.spaces)}; .spaces holds the units of each"
            )
        return self.spaces[0]

    def plan(self, design: BlockDesign, path: str | os.PathLike | None = None) -> Plan:
        """Count rows, units and bytes; nothing runs.

        Raises:
            InputError: The design cannot be presented to this model (too few prompts, a prompt too long).
        """
        runs = self._present(design)
        free = None if path is None else shutil.disk_usage(_existing(Path(path))).free
        n_rows = sum(map(self._n_stored, runs))
        return Plan(self.spaces, len(runs), n_rows, sum(map(len, runs)), self._n_bytes(runs), free, self.dtype)

    def scan(
        self,
        design: BlockDesign,
        path: str | os.PathLike,
        *,
        hooks_id: str | None = None,
        progress: bool = True,
        share: tuple[int, int] = (0, 1),
    ) -> Recording:
        """Record a design, or return the recording if it is already there.

        Args:
            design: Which prompts when.
            path: Folder of the recording; made if needed.
            hooks_id: Names what your own hooks on the model do to it, if they change activations; part of the key.
            progress: Show rows per second and time left.
            share: (rank, number of processes) where several scan into one folder: each begins with its own runs, and helps with
                what is left.

        Returns:
            The recording, opened from disk.

        Raises:
            InputError: The folder holds a different recording (the fields are named), the model drops out, an activation
                is not finite, or a hook of yours changes activations and ``hooks_id`` is not given.
            OSError: The disk has no room. Runs already committed are kept, and the next scan goes on from there.
        """
        host.require_eval(self.model, "scan")
        path = Path(path)
        runs = self._present(design)
        fields = self._key_fields(design, runs, hooks_id)
        if (path / store.ABOUT).exists():
            keys.refuse_other(path, store.read_about(path), fields)
        if hooks_id is None:
            self._probe_foreign_hooks(runs[0][0])
        missing = self._missing(path, runs, share)
        if not missing:
            return Recording.open(path)
        _require_room(path, self._n_bytes([runs[number] for number in missing]))
        if not (path / store.ABOUT).exists():
            store.write_about(path, self._about(design, fields, runs))
        rows = sum(context.n_rows for number in missing for context in runs[number])
        passes = self._passes(design)
        with tqdm(total=rows, desc=f"scan {path.name}", unit="row", disable=not progress) as bar:
            self._scan_runs(path, missing, runs, design, passes, keys.digest(fields), hooks_id, bar)
        store.sweep_locks(path)
        return Recording.open(path)

    def stream(self, design: BlockDesign, *, hooks_id: str | None = None, progress: bool = True) -> Stream:
        """Feed an analysis while the model runs and store nothing: ``fit_glm(scanner.stream(design))``.

        The forward passes happen when the analysis asks for its sums, once for each analysis; the numbers are those of
        ``scan`` followed by the same analysis.

        Args:
            design: Which prompts when.
            hooks_id: As in :meth:`scan`.
            progress: Show rows per second and time left.

        Raises:
            InputError: The design cannot be presented, the model drops out, or the scanner has several sites or pools.
        """
        host.require_eval(self.model, "stream")
        if len(self._sites) > 1 or self.pool is not None:
            raise InputError('a stream has one site and one row a token; make a Scanner with one site and pool="token"')
        runs = self._present(design)
        about = self._about(design, self._key_fields(design, runs, hooks_id), runs)
        passes = self._passes(design, scored=False)
        tokenizer = getattr(self.model, "tokenizer", None)
        return Stream(self.space, passes, runs, design, about, tokenizer, hooks_id is not None, progress)

    def _present(self, design: BlockDesign) -> list[list[Context]]:
        tokenizer = getattr(self.model, "tokenizer", None)
        return present(
            design, tokenizer, n_ctx=host.context_length(self.model), d_vocab=host.vocabulary_size(self.model)
        )

    def _passes(self, design: BlockDesign, *, scored: bool = True) -> Passes:
        taps = [tap for site in self._sites for tap in site.taps]
        passes = Passes(
            self.model, taps, self.batch_size, surprisal=scored and self.surprisal, entropy=scored and self.entropy
        )
        if design.generate:
            self._mode = self._mode or decoding_mode(self.model)
            passes.chooser = Chooser(self.model, design.temperature, design.seed)
            passes.mode = self._mode
            passes.carry = design.carry_context
        return passes

    def _n_stored(self, contexts: Sequence[Context]) -> int:
        """Rows of a run as it is stored."""
        return sum(context.n_rows for context in contexts) if self.pool is None else len(contexts)

    def _n_bytes(self, runs: Sequence[Sequence[Context]]) -> int:
        n_units = sum(space.n_units for space in self.spaces)
        return ITEM_SIZE[self.dtype] * n_units * sum(map(self._n_stored, runs))

    def _key_fields(self, design: BlockDesign, runs: list[list[Context]], hooks_id: str | None) -> dict[str, Any]:
        one = len(self._sites) == 1
        what = {
            "site": self.space.site if one else [space.site for space in self.spaces],
            "widths": list(self.space.widths) if one else [list(space.widths) for space in self.spaces],
            "dtype": self.dtype,
            "pool": self.pool,
            "surprisal": self.surprisal,
            "entropy": self.entropy,
            "hooks_id": hooks_id,
        }
        return keys.content_fields(self.model, design, runs, what)

    def _about(self, design: BlockDesign, fields: Mapping[str, Any], runs: list[list[Context]]) -> dict[str, Any]:
        versions = {name: metadata.version(name) for name in ("torch", "transformer-lens", "numpy")}
        return {
            "key": keys.digest(fields),
            "fields": fields,
            "spaces": [{"site": space.site, "widths": list(space.widths)} for space in self.spaces],
            "model": self.spaces[0].model,
            "n_runs": len(runs),
            "prompts": sorted({digest for run in runs for context in run for digest in context.digests}),
            "design": {
                "order": design.order,
                "seed": design.seed,
                "tokens_per_block": design.tokens_per_block,
                "unit": "row = one token" if self.pool is None else f"row = one prompt ({self.pool})",
            },
            "versions": versions,
        }

    def _missing(self, path: Path, runs: Sequence[Any], share: tuple[int, int]) -> list[int]:
        """Runs not yet there, this process's own share first."""
        rank, processes = share
        present_runs = store.committed_runs(path)
        missing = [number for number in range(len(runs)) if number not in present_runs]
        return sorted(missing, key=lambda number: ((number - rank) % processes, number))

    def _scan_runs(
        self,
        path: Path,
        missing: Sequence[int],
        runs: list[list[Context]],
        design: BlockDesign,
        passes: Passes,
        key: str,
        hooks_id: str | None,
        bar: tqdm,
    ) -> None:
        """Record what is missing; a run is hashed and committed while the next is recorded."""
        committing: Future[Any] | None = None
        with ThreadPoolExecutor(1, "tl_fbn commit") as executor:
            for number, claim in _claims(path, missing):
                try:
                    with watching(self.model, allowed=hooks_id is not None), _room(path, number):
                        commit = self._record(path, claim, number, runs, design, passes, key, bar)
                    if committing is not None:
                        committing.result()
                except BaseException:
                    claim.release()
                    raise
                committing = executor.submit(_commit_and_release, commit, claim, path, number)
            if committing is not None:
                committing.result()

    def _record(
        self,
        path: Path,
        claim: store.Claim,
        number: int,
        runs: list[list[Context]],
        design: BlockDesign,
        passes: Passes,
        key: str,
        bar: tqdm,
    ) -> Callable[[], Any]:
        """Fill the file of a run; returns what commits it."""
        contexts = runs[number]
        started = time.monotonic()
        store.sweep(path, number, claim)
        several = len(self._sites) > 1
        widths = {store.tensor_name(tap.layer, tap.site if several else ""): tap.width for tap in passes.taps}
        laid_out = store.lay_out(path, number, self._n_stored(contexts), widths, self.dtype)
        try:
            words = Words.of(contexts, carry=passes.carry)
            with WriterThread() as worker:
                passes.read(contexts, number, RunWriter(laid_out, worker, number, self.pool, several), words, bar)
            first_prompt = sum(map(len, runs[:number]))
            tokenizer = getattr(self.model, "tokenizer", None)
            events = design.events(number)
            rows = row_table(contexts, words, tokenizer, first_prompt, self.entropy)
            if self.pool is not None:
                starts = np.array([context.first_row for context in contexts])
                events, rows = pooled_tables(events, rows, starts, len(rows))
        except BaseException:
            laid_out.discard()
            raise
        about = {
            "key": key,
            "run": number,
            "batch_size": self.batch_size,
            "seconds": round(time.monotonic() - started, 3),
        }
        if design.generate:
            about["prompts"] = [list(context.ids) for context in contexts]  # what was shown is not among the rows
        return partial(_commit, laid_out, store.run_folder(path, number), about, events, rows)

    def _probe_foreign_hooks(self, context: Context) -> None:
        """One forward pass under watch, before anything is written or returned: hooks of the user's may read, not change."""
        foreign = [function for _, function in host.foreign_hooks(self.model)]
        if all(any(function is known for known in self._readers) for function in foreign):
            return
        ids = torch.tensor([context.ids], device=host.model_device(self.model))
        with torch.no_grad(), watching(self.model, allowed=False):
            self.model(ids)
        self._readers = foreign


def _commit(laid_out: store.LaidOutRun, final: Path, about: Mapping[str, Any], events: Any, rows: Any) -> None:
    try:
        store.commit(laid_out, final, about, events, rows)
    except BaseException:
        laid_out.discard()
        raise


def _commit_and_release(commit: Callable[[], Any], claim: store.Claim, path: Path, number: int) -> None:
    try:
        with _room(path, number):
            commit()
    finally:
        claim.release()


@contextmanager
def _room(path: Path, number: int) -> Iterator[None]:
    """Say which run found no room, and what is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise OSError(error.errno, f"{path} ran out of room while run {number} was written; {_KEPT}") from error


def _claims(path: Path, missing: Sequence[int]) -> Iterator[tuple[int, store.Claim]]:
    """The runs that are this process's to record: first those nobody works on, then those whose owner died."""
    elsewhere = []
    for wait, numbers in ((False, missing), (True, elsewhere)):
        for number in numbers:
            claim = store.claim(path, number, wait=wait)
            if claim is None:
                elsewhere.append(number)
            elif number in store.committed_runs(path):
                claim.release()
            else:
                yield number, claim


def _existing(path: Path) -> Path:
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def _require_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(_existing(path)).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the scan needs {needed / 1e9:,.2f} GB at {path}, {free / 1e9:,.2f} GB are free; make room or give another folder",
        )
