"""From claims to committed runs: lay out the files of a group of runs, read the model, commit them one by one.

Runs that are read together (:mod:`.run_groups`) have their files laid out at once and filled side by side, so that no
activations wait until a run is whole: memory is one batch and the backlog of the writing thread, however many runs a
group has. Runs of the group that are there already are read too, as their contexts share the batches, and not written.

A group that was read is hashed and committed on a thread of its own, run by run, while the next one is read.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.foreign_hooks import watching
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.descriptions import DIGESTS
from tl_fbn.acquisition.recording.half_precision import Dtype
from tl_fbn.acquisition.recording.pooling import Pool, pooled_tables
from tl_fbn.acquisition.scan.disk_space import disk_errors_named
from tl_fbn.acquisition.scan.forward_passes import Passes, Reading, Words
from tl_fbn.acquisition.scan.run_claims import claimed_groups, commit_and_release, commit_or_discard, release
from tl_fbn.acquisition.scan.run_writer import RunWriter
from tl_fbn.acquisition.scan.token_table import row_table
from tl_fbn.acquisition.scan.writer_thread import WriterThread


@dataclass(frozen=True, eq=False)
class RunRecorder:
    """Records runs of one design into a folder.

    Args:
        path: Folder of the recording.
        key: Content key of the recording, which every run names.
        design: The block design that is shown.
        runs: For every run its contexts.
        passes: How the model is read.
        state: The model as it was when the key was made.
        dtype: Type of the activations on disk.
        pool: ``"last"`` or ``"mean"`` for one row a prompt; None for one row a token.
        hooks_allowed: True where the user has named what hooks of the user's own do; they may then change activations.
    """

    path: Path
    key: str
    design: BlockDesign
    runs: Sequence[Sequence[Context]]
    passes: Passes
    state: ModelState
    dtype: Dtype
    pool: Pool | None
    hooks_allowed: bool

    @cached_property
    def _n_prompts_of_digests(self) -> Counter[str]:
        """How many prompts of the design have each digest; the system message of all chats is in each of them."""
        prompts = {context.digests for contexts in self.runs for context in contexts}
        return Counter(digest for digests in prompts for digest in set(digests))

    def record(self, groups: Sequence[range], missing: Sequence[Sequence[int]], bar: tqdm) -> None:
        """Record what is missing; runs are hashed and committed while the next ones are recorded.

        Args:
            groups: Numbers of the runs that are read together, of all runs of the design.
            missing: Numbers of the runs that are missing, group by group, in the order in which groups are recorded.
            bar: Progress bar that counts rows.

        Raises:
            InputError: A hook changed activations, activations are not finite, or the model changed meanwhile.
            OSError: The disk is full; the message names the runs and says how to go on.
        """
        group_of = {number: group for group in groups for number in group}
        committing: list[Future[Any]] = []
        with ThreadPoolExecutor(1, "tl_fbn commit") as executor:
            for claims in claimed_groups(self.path, missing):
                commits: dict[int, partial[None]] = {}
                try:
                    with (
                        watching(self.passes.model, allowed=self.hooks_allowed) as watch,
                        disk_errors_named(self.path, *claims),
                    ):
                        self.passes.after_batch = watch.check
                        commits = self._record_group(group_of[min(claims)], claims, bar)
                    # wait for the runs before these: what went wrong with them is raised here
                    for future in committing:
                        future.result()
                except BaseException:
                    for commit in commits.values():
                        commit.args[0].discard()
                    release(claims)
                    raise
                # the other thread now holds the claims, and lets go of each
                committing = [
                    executor.submit(commit_and_release, commit, claims[number], self.path, number)
                    for number, commit in commits.items()
                ]
            for future in committing:
                future.result()

    def _record_group(
        self, group: Sequence[int], claims: dict[int, store.Claim], bar: tqdm
    ) -> dict[int, partial[None]]:
        """Fill the files of the runs of a group that are claimed; returns the functions that commit them."""
        started = time.monotonic()
        laid_out: dict[int, store.LaidOutRun] = {}
        try:
            for number, claim in claims.items():
                store.sweep(self.path, number, claim)  # what a scan that was killed left of this run
                laid_out[number] = self._laid_out(number)
            several = len({tap.site for tap in self.passes.taps}) > 1
            # leaving the block waits until everything is in the files
            with WriterThread() as worker:
                writers = {
                    number: RunWriter(file, worker, number, self.pool, several) for number, file in laid_out.items()
                }
                # all runs of the group, whichever are missing: a row's last bits depend on the batch that it shares
                readings = {
                    number: Reading(number, contexts, Words.of(contexts, carry=self.passes.carry), writers.get(number))
                    for number in group
                    for contexts in [self.runs[number]]
                }
                self.passes.read(list(readings.values()), bar)
            seconds = time.monotonic() - started
            # the key was made before: what was read is kept only if the model is still the one that it speaks of
            self.state.require_unchanged(seconds)
            n_rows = {number: sum(context.n_rows for context in self.runs[number]) for number in group}
            # of the time of the group, each run's part by its rows
            return {
                number: self._commit(
                    readings[number], file, writers[number], seconds * n_rows[number] / sum(n_rows.values())
                )
                for number, file in laid_out.items()
            }
        except BaseException:
            for file in laid_out.values():
                file.discard()
            raise

    def _laid_out(self, number: int) -> store.LaidOutRun:
        """The file of a run at full size, yet to be filled."""
        contexts = self.runs[number]
        taps = self.passes.taps
        several = len({tap.site for tap in taps}) > 1
        widths = {store.tensor_name(tap.layer, tap.site if several else ""): tap.width for tap in taps}
        n_rows = sum(context.n_rows for context in contexts) if self.pool is None else len(contexts)
        return store.lay_out(self.path, number, n_rows, widths, self.dtype)

    def _commit(self, reading: Reading, laid_out: store.LaidOutRun, writer: RunWriter, seconds: float) -> partial[None]:
        """The function that commits a run whose file is filled."""
        number, contexts, words = reading.run, reading.contexts, reading.words
        first_prompt = sum(map(len, self.runs[:number]))  # prompts are numbered through the whole recording
        events = self.design.events(number)
        tokenizer = getattr(self.passes.model, "tokenizer", None)
        rows = row_table(contexts, words, tokenizer, first_prompt, self.passes.entropy)
        if self.pool is not None:
            starts = np.array([context.first_row for context in contexts])
            events, rows = pooled_tables(events, rows, starts, len(rows))
        about: dict[str, Any] = {"key": self.key, "run": number, "batch_size": self.passes.batch_size}
        about |= writer.variance() | {"seconds": round(seconds, 3), DIGESTS: self._digests_of_prompts(contexts)}
        if self.design.generate:
            about["prompts"] = [list(context.ids) for context in contexts]  # what was shown is not among the rows
        return partial(commit_or_discard, laid_out, store.run_folder(self.path, number), about, events, rows)

    def _digests_of_prompts(self, contexts: Sequence[Context]) -> dict[str, list[str]]:
        """Digests by which the prompts of a run are known, whatever its rows are."""
        # the last is of the token ids, those before of texts
        ids = {context.digests[-1] for context in contexts}
        texts = {one for context in contexts for one in context.digests[:-1] if self._n_prompts_of_digests[one] == 1}
        return {"ids": sorted(ids), "texts": sorted(texts)}
