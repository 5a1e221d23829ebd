"""A recording as TransformerLens's own ``ActivationCache``, so that code written for ``run_with_cache`` reads it.

::

    cache = fbn.activation_cache(recording, prompt=12, model=model)
    cache["post", 3]                       # (1, pos, unit): the MLP neurons of layer 3 while prompt 12 was read
    cache["blocks.3.mlp.hook_post"]        # the same

Keys are hook names (:mod:`tl_fbn.acquisition.model.sites`); there are those that were recorded and no others, so that helpers which need a complete
cache need a recording of every site they ask for. With ``prompt=`` a tensor has the shape that ``run_with_cache`` gives for that text alone,
(1, pos, ...); without one it is a whole run, (row, unit), one prompt behind another, and the cache knows no batch.

Nothing is read before a key is asked for. A float32 recording on disk is not copied even then: a tensor is a *private* map of its file,
so that writing into it changes the tensor and never the recording. 16-bit recordings are decoded and recordings in memory copied,
the rows in question only. A tensor is made anew on every access; keep it if you write into it.

Attention heads are recorded as means over their width (``attn.heads``), which no hook carries; they are found under
``blocks.L.attn.hook_z_mean``, (1, pos, head). Record the site ``"blocks.{layer}.attn.hook_z"`` for the whole of it: with ``model=`` the heads
get their axis back.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange

from tl_fbn.acquisition.model import sites
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.recording.memory_maps import place_of
from tl_fbn.acquisition.recording.recording import Recording, Run
from tl_fbn.errors import InputError, InputIndexError, InputKeyError

if TYPE_CHECKING:
    from transformer_lens import ActivationCache

_HEADS_OF = {"hook_q": "n_heads", "hook_z": "n_heads", "hook_k": "n_key_value_heads", "hook_v": "n_key_value_heads"}


def activation_cache(
    recording: Recording, *, run: int = 0, prompt: int | None = None, model: HookedModel | None = None
) -> ActivationCache:
    """A view of one run of a recording, or of one prompt in it, as a TransformerLens ``ActivationCache``.

    ::

        cache = fbn.activation_cache(recording, prompt=12)
        cache["post", 3]          # (1, pos, unit)

    Args:
        recording: A recording of one site or of several.
        run: The run, from 0.
        prompt: A number in the column ``prompt`` of ``recording.to_dataframe()``; None for all rows of the run.
        model: The model, for the helpers of the cache that use weights, and to part attention heads; may be left out.

    Returns:
        A cache whose tensors are made when they are asked for: (1, pos, ...) with a prompt, (row, unit) without.

    Raises:
        InputIndexError: There is no such run.
        InputError: The run has no such prompt, or the model has not the units that were recorded.
    """
    if not 0 <= run < len(recording):
        raise InputIndexError(f"run {run} was not recorded; runs: 0 to {len(recording) - 1}")
    runs = [of_site[run] for of_site in recording.runs_of]
    if model is not None:
        _require_units(recording, model)
    rows = slice(None) if prompt is None else _rows_of(recording, run, prompt)
    tensors = _Tensors(runs, rows, batched=prompt is not None, cfg=getattr(model, "cfg", None))
    counted: Any = model
    if counted is None:  # the cache counts layers from the end by the model's configuration
        counted = SimpleNamespace(cfg=SimpleNamespace(n_layers=max(space.n_layers for space in recording.spaces)))
    cache = importlib.import_module("transformer_lens").ActivationCache
    return cache(tensors, counted, has_batch_dim=prompt is not None)


class _Tensors(MutableMapping[str, torch.Tensor]):
    """Hook names to tensors that are made when they are asked for; what is set stays set."""

    def __init__(self, runs: list[Run], rows: slice | np.ndarray, *, batched: bool, cfg: Any) -> None:
        self._rows = rows
        self._batched = batched
        self._cfg = cfg
        self._places = {_key(run.space.site, layer): (run, layer) for run in runs for layer in run.layers}
        self._set: dict[str, torch.Tensor] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        if key in self._set:
            return self._set[key]
        if key not in self._places:
            raise InputKeyError(f"{key!r} was not recorded; keys: {', '.join(map(str, self))}")
        run, layer = self._places[key]
        tensor = _tensor(run.layers[layer], self._rows)
        tensor = _by_head(tensor, key, self._cfg)
        return tensor[None] if self._batched else tensor

    def __contains__(self, key: object) -> bool:
        return key in self._set or key in self._places  # Mapping's own way makes the tensor

    def __setitem__(self, key: str, value: torch.Tensor) -> None:
        self._set[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise InputKeyError(key)
        self._set.pop(key, None)
        self._places.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._places, *self._set)))

    def __len__(self) -> int:
        return len(self._places.keys() | self._set.keys())


def _key(site: str, layer: int) -> str:
    name = sites.hook_name(site, layer)
    return f"{name}_mean" if site == sites.HEADS else name


def _tensor(array: Any, rows: slice | np.ndarray) -> torch.Tensor:
    """Some rows of a layer as a tensor that is safe to write into."""
    place = place_of(array) if isinstance(array, np.ndarray) and isinstance(rows, slice) else None
    if place is not None:
        file, offset = place
        private = np.memmap(file, array.dtype, "c", offset, array.shape)  # copied where written, in memory
        return torch.from_numpy(private[rows])
    return torch.from_numpy(np.array(array[rows]))


def _by_head(tensor: torch.Tensor, key: str, cfg: Any) -> torch.Tensor:
    """(pos, head, width) of what a hook of attention heads carries, where the model says how many there are."""
    hook = key.rsplit(".", 1)[-1]
    n_heads = getattr(cfg, _HEADS_OF.get(hook, ""), None) or getattr(cfg, "n_heads", None)
    if hook not in _HEADS_OF or not n_heads or tensor.shape[-1] % n_heads:
        return tensor
    return rearrange(tensor, "pos (head width) -> pos head width", head=n_heads)


def _rows_of(recording: Recording, run: int, prompt: int) -> slice | np.ndarray:
    """Rows of one prompt, as a slice where they follow one another."""
    tables = [one.rows for one in recording.runs_of[0]]
    if "prompt" not in tables[run]:
        raise InputError(
            "this recording does not say which rows are which prompt's; leave prompt= out, or record with rows="
        )
    numbers = tables[run]["prompt"].to_numpy()
    found = np.flatnonzero(numbers == prompt)
    if not found.size:
        elsewhere = [i for i, table in enumerate(tables) if "prompt" in table and prompt in table["prompt"].to_numpy()]
        where = f"; it is in run {elsewhere[0]}" if elsewhere else ""
        raise InputError(f"run {run} has no prompt {prompt}, only {numbers.min()} to {numbers.max()}{where}")
    whole = found[-1] - found[0] + 1 == found.size
    return slice(int(found[0]), int(found[-1]) + 1) if whole else found


def _require_units(recording: Recording, model: HookedModel) -> None:
    for space in recording.spaces:
        offered = sites.resolve_site(model, space.site).space
        if not sites.fits(offered, space):
            raise InputError(
                f"the recording has units of {space.describe()}, the model {offered.describe()}; give the model that was recorded, or none"
            )
