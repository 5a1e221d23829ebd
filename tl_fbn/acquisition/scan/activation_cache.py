"""A recording as TransformerLens's own ``ActivationCache``, so that code written for ``run_with_cache`` reads it.

:func:`activation_cache` shows one run of a recording, or one prompt of a run. Keys are the names of hooks
(:mod:`tl_fbn.acquisition.model.sites`), as ``"blocks.3.mlp.hook_post"`` or for short ``("post", 3)``. The cache has the
sites and layers that were recorded and no others: a helper that needs more, as the logit lens does, needs a recording
of every site that it asks for. With ``prompt=`` a tensor has the shape that ``run_with_cache`` gives for that text
alone, (1, pos, ...). Without it a tensor is a whole run, (row, unit), one prompt behind another, and the cache has no
batch dimension.

Nothing is read before a key is asked for. A float32 recording on disk is not copied even then: a tensor of
consecutive rows is a private map of its file, so that writing into it changes the tensor and never the recording.
16-bit recordings are decoded and recordings in memory are copied, only the rows that are asked for. A tensor is made
anew at every access; keep it if you write into it.

Attention heads are recorded as means over their width (``attn.heads``), which no hook of the model carries. They are
found under ``blocks.L.attn.hook_z_mean``, (1, pos, head). For all coordinates of the heads, record the site
``"blocks.{layer}.attn.hook_z"``; with ``model=`` the heads then get their axis back, (1, pos, head, width).
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
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.acquisition.recording.run import Run
from tl_fbn.errors import InputError, InputIndexError, InputKeyError
from tl_fbn.signatures import checked

if TYPE_CHECKING:
    from transformer_lens import ActivationCache

# hooks that carry attention heads, and the field of the model's configuration with their number; the heads of keys and
# of values are fewer than those of queries in models with grouped-query attention
_HEAD_COUNT_FIELDS = {
    "hook_q": "n_heads",
    "hook_z": "n_heads",
    "hook_k": "n_key_value_heads",
    "hook_v": "n_key_value_heads",
}


@checked
def activation_cache(
    recording: Recording, *, run: int = 0, prompt: int | None = None, model: HookedModel | None = None
) -> ActivationCache:
    """A view of one run of a recording, or of one prompt in it, as a TransformerLens ``ActivationCache``.

    >>> cache = fbn.activation_cache(recording, prompt=12, model=model)
    >>> list(cache)
    ['blocks.0.mlp.hook_post', 'blocks.1.mlp.hook_post', 'blocks.2.mlp.hook_post']
    >>> cache["post", 2].shape  # (1, pos, unit): MLP neurons of layer 2 while prompt 12 was read
    torch.Size([1, 16, 384])

    Args:
        recording: A recording of one site or of several.
        run: Number of the run, from 0.
        prompt: Number of the prompt, as in the column ``prompt`` of ``recording.to_dataframe()``; None shows all rows
            of the run.
        model: The model that was recorded; it lets helpers of the cache use weights, and gives attention heads an axis
            of their own. None where neither is needed.

    Returns:
        A cache whose tensors are made when they are asked for: (1, pos, ...) with a prompt, (row, unit) without.

    Raises:
        InputIndexError: There is no such run.
        InputError: The run has no such prompt, or the model does not have the units that were recorded.
    """
    if not 0 <= run < len(recording):
        raise InputIndexError(f"run {run} was not recorded; runs: 0 to {len(recording) - 1}")
    runs = [runs_of_site[run] for runs_of_site in recording.runs_of]  # the same rows at every site
    if model is not None:
        _require_units(recording, model)
    rows = slice(None) if prompt is None else _rows_of_prompt(recording, run, prompt)
    tensors = _LazyTensors(runs, rows, batched=prompt is not None, cfg=getattr(model, "cfg", None))
    model_of_cache: Any = model
    if model_of_cache is None:
        # the cache reads the number of layers from a model to count from the end, as in ("post", -1)
        n_layers = max(space.n_layers for space in recording.spaces)
        model_of_cache = SimpleNamespace(cfg=SimpleNamespace(n_layers=n_layers))
    # imported here: TransformerLens takes seconds to import, and recordings have no other need of it
    cache = importlib.import_module("transformer_lens").ActivationCache
    return cache(tensors, model_of_cache, has_batch_dim=prompt is not None)


class _LazyTensors(MutableMapping[str, torch.Tensor]):
    """Hook names to tensors that are made at every access; a tensor that was assigned is kept and given back."""

    def __init__(self, runs: list[Run], rows: slice | np.ndarray, *, batched: bool, cfg: Any) -> None:
        self._rows = rows
        self._batched = batched
        self._cfg = cfg
        self._recorded = {_cache_key(run.space.site, layer): (run, layer) for run in runs for layer in run.layers}
        self._assigned: dict[str, torch.Tensor] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        if key in self._assigned:
            return self._assigned[key]
        if key not in self._recorded:
            raise InputKeyError(f"{key!r} was not recorded; keys: {', '.join(map(str, self))}")
        run, layer = self._recorded[key]
        tensor = _tensor(run.layers[layer], self._rows)
        tensor = _with_axis_of_heads(tensor, key, self._cfg)
        return tensor[None] if self._batched else tensor  # one prompt is a batch of one

    def __contains__(self, key: object) -> bool:
        return key in self._assigned or key in self._recorded  # that of Mapping would make the tensor

    def __setitem__(self, key: str, value: torch.Tensor) -> None:
        self._assigned[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise InputKeyError(key)
        # both: an assigned tensor must not uncover the recorded one
        self._assigned.pop(key, None)
        self._recorded.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._recorded, *self._assigned)))  # each key once, in order

    def __len__(self) -> int:
        return len(self._recorded.keys() | self._assigned.keys())


def _cache_key(site: str, layer: int) -> str:
    """Key of a layer of a site: the name of its hook, marked where not the hook's values but their means are stored."""
    name = sites.hook_name(site, layer)
    return f"{name}_mean" if site == sites.HEADS else name


