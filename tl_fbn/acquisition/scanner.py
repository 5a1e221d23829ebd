"""The scanner: run a model through a design and write what every unit did at every row.

``plan`` counts before anything runs, ``scan`` records run by run into the store, and a second ``scan`` of the same
content returns at once without a forward pass. What decides "the same" is a key of contents: weights (hashed anew at every
call), token ids, blocks, site, dtype and our own interventions in force; never a path, a time or a batch size. A folder
that holds something else is refused, and the fields that differ are named.

Batches hold prompts of similar length, padded on the right under an attention mask; pads are never written. Batches never
span runs, so a scan that was killed resumes at the first run that is missing and ends with the same bytes.

A hook that is not ours may change what is recorded, and a key cannot know what it does. It is watched while the model
runs: if it writes, nothing is committed unless ``hooks_id=`` names the change.

Memory: one batch of activations. Time: the model's forward pass plus one copy of the site.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from tl_fbn.acquisition import host, store
from tl_fbn.acquisition.design import BlockDesign
from tl_fbn.acquisition.presentation import Context, present
from tl_fbn.acquisition.recording import Recording
from tl_fbn.acquisition.sites import resolve_site
from tl_fbn.units import UnitSpace, html_table


@dataclass(frozen=True)
class Plan:
    """What a scan will do, counted before it does it.

    Args:
        space: Units to record.
        n_runs: Runs.
        n_rows: Rows of all runs.
        n_contexts: Prompts presented.
        n_bytes: Bytes on disk.
        free_bytes: Bytes free where it would be written; None if no folder was given.
    """

    space: UnitSpace
    n_runs: int
    n_rows: int
    n_contexts: int
    n_bytes: int
    free_bytes: int | None

    def __repr__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 1e9:,.1f} GB free"
        return (
            f"Plan: {self.n_rows:,} rows x {self.space.n_units:,} units of {self.space.describe()} in {self.n_runs} runs "
            f"({self.n_contexts:,} prompts); {self.n_bytes / 1e6:,.1f} MB{free}"
        )

    def _repr_html_(self) -> str:
        free = "" if self.free_bytes is None else f"{self.free_bytes:,}"
        rows = [
            ("runs", self.n_runs),
            ("prompts", self.n_contexts),
            ("rows", f"{self.n_rows:,}"),
            ("units", f"{self.space.n_units:,}"),
        ]
        return html_table(repr(self), ("", ""), [*rows, ("bytes", f"{self.n_bytes:,}"), ("free bytes", free)])


class Scanner:
    """Records one site of one model.

    Args:
        model: A TransformerLens model in eval mode.
        site: What to record (see :mod:`tl_fbn.acquisition.sites`).
        batch_size: Prompts in a forward pass; changes speed, not values.
        surprisal: Record each token's surprisal, in nats; costs the unembedding.

    Raises:
        TypeError: The model cannot be hooked.
        ValueError: The model has no such site.
    """

    def __init__(self, model: Any, *, site: str = "mlp.neurons", batch_size: int = 8, surprisal: bool = True) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} runs nothing; give at least 1")
        self.model = model
        self.batch_size = batch_size
        self.surprisal = surprisal
        self._site = resolve_site(model, site)
        self._readers: list[Any] = []  # hooks of the user's that were seen to change nothing

    @property
    def space(self) -> UnitSpace:
        """The units this scanner records."""
        return self._site.space

    def plan(self, design: BlockDesign, path: str | os.PathLike | None = None) -> Plan:
        """Count rows, units and bytes; nothing runs.

        Raises:
            ValueError: The design cannot be presented to this model (too few prompts, a prompt too long).
        """
        runs = self._present(design)
        n_rows = sum(len(context.ids) for run in runs for context in run)
        folder = (
            None
            if path is None
            else next(p for p in (Path(path).absolute(), *Path(path).absolute().parents) if p.exists())
        )
        free = None if folder is None else shutil.disk_usage(folder).free
        return Plan(self.space, len(runs), n_rows, sum(map(len, runs)), 4 * n_rows * self.space.n_units, free)

    def scan(
        self, design: BlockDesign, path: str | os.PathLike, *, hooks_id: str | None = None, progress: bool = True
    ) -> Recording:
        """Record a design, or return the recording if it is already there.

        Args:
            design: Which prompts when.
            path: Folder of the recording; made if needed.
            hooks_id: Names what your own hooks on the model do to it, if they change activations; part of the key.
            progress: Show rows per second and time left.

        Returns:
            The recording, opened from disk.

        Raises:
            ValueError: The folder holds a different recording (the fields are named), the model drops out, an activation
                is not finite, or a hook of yours changes activations and ``hooks_id`` is not given.
            OSError: The disk has no room.
        """
        host.require_eval(self.model, "scan")
        path = Path(path)
        runs = self._present(design)
        fields = self._key_fields(design, runs, hooks_id)
        key = _digest(fields)
        if (path / store.ABOUT).exists():
            _refuse_other(path, store.read_about(path), fields, key)
        present_runs = store.committed_runs(path)
        missing = [number for number in range(len(runs)) if number not in present_runs]
        if not missing:
            if hooks_id is None and host.foreign_hooks(self.model):
                self._probe_foreign_hooks(runs[0][0])
            return Recording.open(path)
        self._require_room(path, runs, missing)
        if not (path / store.ABOUT).exists():
            prompts = sorted({digest for run in runs for context in run for digest in context.digests})
            store.write_about(path, self._about(design, fields, key, len(runs), prompts))
        rows = sum(len(context.ids) for number in missing for context in runs[number])
        foreign = [function for _, function in host.foreign_hooks(self.model)]
        with tqdm(total=rows, desc=f"scan {path.name}", unit="row", disable=not progress) as bar:
            for number in missing:
                self._scan_run(path, number, runs, design, key, hooks_id, bar)
        if hooks_id is None:
            self._readers = foreign
        return Recording.open(path)

    def _present(self, design: BlockDesign) -> list[list[Context]]:
        if design.generate:
            raise ValueError("this design asks for generated rows (generate=True); this scanner records prompt rows")
        tokenizer = getattr(self.model, "tokenizer", None)
        return present(
            design, tokenizer, n_ctx=host.context_length(self.model), d_vocab=host.vocabulary_size(self.model)
        )

    def _key_fields(self, design: BlockDesign, runs: list[list[Context]], hooks_id: str | None) -> dict[str, Any]:
        shown = [[[c.condition, c.block, list(c.ids)] for c in run] for run in runs]
        return {
            "weights": host.weights_digest(self.model),
            "tokens": _digest(shown),
            "blocks": _digest([design.tokens_per_block, list(map(list, design.schedule))]),
            "site": self.space.site,
            "widths": list(self.space.widths),
            "dtype": "float32",
            "surprisal": self.surprisal,
            "interventions": host.active_edits(self.model),
            "hooks_id": hooks_id,
        }

    def _about(
        self, design: BlockDesign, fields: Mapping[str, Any], key: str, n_runs: int, prompts: list[str]
    ) -> dict[str, Any]:
        versions = {name: metadata.version(name) for name in ("torch", "transformer-lens", "numpy")}
        return {
            "key": key,
            "fields": fields,
            "space": {"site": self.space.site, "widths": list(self.space.widths)},
            "model": self.space.model,
            "n_runs": n_runs,
            "prompts": prompts,
            "design": {
                "order": design.order,
                "seed": design.seed,
                "tokens_per_block": design.tokens_per_block,
                "unit": "row = one token",
            },
            "versions": versions,
        }

    def _require_room(self, path: Path, runs: list[list[Context]], missing: list[int]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        needed = 4 * self.space.n_units * sum(len(context.ids) for number in missing for context in runs[number])
        free = shutil.disk_usage(path).free
        if needed > free:
            raise OSError(
                f"the scan needs {needed / 1e9:,.2f} GB at {path}, {free / 1e9:,.2f} GB are free; make room or give another folder"
            )

    def _scan_run(
        self,
        path: Path,
        number: int,
        runs: list[list[Context]],
        design: BlockDesign,
        key: str,
        hooks_id: str | None,
        bar: tqdm,
    ) -> None:
        contexts = runs[number]
        n_rows = sum(len(context.ids) for context in contexts)
        store.sweep(path, number)
        widths = {layer: self.space.widths[layer] for layer in self._site.hook_names}
        started = time.monotonic()
        laid_out = store.lay_out(path, number, n_rows, widths)
        try:
            surprisal = np.full(n_rows, np.nan, np.float32)
            with _watching(self.model, allowed=hooks_id is not None):
                self._record(contexts, laid_out.layers, surprisal, number, bar)
            first_prompt = sum(map(len, runs[:number]))
            rows = _row_table(contexts, surprisal, getattr(self.model, "tokenizer", None), first_prompt)
            about = {
                "key": key,
                "run": number,
                "batch_size": self.batch_size,
                "seconds": round(time.monotonic() - started, 3),
            }
            store.commit(laid_out, store.run_folder(path, number), about, design.events(number), rows)
        except BaseException:
            laid_out.discard()
            raise

    @torch.no_grad()
    def _record(
        self,
        contexts: Sequence[Context],
        layers: Mapping[int, np.ndarray],
        surprisal: Float[np.ndarray, " row"],
        run: int,
        bar: tqdm,
    ) -> None:
        """Fill the layers, and the surprisal of every row, from forward passes over batches of similar length."""
        caught: dict[int, torch.Tensor] = {}

        def catch(tensor: torch.Tensor, hook: Any, *, layer: int) -> None:
            caught[layer] = tensor.detach()

        device = host.model_device(self.model)
        hooks = [(name, partial(catch, layer=layer)) for layer, name in self._site.hook_names.items()]
        by_length = sorted(contexts, key=lambda context: (len(context.ids), context.first_row))
        with self.model.hooks(fwd_hooks=hooks):
            for start in range(0, len(by_length), self.batch_size):
                batch = by_length[start : start + self.batch_size]
                ids, mask, real = host.pad_batch([context.ids for context in batch], device)
                logits = host.forward(self.model, ids, mask, return_type="logits" if self.surprisal else None)
                rows = np.concatenate([np.arange(c.first_row, c.first_row + len(c.ids)) for c in batch])
                for layer, target in layers.items():
                    values = caught.pop(layer).flatten(0, 1)
                    target[rows] = _finite(values.index_select(0, real.to(values.device)), run, layer, rows)
                if logits is not None:
                    surprisal[rows] = _surprisal(logits, ids).flatten()[real].float().cpu().numpy()
                bar.update(len(rows))

    def _probe_foreign_hooks(self, context: Context) -> None:
        """One forward pass under watch: a recording on disk may be returned only if hooks of the user's leave it as it is."""
        if all(any(function is known for known in self._readers) for _, function in host.foreign_hooks(self.model)):
            return
        ids = torch.tensor([context.ids], device=host.model_device(self.model))
        with torch.no_grad(), _watching(self.model, allowed=False):
            self.model(ids)


