"""A model by name: a Hugging Face name, a local folder, the folder of a pruned model, or the embedded one.

Commands load a model only after their other arguments have been checked, since it takes seconds to minutes. Whatever
keeps a model from being loaded becomes an InputError that names the model and the first line of the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError, either

DTYPES = ("float32", "bfloat16", "float16")


def load_model(name: str, *, dtype: str = "float32", device: str | None = None, progress: bool = True) -> Any:
    """A TransformerLens model in eval mode, by name.

    Args:
        name: Name at Hugging Face, a local folder with a Hugging Face model (also one that :func:`tl_fbn.prune` made
            and ``save_pretrained`` wrote), or ``"demo"`` for the embedded model.
        dtype: Number type of weights and activations: ``"float32"``, ``"bfloat16"`` or ``"float16"``. A pruned model
            keeps the type it was saved in.
        device: Device that the model runs on, such as ``"cuda:0"``; None takes a GPU if there is one, and under a
            launcher the one of this process.
        progress: Whether transformers shows a progress bar while it loads.

    Raises:
        InputError: An unknown dtype or device, no such folder, or a model that cannot be loaded.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype of a model must be {either(DTYPES)}; got {dtype!r}")
    folder = Path(name)
    # a name at Hugging Face is "model" or "owner/model"; anything else looks like a path, and is not asked for there
    if name != "demo" and not folder.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"no folder at {name}; give a folder with a Hugging Face model, or a name such as gpt2")
    if name == "demo" or folder.is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing has to be fetched; read when huggingface_hub is imported
    import torch

    from tl_fbn.results import PRUNED

    device = _usable_device(device)
    if name != "demo" and (folder / PRUNED).is_file():
        with loading(progress):
            return _load_pruned_model(folder, dtype, device)
    from transformer_lens.model_bridge import TransformerBridge

    from tl_fbn import demo

    try:
        with loading(progress and name != "demo"):
            if name == "demo":
                return demo.load_model(device, dtype=dtype)
            # TransformerLens takes a folder for a name
            model = TransformerBridge.boot_transformers(name, dtype=getattr(torch, dtype), device=device)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"TransformerLens cannot load {name!r} ({first_line}); give a model name or a folder it can load"
        ) from error
    return model.eval()


@contextmanager
def loading(progress: bool) -> Iterator[None]:
    """Inside the body, transformers shows its progress bars, or none; afterwards as before.

    Args:
        progress: Whether bars are shown.
    """
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if progress else logging.disable_progress_bar)()
    try:
        yield
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def _usable_device(device: str | None) -> str | None:
    """The device, if tensors can be put on it; by default a GPU, or None where there is none."""
    import torch

    # LOCAL_RANK, which launchers set: number of the process on its machine, and so of its GPU
    if device is None:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    kind = device.partition(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r}: there is no CUDA GPU here; give cpu, or leave --device out")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used ({first_line}); give cpu, cuda or cuda:0") from error
    return device


def _load_pruned_model(folder: Path, dtype: str, device: str | None) -> Any:
    from tl_fbn.intervention.pruning.checkpoint import load_pruned

    if dtype != "float32":
        raise InputError(f"{folder} is a pruned model, which loads in the dtype it was saved in; leave --dtype out")
    return load_pruned(folder, device=device or "cpu")
