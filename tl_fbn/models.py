"""A model by name: a Hugging Face name, a checkpoint folder, a ``.gguf`` file, a pruned model, or the embedded one.

Commands load a model only after their other arguments have been checked, since it takes seconds to minutes. Whatever
keeps a model from being loaded becomes an InputError that names the model and the first line of the reason.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_fbn.errors import InputError, either
from tl_fbn.signatures import checked

DTYPES = ("float32", "bfloat16", "float16")


@checked
def load_model(
    name_or_path: str | os.PathLike,
    dtype: str = "auto",
    device: str | None = None,
    *,
    label: str | None = None,
    progress: bool = True,
) -> Any:
    """A TransformerLens bridge in eval mode, from a name, a folder or a file.

    On a short probe, logits of the bridge are compared with those of transformers; a warning says so where they differ
    by more than rounding.

    >>> small = fbn.load_model("demo")
    >>> small.cfg.model_name, small.cfg.n_layers
    ('tl_fbn-demo', 3)

    Args:
        name_or_path: Name at Hugging Face; folder of a Hugging Face checkpoint, also one that
            ``fbn.prune(...).save_pretrained`` wrote; a ``.gguf`` file, whose weights are unpacked once into the cache
            of huggingface_hub (this needs ``pip install "tl-fbn[gguf]"``); or ``"demo"`` for the embedded model.
        dtype: Number type of weights and activations: ``"float32"``, ``"bfloat16"`` or ``"float16"``; ``"auto"`` for
            the one of the checkpoint. Packed weights of a ``.gguf`` file have none: ``"bfloat16"`` where the device
            multiplies it in hardware, and where not ``"float32"``, which is several times faster there. A pruned model
            keeps the type it was saved in.
        device: Device that the model runs on, such as ``"cuda:0"``; None takes a GPU if there is one, and under a
            launcher the one of this process.
        label: What tables, pages and provenance call the model; by default its name, the name of its folder or of its
            file.
        progress: Whether transformers shows a progress bar while it loads.

    Returns:
        A ``TransformerBridge``.

    Raises:
        InputError: An unknown dtype or device, a dtype that the device cannot multiply, no such folder or file, or a
            model that cannot be loaded.
    """
    if dtype not in ("auto", *DTYPES):
        raise InputError(f"dtype of a model must be 'auto', {either(DTYPES)}; got {dtype!r}")
    name = os.fspath(name_or_path)
    if not name:
        raise InputError("the name of a model is empty; give a name, a folder or a .gguf file")
    path = Path(name).expanduser()
    is_gguf = name.lower().endswith(".gguf") and not path.is_dir()
    if is_gguf and not path.is_file():
        raise InputError(f"no file at {name}; give a .gguf file, a checkpoint folder or a model's name")
    # a name at Hugging Face is "model" or "owner/model"; anything else looks like a path, and is not asked for there
    if name != "demo" and not path.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"no folder at {name}; give a folder with a Hugging Face model, or a name such as gpt2")
    if path.is_file() and not is_gguf:
        raise InputError(f"{name} is a file; give a .gguf file, the folder of a checkpoint or a model's name")
    if name == "demo" or path.exists():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing has to be fetched; read when huggingface_hub is imported
    from tl_fbn.acquisition.model.model_names import name_of_source
    from tl_fbn.results import PRUNED

    usable = _usable_device(device)
    if name == "demo":
        from tl_fbn import demo

        _check_arithmetic("float32" if dtype == "auto" else dtype, usable)
        with loading(False):  # quickly loaded
            model = demo.load_model(usable or "cpu", dtype="float32" if dtype == "auto" else dtype)
    elif (path / PRUNED).is_file():
        with loading(progress):
            model = _load_pruned_model(path, dtype, usable)
    else:
        with loading(progress):
            source = name if not path.exists() else os.fspath(path)
            model = _load_checkpoint(source, path if is_gguf else None, dtype, usable, name)
        if path.exists():
            # not the path, which differs between machines; of a link its own name: what it leads to may be a digest
            model.cfg.model_name = name_of_source(os.path.abspath(path))  # noqa: PTH100
    if label is not None:
        model.cfg.model_name = label
    return model.eval()


def describe_model(model: Any) -> str:
    """One line on what was loaded: name, family, layers and neurons, parameters, number type and memory.

    >>> describe_model(fbn.load_model("demo"))
    'tl_fbn-demo: GPTNeoXForCausalLM, 3 layers x 384 neurons, 0.35 M parameters, float32, 1 MB on cpu'

    Args:
        model: A bridge.
    """
    from tl_fbn.acquisition.model.host import model_label
    from tl_fbn.intervention.pruning.mlp_surgery import plain_parameters

    parameters = plain_parameters(model).values()
    n = sum(parameter.numel() for parameter in parameters)
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    first = next(iter(parameters))
    neurons = f" x {model.cfg.d_mlp:,} neurons" if isinstance(getattr(model.cfg, "d_mlp", None), int) else ""
    family = getattr(model.cfg, "architecture", None) or type(model).__name__
    return (
        f"{model_label(model)}: {family}, {model.cfg.n_layers} layers{neurons}, {_millions(n)} parameters, "
        f"{str(first.dtype).removeprefix('torch.')}, {max(1, round(size / 1e6)):,} MB on {first.device}"
    )


def is_fast(dtype: str, device: str | None) -> bool:
    """Whether a device multiplies a number type in hardware; some processors are several times slower in 16 bits.

    Args:
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: Name of the device; None for the processor.
    """
    import torch

    if dtype == "float32" or not (device or "cpu").startswith("cpu"):
        return True
    # PyTorch up to 2.8 does not say; other processors than those of the x86 family are taken to have it
    able = getattr(torch.cpu, "get_capabilities", dict)()
    names = ("avx512_bf16", "amx_bf16") if dtype == "bfloat16" else ("avx512_fp16", "amx_fp16")
    return able.get("architecture") != "x86_64" or any(able.get(name, False) for name in names)


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


def _load_checkpoint(source: str, gguf: Path | None, dtype: str, device: str | None, name: str) -> Any:
    """A bridge around a model that transformers loads, compared with it on a probe.

    Args:
        source: Name at Hugging Face, or a folder.
        gguf: The file that is unpacked first, in place of ``source``; None for none.
        dtype: Number type, or ``"auto"``.
        device: A usable device; None lets TransformerLens choose.
        name: What the user called the model, for messages.
    """
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    from tl_fbn.acquisition.model.gguf_files import packed_type, stored_dtype, unpacked
    from tl_fbn.acquisition.model.host import PACKED
    from tl_fbn.acquisition.model.host_check import warn_of_other_logits

    packed = None
    if gguf is not None:
        folder = unpacked(gguf)
        packed = packed_type(folder)
        source = os.fspath(folder)
        if dtype == "auto":
            dtype = stored_dtype(folder)
            # either holds packed weights, so that speed decides
            dtype = "float32" if packed and not is_fast(dtype, device) else dtype
    try:
        config, remembering = _about_to_load(source)
        chosen = _own_dtype(config) if dtype == "auto" else dtype
        _check_arithmetic(chosen, device)
        options = {} if remembering is None else {"model_class": remembering}
        # TransformerLens takes a folder for a name
        model = TransformerBridge.boot_transformers(source, dtype=getattr(torch, chosen), device=device, **options)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"TransformerLens cannot load {name!r} ({first_line}); give a model name or a folder it can load"
        ) from error
    if packed is not None:
        setattr(model.cfg, PACKED, packed)
    if remembering is not None:
        warn_of_other_logits(model.eval(), remembering.logits, name)
    return model


def _about_to_load(source: str) -> tuple[Any, Any]:
    """The config of a checkpoint, and a stand-in for its class that keeps its logits; None on hosts without one."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources import transformers as host
    from transformers import AutoConfig

    from tl_fbn.acquisition.model.host_check import Remembering

    config = AutoConfig.from_pretrained(source)
    if "model_class" not in inspect.signature(TransformerBridge.boot_transformers).parameters:
        return config, None
    architecture = host.determine_architecture_from_hf_config(config)
    return config, Remembering(host.get_hf_model_class_for_architecture(architecture))