@contextmanager
def _watching(model: Any, *, allowed: bool) -> Iterator[None]:
    """Raise if a forward hook that is not ours changes an activation while the body runs.

    Each such hook is wrapped where torch keeps it, for the time of the body, and put back.
    """
    wrapped: list[tuple[dict[int, Any], int, Any]] = []
    if not allowed:
        for name, point in model.hook_dict.items():
            for number, function in point._forward_hooks.items():
                if not isinstance(host.unwrapped(function), host.Edit) and not hasattr(function, "_tl_fbn_watch"):
                    wrapped.append((point._forward_hooks, number, function))
                    point._forward_hooks[number] = _watched(function, name)
    try:
        yield
    finally:
        for hooks, number, function in wrapped:
            if number in hooks:
                hooks[number] = function


def _watched(function: Any, name: str) -> Any:
    def watched(module: Any, inputs: Any, output: Any) -> Any:
        version = output._version if isinstance(output, torch.Tensor) and not output.is_inference() else None
        result = function(module, inputs, output)
        replaced = result is not None and result is not output and not torch.equal(result, output)
        if replaced or (version is not None and output._version != version):
            raise ValueError(
                f"a hook of yours on {name} changes activations, and a recording cannot know how; remove it, or name what it does "
                "with scan(..., hooks_id=...)"
            )
        return result

    watched._tl_fbn_watch = True  # pyright: ignore[reportFunctionMemberAccess]
    return watched


