"""The scanner: run a model through a design and write what every unit did at every row.

``plan`` counts what a scan would write, and runs nothing. ``scan`` records run by run into a folder; a second ``scan``
of the same content returns at once: the model reads 16 tokens, to say what it computes, and no prompt. ``stream`` feeds
an analysis during the forward passes and stores nothing. Whether two scans are of the same content is decided by a key
of weights, prompts, settings and what a short pass says (:mod:`tl_fbn.acquisition.scan.content_key`); a folder that
holds a recording of another key is refused. Before a run is committed the model is compared with what the key says of
it once more.

Rows are the tokens of prompts or, with ``generate=True`` in the design, the tokens that the model writes. Prompts of
two runs share a batch only where the model writes, and then in groups of consecutive runs that the design decides
(:mod:`tl_fbn.acquisition.scan.run_groups`). A scan that was killed therefore resumes at the first run that is missing
and ends with the same bytes, and several processes on one folder divide the runs among them
(:mod:`tl_fbn.acquisition.scan.run_claims`).

A hook that is not of this package, on a hook point or on any module, may change what is recorded, and a key cannot
know how. Such hooks are watched while the model runs (:mod:`tl_fbn.acquisition.model.foreign_hooks`): if one changes an
activation, nothing is committed unless ``hooks_id=`` names the change.

Memory: one batch of activations, what waits to be written, and the logits of a piece of the batch. Time: the model's
forward pass and one copy of the activations of the site.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tqdm.auto import tqdm

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context, present
from tl_fbn.acquisition.model.foreign_hooks import require_reading_hooks
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.model.sampling import Chooser, DecodingMode, decoding_mode
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.recording import store
from tl_fbn.acquisition.recording.half_precision import ITEM_SIZE, Dtype
from tl_fbn.acquisition.recording.pooling import Pool
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.scan import content_key as keys
from tl_fbn.acquisition.scan.disk_space import free_bytes, require_room
from tl_fbn.acquisition.scan.forward_passes import Passes
from tl_fbn.acquisition.scan.plan import Plan
from tl_fbn.acquisition.scan.run_recorder import RunRecorder
from tl_fbn.acquisition.scan.streaming import Stream
from tl_fbn.errors import InputError, one_of, visible
from tl_fbn.signatures import checked
from tl_fbn.units import UnitSpace


class Scanner:
    """Records the activations of a model at one site, or at several in one pass.

    >>> scanner = fbn.Scanner(model, site="attn.heads")
    >>> scanner
    Scanner of tl_fbn-demo attn.heads (3 x 4); .scan(design, folder) records
    >>> heads = scanner.scan(design, "recordings/heads", progress=False)
    >>> heads  # doctest: +ELLIPSIS
    Recording at recordings/heads: 2 runs, 1,536 rows, tl_fbn-demo attn.heads (3 x 4) in float32; conditions sort, ...
    >>> heads[0].layer(2).shape  # (row, unit) of run 0, layer 2
    (768, 4)

    Args:
        model: A TransformerLens model in evaluation mode.
        site: Name of the site where signals are read, one of the words in :mod:`tl_fbn.acquisition.model.sites` or the
            name of a hook; a list of names records several sites in one pass.
        layers: Numbers of the layers to record, from 0; None records all.
        dtype: Type of the activations on disk: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` for half the bytes and
            rounded values. With ``"float16"``, an activation beyond 65,504, the largest such number, is an error.
        pool: ``"token"`` records one row a token, ``"last"`` one row a prompt, that of its last token, and ``"mean"``
            one row a prompt, the mean over its tokens.
        batch_size: Number of prompts in a forward pass; it changes speed and memory, but values by rounding only. Where
            the model writes, prompts of several runs fill a batch together.
        surprisal: True records the surprisal of each token, minus the logarithm of the probability that the model gave
            it, in nats. False saves the time of the unembedding, unless the entropy is asked for.
        entropy: True records the entropy of the model's prediction of each token, in nats.
        prepend_bos: Whether a beginning-of-text token is put before strings; None does as the host does.
        chat_template_kwargs: Variables of the tokenizer's chat template by name; None gives none.

    Raises:
        InputTypeError: The model cannot be hooked; the message says what it lacks.
        InputError: The model has no such site or layer, or an option is none of those offered.
    """

    @checked
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
        prepend_bos: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} runs nothing; give at least 1")
        one_of(dtype, get_args(Dtype), "dtype")
        one_of(pool, ("token", *get_args(Pool)), "pool")
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
        host.prepends_bos(model, prepend_bos)  # what cannot be done is an error here already
        self.prepend_bos, self.chat_template_kwargs = prepend_bos, chat_template_kwargs
        # found by trying, when first needed, with the settings of the model that it was found for
        self._decoding_mode: tuple[Mapping[str, str], DecodingMode] | None = None

    def __repr__(self) -> str:
        return f"Scanner of {', '.join(space.describe() for space in self.spaces)}; .scan(design, folder) records"

    @property
    def spaces(self) -> tuple[UnitSpace, ...]:
        """The units of every site that is recorded, one space a site."""
        return tuple(site.space for site in self._sites)

    @property
    def space(self) -> UnitSpace:
        """The units that are recorded, of a scanner of one site.

        Raises:
            InputError: The scanner records several sites; :attr:`spaces` has the units of each.
        """
        if len(self._sites) > 1:
            raise InputError(
                f"this scanner records {', '.join(s.site for s in self.spaces)}; .spaces holds the units of each"
            )
        return self.spaces[0]

    @checked
    def plan(self, design: BlockDesign, path: str | os.PathLike | None = None) -> Plan:
        """Count the rows, units and bytes of a scan; the model does not run.

        >>> fbn.Scanner(model, pool="last").plan(design)
        Plan: 113 rows x 1,152 units of tl_fbn-demo mlp.neurons (3 x 384) in 2 runs (113 prompts); 0.5 MB in float32

        Args:
            design: The block design that would be shown.
            path: Folder that would be written to, which need not exist, to count the bytes that are free there; None
                leaves them out.

        Returns:
            The counts, and the units of every site.

        Raises:
            InputError: The design cannot be presented to this model (too few prompts, a prompt too long).
        """
        runs = self._contexts_of_runs(design)
        free = None if path is None else free_bytes(Path(path))
        n_rows = sum(map(self._n_rows_stored, runs))
        return Plan(self.spaces, len(runs), n_rows, sum(map(len, runs)), self._n_bytes(runs), free, self.dtype)

    @checked
    @serves_one_thread("a scan")
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
            design: The block design to show: which prompts, when.
            path: Folder of the recording; it is made if needed.
            hooks_id: Your name for what your own hooks on the model do to activations; it is part of the key. None
                where they only read; a hook that changes activations is then an error.
            progress: True shows rows per second and the time left.
            share: (rank, n) where n processes scan into one folder, with ranks 0 to n - 1: each begins with the runs
                rank, rank + n, rank + 2 n ... (where the model writes: groups of runs), and then helps with what is
                left. (0, 1) is one process alone.

        Returns:
            The recording, opened from disk.

        Raises:
            InputError: The folder holds a different recording (the message names the fields that differ), the model is
                in training mode with dropout, an activation is not finite, or a hook of yours changes activations and
                ``hooks_id`` is not given.
            OSError: The disk has no room. Runs already committed are kept, and the next scan goes on from there.
        """
        host.require_eval(self.model, "scan")
        path = Path(path)
        runs = self._contexts_of_runs(design)
        state = self._model_state()
        fields = self._key_fields(state, design, runs, hooks_id)
        key = keys.digest(fields)
        if (path / store.ABOUT).exists():
            key = keys.refuse_other(path, store.read_about(path), fields, state.fingerprint)
            keys.add_norms(path, self.model, self.spaces)
        # before a finished recording is returned too: it is not what a model with changed activations would give
        if hooks_id is None:
            require_reading_hooks(self.model, runs[0][0].ids)
        committed = set(store.committed_runs(path))
        missing = [number for number in range(len(runs)) if number not in committed]
        # leftovers first: what killed scans hold is room that is free; what others have laid out is needed no more
        laid_out = store.sweep_leftovers(path)
        require_room(path, self._n_bytes([runs[number] for number in missing]) - laid_out)
        if (path / store.ABOUT).exists() or not store.write_about(
            path, keys.description(state, design, runs, fields, self.spaces), new=True
        ):
            # another process may have made the folder meanwhile, for this recording or for another
            key = keys.refuse_other(path, store.read_about(path), fields, state.fingerprint)
        if not missing:
            return Recording.open(path)
        # rows that the model reads: more than are stored where prompts are pooled
        n_rows = sum(context.n_rows for number in missing for context in runs[number])
        passes = self._forward_passes(design, state)
        groups = passes.groups(runs)
        recorder = RunRecorder(path, key, design, runs, passes, state, self.dtype, self.pool, hooks_id is not None)
        with tqdm(total=n_rows, desc=visible(f"scan {path.name}"), unit="row", disable=not progress) as bar:
            recorder.record(groups, _share_of(groups, missing, share), bar)
        store.sweep_locks(path)
        return Recording.open(path)

    @checked
    def stream(self, design: BlockDesign, *, hooks_id: str | None = None, progress: bool = True) -> Stream:
        """Feed an analysis while the model runs, and store nothing.

        The forward passes happen when the analysis asks for its sums, once for each analysis. Its numbers are those of
        ``scan`` followed by the same analysis, up to rounding.

        >>> fit = fbn.fit_glm(fbn.Scanner(model).stream(design, progress=False))
        >>> fit.contrast("sort - reverse").threshold(top=0.02)
        Network "sort - reverse": 23 of 1,152 units (2.00%) of tl_fbn-demo mlp.neurons (3 x 384), per layer 18 5 0

        Args:
            design: The block design to show: which prompts, when.
            hooks_id: Your name for what your own hooks on the model do to activations; it is part of the key. None
                where they only read; a hook that changes activations is then an error when the model runs.
            progress: True shows rows per second and the time left.

        Returns:
            The design about to be read; an analysis takes it in place of a recording.

        Raises:
            InputError: The design cannot be presented, the model is in training mode with dropout, or the scanner has
                several sites or pools rows.
        """
        host.require_eval(self.model, "stream")
        if len(self._sites) > 1 or self.pool is not None:
            raise InputError('a stream has one site and one row a token; make a Scanner with one site and pool="token"')
        runs = self._contexts_of_runs(design)
        state = self._model_state()
        fields = self._key_fields(state, design, runs, hooks_id)
        about = keys.description(state, design, runs, fields, self.spaces)
        passes = self._forward_passes(design, state, scored=False)  # sums need no surprisal
        tokenizer = getattr(self.model, "tokenizer", None)
        return Stream(self.space, passes, runs, design, about, tokenizer, hooks_id is not None, progress, state)

    def _model_state(self) -> ModelState:
        """The model as it is now, looked at where this scanner records."""
        return ModelState.of(self.model, [tap for site in self._sites for tap in site.taps])

    def _contexts_of_runs(self, design: BlockDesign) -> list[list[Context]]:
        limits = {"n_ctx": host.context_length(self.model), "d_vocab": host.vocabulary_size(self.model)}
        bos = host.prepends_bos(self.model, self.prepend_bos)
        variables = self.chat_template_kwargs
        return present(design, host.tokenizer_of(self.model), **limits, prepend_bos=bos, chat_template_kwargs=variables)

    def _forward_passes(self, design: BlockDesign, state: ModelState, *, scored: bool = True) -> Passes:
        taps = [tap for site in self._sites for tap in site.taps]
        passes = Passes(
            self.model, taps, self.batch_size, surprisal=scored and self.surprisal, entropy=scored and self.entropy
        )
        if design.generate:
            settings = state.fingerprint.settings
            if self._decoding_mode is None or self._decoding_mode[0] != settings:
                self._decoding_mode = settings, decoding_mode(self.model)
            passes.chooser = Chooser(self.model, design.temperature, design.seed)
            passes.mode = self._decoding_mode[1]
            passes.carry = design.carry_context
        return passes

    def _n_rows_stored(self, contexts: Sequence[Context]) -> int:
        """Number of rows of a run on disk: of its tokens, or of its prompts where they are pooled."""
        return sum(context.n_rows for context in contexts) if self.pool is None else len(contexts)

    def _n_bytes(self, runs: Sequence[Sequence[Context]]) -> int:
        n_units = sum(space.n_units for space in self.spaces)
        return ITEM_SIZE[self.dtype] * n_units * sum(map(self._n_rows_stored, runs))

    def _key_fields(
        self, state: ModelState, design: BlockDesign, runs: list[list[Context]], hooks_id: str | None
    ) -> dict[str, Any]:
        has_one_site = len(self._sites) == 1  # then its name and widths, without a list around them
        recorded = {
            "site": self.space.site if has_one_site else [space.site for space in self.spaces],
            "widths": list(self.space.widths) if has_one_site else [list(space.widths) for space in self.spaces],
            "dtype": self.dtype,
            "pool": self.pool,
            "surprisal": self.surprisal,
            "entropy": self.entropy,
            "hooks_id": hooks_id,
        }
        return keys.content_fields(state, design, runs, recorded)


def _share_of(groups: Sequence[range], missing: Sequence[int], share: tuple[int, int]) -> list[list[int]]:
    """The missing runs of every group that has some; this process's own share of the groups comes first."""
    rank, n_processes = share
    left = {i: sorted({*group}.intersection(missing)) for i, group in enumerate(groups)}
    # first the groups rank, rank + n_processes ..., then those of the next rank: processes seldom meet at one group
    order = sorted((i for i in left if left[i]), key=lambda i: ((i - rank) % n_processes, i))
    return [left[i] for i in order]
