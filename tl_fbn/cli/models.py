"""A model by name, from the shell: a Hugging Face name, a folder, a pruned folder, or the embedded one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError, either

DTYPES = ("float32", "bfloat16", "float16")


def load_model(name: str, *, dtype: str = "float32", device: str | None = None, progress: bool = True) -> Any:
    """A model TransformerLens loads, by Hugging Face name or local folder, or the embedded one; in eval mode.

    Args:
        name: Name, folder (also one that :func:`tl_fbn.prune`'s models wrote), or ``"demo"``.
        dtype: Number type of weights and activations.
        device: Where it runs; default a GPU if there is one, under a launcher the process's own.
        progress: Let transformers show a bar while it loads.

    Raises:
        InputError: An unknown dtype or device, no such folder, or a model that cannot be loaded.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype of a model must be {either(DTYPES)}; got {dtype!r}")
    folder = Path(name)
    if name != "demo" and not folder.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"no folder at {name}; give a folder with a Hugging Face model, or a name such as gpt2")
    if name == "demo" or folder.is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing has to be fetched
    import torch

    from tl_fbn.results import PRUNED

    device = _device(device)
    if name != "demo" and (folder / PRUNED).is_file():
        with loading(progress):
            return _pruned(folder, dtype, device)
    from transformer_lens.model_bridge import TransformerBridge

    from tl_fbn import demo

    source = str(demo.weights_folder()) if name == "demo" else name
    try:
        with loading(progress and name != "demo"):
            model = TransformerBridge.boot_transformers(source, dtype=getattr(torch, dtype), device=device)
    except (OSError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"TransformerLens cannot load {name!r} ({first}); give a model name or a folder it can load"
        ) from error
    if name == "demo":
        model.cfg.model_name = "tl_fbn-demo"
    return model.eval()


@contextmanager
def loading(progress: bool) -> Iterator[None]:
    """Meanwhile transformers shows its bar, or does not."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if progress else logging.disable_progress_bar)()
    try:
        yield
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def _device(device: str | None) -> str | None:
    import torch

    if device is None:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    kind = device.partition(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r}: there is no CUDA GPU here; give cpu, or leave --device out")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used ({first}); give cpu, cuda or cuda:0") from error
    return device


def _pruned(folder: Path, dtype: str, device: str | None) -> Any:
    from tl_fbn.intervention.pruning.checkpoint import load_pruned

    if dtype != "float32":
        raise InputError(f"{folder} is a pruned model, which loads in the dtype it was saved in; leave --dtype out")
    return load_pruned(folder, device=device or "cpu")