def _own_dtype(config: Any) -> str:
    """The number type that a checkpoint's config names, if it is one of ours; float32 where it names none."""
    text = config.get_text_config()
    named = getattr(text, "dtype", None) or getattr(text, "torch_dtype", None)
    known = str(named).removeprefix("torch.")
    return known if known in DTYPES else "float32"


def _check_arithmetic(dtype: str, device: str | None) -> None:
    """Refuse a number type that the device cannot multiply."""
    import torch

    numbers = torch.ones(2, 2, dtype=getattr(torch, dtype), device=device)
    try:
        (numbers @ numbers).sum().item()
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"{device or 'this device'} cannot compute in {dtype} ({first_line}); give float32") from error


def _millions(n: int) -> str:
    """A number of parameters in the unit that people use: 0.35 M, 135 M, 7.2 B."""
    unit, size = ("B", 1e9) if n >= 1e9 else ("M", 1e6)
    return f"{n / size:.3g} {unit}" if n >= size else f"{n / size:.2f} {unit}"


def _usable_device(device: str | None) -> str | None:
    """The device, if tensors can be put on it; by default a GPU, or None where there is none."""
    import torch

    from tl_fbn.acquisition.model.host import require_device

    # LOCAL_RANK, which launchers set: number of the process on its machine, and so of its GPU
    if device is None:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else None
    require_device(device)
    return device


def _load_pruned_model(folder: Path, dtype: str, device: str | None) -> Any:
    from tl_fbn.intervention.pruning.checkpoint import load_pruned

    if dtype != "auto":
        raise InputError(f"{folder} is a pruned model, which loads in the dtype it was saved in; leave dtype out")
    return load_pruned(folder, device=device or "cpu")
