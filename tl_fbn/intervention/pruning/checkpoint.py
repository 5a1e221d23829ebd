"""Pruned models on disk: a plain Hugging Face folder, and what only tl_fbn knows in one file beside it.

``small.save_pretrained(folder)`` writes config, weights under Hugging Face's own names and the tokenizer, so that
``transformers.AutoModelForCausalLM.from_pretrained(folder)`` gives the same logits without this package. Three things have
no place in a config, and are dealt with as follows:

- layers of unequal width: zeros up to the widest (a neuron of zeros writes nothing), or up to the architecture's own width
  where no config knows any (Bloom). The folder is as large as its widest layer;
- a bias of the down projection where the architecture has none: the config's flag for biases is set (Llama's ``mlp_bias``, OPT's
  ``enable_bias``) and all the others it asks for are zeros. Without such a flag (Qwen2, Mistral, Gemma) the bias goes into
  ``tl_fbn_pruned.safetensors`` and a warning says that plain transformers will run without it;
- which units the small model has: the report, likewise there.

:func:`load_pruned` reads all of it, takes the zeros off again, and returns the same bridge. Models made with ``boot_native`` have
no Hugging Face format and are refused.

Cost: a copy of the model, and one forward pass over a probe that the copy is checked on.
"""

from __future__ import annotations

import copy
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tl_fbn import files
from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.intervention.pruning.logit_check import logits_of, not_the_weights, probe_ids, require_same_logits
from tl_fbn.intervention.pruning.prune_report import PruneReport

FILE = "tl_fbn_pruned.safetensors"
_FLAGS = ("mlp_bias", "enable_bias", "use_bias", "add_bias", "bias")


def equip(small: Any) -> None:
    """Give a pruned bridge its own ``save_pretrained``."""
    small.save_pretrained = partial(save_pruned, small)


def save_pruned(small: Any, folder: str | os.PathLike) -> None:
    """Write a pruned model as a Hugging Face folder; ``small.save_pretrained`` is this.

    Args:
        small: What :func:`tl_fbn.prune` returned.
        folder: Where to; made if needed.

    Raises:
        InputError: The model has no Hugging Face config, or shapes that its config cannot say.
    """
    if not hasattr(small.original_model, "save_pretrained"):
        raise InputError(
            f"{type(small.original_model).__name__} is no Hugging Face model, so there is no folder to write; keep "
            "small.state_dict(), or prune a model from TransformerBridge.boot_transformers"
        )
    folder, report = Path(folder), small.pruned
    ids = probe_ids(small, None)
    plain = surgery.plain_copy(small, report_layers(report))
    with torch.no_grad():
        require_same_logits(logits_of(plain.model, ids), small(ids), not_the_weights(small))
    empty = surgery.empty_model(type(plain.model), plain.model.config)
    widths = {layer: surgery.n_inputs(plain.module(mlp.down)) for layer, mlp in plain.mlps.items()}
    for layer, mlp in plain.mlps.items():
        surgery.cut_mlp(plain, layer, np.arange(widths[layer]), surgery.n_inputs(empty.get_submodule(mlp.down)))
    beside, added, flag = _biases(plain, empty)
    arrays, described = report._pack_()
    about = {
        "report": described,
        "widths": {str(layer): width for layer, width in widths.items()},
        "mlps": {str(layer): mlp.about() for layer, mlp in plain.mlps.items()},
        "beside": sorted(beside),
        "added": added,
        "flag": flag,
        "attention": getattr(plain.model.config, "_attn_implementation", None),
        "architecture": small.adapter.cfg.architecture,
        "class": type(plain.model).__name__,
        "model_name": small.cfg.model_name,
    }
    plain.model.save_pretrained(folder)
    if small.tokenizer is not None:
        small.tokenizer.save_pretrained(folder)
    files.write_result(
        folder / FILE, "Pruned", arrays | {f"beside {name}": value for name, value in beside.items()}, about
    )
    if beside:
        warnings.warn(
            f"{type(plain.model).__name__} has no bias at the down projection, so the compensation is in {FILE}: "
            "fbn.load_pruned(folder) loads it, plain transformers runs without it",
            stacklevel=2,
        )