def _finite(values: torch.Tensor, run: int, layer: int, rows: np.ndarray) -> Float[np.ndarray, "row unit"]:
    array = values.float().cpu().numpy()
    if not np.isfinite(array.sum(dtype=np.float64)) and not (good := np.isfinite(array).all(1)).all():
        raise ValueError(
            f"run {run}, layer {layer}, row {int(rows[~good].min())} has NaN or infinite activations; nothing of this run was "
            "committed. Check the model's weights and dtype"
        )
    return array


def _surprisal(logits: torch.Tensor, ids: torch.Tensor) -> Float[torch.Tensor, "batch pos"]:
    """Minus the log-probability of each token given those before it, in nats; NaN at the first."""
    log_probs = logits[:, :-1].float().log_softmax(-1)
    picked = -log_probs.gather(-1, ids[:, 1:, None].to(log_probs.device))[..., 0]
    return torch.nn.functional.pad(picked, (1, 0), value=float("nan"))


def _row_table(
    contexts: Sequence[Context], surprisal: Float[np.ndarray, " row"], tokenizer: Any, first_prompt: int
) -> pd.DataFrame:
    lengths = [len(context.ids) for context in contexts]
    ids = [token for context in contexts for token in context.ids]
    words = {token: _word(tokenizer, token) for token in set(ids)}
    bos = None if tokenizer is None else tokenizer.bos_token_id
    special = set() if tokenizer is None else set(tokenizer.all_special_ids)
    position = np.concatenate([np.arange(length) for length in lengths])
    flags = [
        "bos" if token == bos and at == 0 else "special" if token in special else ""
        for token, at in zip(ids, position, strict=True)
    ]
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.arange(first_prompt, first_prompt + len(contexts)), lengths),
            "block": np.repeat([context.block for context in contexts], lengths),
            "position": position,
            "token_id": ids,
            "token": [words[token] for token in ids],
            "trial_type": np.repeat([context.condition for context in contexts], lengths),
            "surprisal": surprisal.astype(np.float64),
            "flags": flags,
        }
    )


def _word(tokenizer: Any, token: int) -> str:
    return str(token) if tokenizer is None else str(tokenizer.convert_ids_to_tokens(token))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refuse_other(path: Path, about: Mapping[str, Any], fields: Mapping[str, Any], key: str) -> None:
    if about["key"] == key:
        return
    theirs = about["fields"]
    differing = [name for name in sorted({*fields, *theirs}) if theirs.get(name) != fields.get(name)]
    described = "; ".join(
        f"{name}: {_short(theirs.get(name))} there, {_short(fields.get(name))} here" for name in differing
    )
    raise ValueError(f"{path} holds a different recording ({described}); give another folder, or delete that one")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