def _tensor(array: Any, rows: slice | np.ndarray) -> torch.Tensor:
    """Some rows of a layer as a tensor that is safe to write into."""
    place = place_of(array) if isinstance(array, np.ndarray) and isinstance(rows, slice) else None
    if place is not None:
        file, offset = place
        # mode "c" is copy on write: a page that is written into is copied to memory, and the file stays as it is
        private = np.memmap(file, array.dtype, "c", offset, array.shape)
        return torch.from_numpy(private[rows])
    # 16-bit arrays are decoded by the indexing, and rows that are no stretch of the file cannot be a map of it
    return torch.from_numpy(np.array(array[rows]))


def _with_axis_of_heads(tensor: torch.Tensor, key: str, cfg: Any) -> torch.Tensor:
    """(pos, head, width) of a hook of attention heads, where the model says how many there are; others unchanged."""
    hook = key.rsplit(".", 1)[-1]
    # a model without grouped queries has no n_key_value_heads, or None: it has as many as heads of queries
    n_heads = getattr(cfg, _HEAD_COUNT_FIELDS.get(hook, ""), None) or getattr(cfg, "n_heads", None)
    if hook not in _HEAD_COUNT_FIELDS or not n_heads or tensor.shape[-1] % n_heads:
        return tensor
    return rearrange(tensor, "pos (head width) -> pos head width", head=n_heads)


def _rows_of_prompt(recording: Recording, run: int, prompt: int) -> slice | np.ndarray:
    """Rows of one prompt, as a slice where they follow one another."""
    tables = [one.rows for one in recording.runs_of[0]]  # all sites share their row tables
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
    # a slice can be a map of the file; arrays from elsewhere may have the rows of a prompt scattered
    is_consecutive = found[-1] - found[0] + 1 == found.size
    return slice(int(found[0]), int(found[-1]) + 1) if is_consecutive else found


def _require_units(recording: Recording, model: HookedModel) -> None:
    """Raise an error unless the model has, at every site, the layers and widths that were recorded."""
    for space in recording.spaces:
        offered = sites.resolve_site(model, space.site).space
        if not sites.fits(offered, space):
            raise InputError(
                f"the recording has units of {space.describe()}, the model {offered.describe()}; give the model that "
                "was recorded, or none"
            )