def load_pruned(folder: str | os.PathLike, *, device: str = "cpu") -> Any:
    """Load what ``small.save_pretrained(folder)`` wrote, as a bridge with the widths that it had.

    >>> small = load_pruned("pruned/")                                         # doctest: +SKIP

    Args:
        folder: The folder.
        device: Where to put the model.

    Returns:
        A bridge in eval mode, with ``.pruned`` and ``.save_pretrained`` as from :func:`tl_fbn.prune`.

    Raises:
        FileNotFoundError: There is no pruned model in the folder.

    Source: the format is ours; pruning is functional network pruning, arXiv:2508.05239 (2025).
    """
    import transformers
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"no {FILE} in {folder}; give the folder that small.save_pretrained(folder) was given")
    arrays, about = files.read_result(folder / FILE, "Pruned")
    kind: Any = getattr(transformers, about["class"], transformers.AutoModelForCausalLM)
    inner = kind.from_pretrained(folder, attn_implementation=about["attention"], dtype="auto").eval()
    mlps = {int(layer): surgery.Mlp.from_about(mlp) for layer, mlp in about["mlps"].items()}
    plain = surgery.Plain(inner, mlps, {})
    for layer in mlps:
        surgery.cut_mlp(plain, layer, np.arange(about["widths"][str(layer)]))
    for name in about["added"]:
        _drop(inner, name)
    if about["flag"] is not None:
        setattr(inner.config, about["flag"], False)
    for name in about["beside"]:
        module = plain.module(name.rsplit(".", 1)[0])
        bias = torch.from_numpy(arrays[f"beside {name}"]).to(module.weight.device, module.weight.dtype)
        surgery.set_linear(module, module.weight.detach(), bias)
    tokenizer = None
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inner.to(device)
    small = build_bridge_from_module(
        inner, about["architecture"], hf_config=inner.config, tokenizer=tokenizer, model_name=about["model_name"]
    )
    small.eval()
    small.pruned = PruneReport._unpack_(arrays, about["report"])
    equip(small)
    return small


def report_layers(report: PruneReport) -> list[int]:
    """Layers that have neurons in the intact model; a layer may have lost all of its own."""
    return [layer for layer, width in enumerate(report.kept.space.widths) if width]


def _biases(plain: surgery.Plain, empty: Any) -> tuple[dict[str, np.ndarray], list[str], str | None]:
    """Make the keys of a plain model those of its config.

    Returns:
        Biases that no config can say, taken out; names of zero biases that the config's flag asked for, put in; and the flag.
    """
    model = plain.model
    wanted = _shapes(empty)
    for name in set(_shapes(model)) - set(wanted):
        if not bool(_tensor(model, name).any()):
            _drop(model, name)  # the bridge's zero bias of the unembedding
    extra = sorted(set(_shapes(model)) - set(wanted))
    compensation = {f"{mlp.down}.bias" for mlp in plain.mlps.values()}
    if foreign := [name for name in extra if name not in compensation]:
        raise InputError(
            f"{', '.join(foreign[:3])} are not in a plain {type(model).__name__}, so no folder can hold them; boot the model "
            "anew, without enable_compatibility_mode, and prune that"
        )
    beside = {}
    added = []
    flag = None
    if extra:
        flagged = _flagged(model, set(extra))
        if flagged is None:
            beside = {name: _tensor(model, name).detach().float().cpu().numpy() for name in extra}
            for name in extra:
                _drop(model, name)
        else:
            flag, wanted = flagged
            setattr(model.config, flag, True)
            for name in sorted(set(wanted) - set(_shapes(model))):
                module = model.get_submodule(name.rsplit(".", 1)[0])
                module.bias = torch.nn.Parameter(module.weight.new_zeros(wanted[name]))
                added.append(name)
    shapes = _shapes(model)
    if wrong := [name for name in sorted(set(shapes) | set(wanted)) if shapes.get(name) != wanted.get(name)]:
        raise InputError(
            f"the config of {type(model).__name__} cannot say the shape of {wrong[0]} ({shapes.get(wrong[0])}, it says "
            f"{wanted.get(wrong[0])}); keep small.state_dict() instead"
        )
    return beside, added, flag


def _flagged(model: Any, extra: set[str]) -> tuple[str, dict[str, tuple[int, ...]]] | None:
    """The config's flag under which the architecture has these biases, and only biases besides."""
    have = set(_shapes(model))
    for flag in _FLAGS:
        if getattr(model.config, flag, None) is False:
            config = copy.deepcopy(model.config)
            setattr(config, flag, True)
            wanted = _shapes(surgery.empty_model(type(model), config))
            if extra <= set(wanted) and all(name.endswith(".bias") for name in set(wanted) - have):
                return flag, wanted
    return None


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _tensor(model: Any, name: str) -> torch.Tensor:
    module, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(module), leaf)


def _drop(model: Any, name: str) -> None:
    """Take a parameter or buffer out, as if its module had none."""
    module, _, leaf = name.rpartition(".")
    owner = model.get_submodule(module)
    owner._buffers.pop(leaf, None)
    owner._parameters.pop(leaf, None)
    owner.register_parameter(leaf, None)
