"""Pruned models on disk: a plain Hugging Face folder, and what only tl_fbn knows in one file beside it.

``small.save_pretrained(folder)`` writes the config, the weights under Hugging Face's own names, and the tokenizer, so
that ``transformers.AutoModelForCausalLM.from_pretrained(folder)`` gives the same logits without this package. A Hugging
Face config cannot express three things that a pruned model may have. They are stored as follows:

- Layers of unequal width. Every layer is filled with zeros up to the width of the widest (a neuron of zeros writes
  nothing), or up to the architecture's own width where the config has no entry for it (Bloom). On disk, every layer is
  therefore as large as the widest.
- A bias of the down projection, which compensation adds, where the architecture has none. If the config has a flag for
  biases (Llama's ``mlp_bias``, OPT's ``enable_bias``), it is set, and all other biases that it asks for are zeros.
  Without such a flag (Qwen2, Mistral, Gemma) the bias is written to ``tl_fbn_pruned.safetensors``, and a warning says
  that plain transformers will run without it.
- Which units of the intact model the small model has. The :class:`~tl_fbn.pruning.PruneReport` says so; it is written
  to ``tl_fbn_pruned.safetensors``, too.

:func:`load_pruned` reads all of this, takes the zeros off again, and returns the same bridge. Models made with
``boot_native`` have no Hugging Face format and are refused.

Cost: a copy of the model, and two forward passes over a probe (the small model and its copy), whose logits must agree.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tl_fbn import files
from tl_fbn.acquisition.model import host
from tl_fbn.errors import InputError
from tl_fbn.intervention.pruning import mlp_surgery as surgery
from tl_fbn.intervention.pruning.logit_check import logits_of, not_the_weights, probe_ids, require_same_logits
from tl_fbn.intervention.pruning.prune_report import PruneReport
from tl_fbn.signatures import checked

FILE = "tl_fbn_pruned.safetensors"
# names that architectures give to "this model has biases" in their configs
_BIAS_FLAGS = ("mlp_bias", "enable_bias", "use_bias", "add_bias", "bias")


def equip(small: Any) -> None:
    """Give a pruned bridge its own ``save_pretrained``.

    Args:
        small: A bridge around a pruned model, with its report as ``small.pruned``.
    """
    # partial and no closure: a copy of the bridge (copy.deepcopy) then saves itself, not the original
    small.save_pretrained = partial(save_pruned, small)


@checked
def save_pruned(small: Any, folder: str | os.PathLike) -> None:
    """Write a pruned model as a Hugging Face folder; ``small.save_pretrained`` is this function.

    Args:
        small: A bridge that :func:`tl_fbn.prune` or :func:`load_pruned` returned.
        folder: The folder to write; it is made if it does not exist, and files of the same names are replaced.

    Raises:
        InputError: The model has no Hugging Face config; its config cannot express the shapes of its weights; or its
            weights do not give its logits (hooks are on it, or compatibility mode).
    """
    if not hasattr(small.original_model, "save_pretrained"):
        raise InputError(
            f"{type(small.original_model).__name__} is no Hugging Face model, so there is no folder to write; keep "
            "small.state_dict(), or prune a model from TransformerBridge.boot_transformers"
        )
    folder = Path(folder)
    report = small.pruned
    ids = probe_ids(small, None)
    plain = surgery.plain_copy(small, report_layers(report))
    # only the copy's weights are written, so they alone must give the small model's logits
    with torch.no_grad():
        require_same_logits(logits_of(plain.model, ids), small(ids), not_the_weights(small))
    # the model that the config describes, without memory: it says which shapes from_pretrained will expect
    empty = surgery.empty_model(type(plain.model), plain.model.config)
    widths = {layer: surgery.n_inputs(plain.module(mlp.down)) for layer, mlp in plain.mlps.items()}
    for layer, mlp in plain.mlps.items():
        # all neurons that the layer has, then neurons of zeros up to the config's width
        surgery.cut_mlp(plain, layer, np.arange(widths[layer]), surgery.n_inputs(empty.get_submodule(mlp.down)))
    separate_biases, added_biases, flag = _fit_biases_to_config(plain, empty)
    arrays, described = report._pack_()
    # everything that load_pruned needs to undo what was done above; the keys are the file format
    about = {
        "report": described,
        "widths": {str(layer): width for layer, width in widths.items()},
        "mlps": {str(layer): mlp.about() for layer, mlp in plain.mlps.items()},
        "beside": sorted(separate_biases),
        "added": added_biases,
        "flag": flag,
        "attention": getattr(plain.model.config, "_attn_implementation", None),
        "architecture": small.adapter.cfg.architecture,
        "class": type(plain.model).__name__,
        "model_name": host.model_label(small),  # a name may be the path of a folder of this machine
        "prepend_bos": host.prepends_bos(small),
    }
    with files.full_disk_named(f"{folder} has no room for the pruned model", "make room and save again"):
        plain.model.save_pretrained(folder)
        if small.tokenizer is not None:
            small.tokenizer.save_pretrained(folder)
    # files of weights have no checksum of their own
    about["checksums"] = {path.name: files.checksum_of_file(path) for path in _weight_files(folder)}
    files.write_result(
        folder / FILE, "Pruned", arrays | {f"beside {name}": value for name, value in separate_biases.items()}, about
    )
    if separate_biases:
        warnings.warn(
            f"{type(plain.model).__name__} has no bias at the down projection, so the compensation is in {FILE}: "
            "fbn.load_pruned(folder) loads it, plain transformers runs without it",
            stacklevel=2,
        )


@checked
def load_pruned(folder: str | os.PathLike, *, device: str = "cpu") -> Any:
    """Load what ``small.save_pretrained(folder)`` wrote, as a bridge with the widths that it had.

    >>> small = fbn.prune(model, remove=network, progress=False)
    >>> small.save_pretrained("without-sort")
    >>> loaded = fbn.load_pruned("without-sort")
    >>> loaded.pruned
    Pruned tl_fbn-demo: 1,129 of 1,152 neurons left, 353,760 to 349,321 parameters (-1.3%)
    >>> prompt = "[INST] sort : b a [/INST]"
    >>> bool((loaded(prompt) == small(prompt)).all())
    True

    Args:
        folder: The folder that ``small.save_pretrained`` was given.
        device: Device to put the model on, e.g. ``"cuda"``.

    Returns:
        A bridge in eval mode. Its ``.pruned`` is the :class:`~tl_fbn.pruning.PruneReport` of the model that was saved,
        and ``.save_pretrained(folder)`` writes it again.

    Raises:
        FileNotFoundError: There is no pruned model in the folder.
        InputError: The folder is damaged: a file is not what was saved.

    Source: the format is that of this package; the method is functional network pruning, arXiv:2508.05239 (2025).
    """
    import transformers
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    host.require_device(device)
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"no {FILE} in {folder}; give the folder that small.save_pretrained(folder) was given")
    arrays, about = files.read_result(folder / FILE, "Pruned")
    _require_weights_as_saved(folder, about)
    kind: Any = getattr(transformers, about["class"], transformers.AutoModelForCausalLM)
    # the attention implementation that was saved: another one would round logits differently
    inner = kind.from_pretrained(folder, attn_implementation=about["attention"], dtype="auto").eval()
    mlps = {int(layer): surgery.Mlp.from_about(mlp) for layer, mlp in about["mlps"].items()}
    plain = surgery.Plain(inner, mlps, {})
    for layer in mlps:
        # the zeros stand at the end of each layer, so that cutting to its width takes exactly them off
        surgery.cut_mlp(plain, layer, np.arange(about["widths"][str(layer)]))
    # biases of zeros that were there only because the config's flag asked for them
    for name in about["added"]:
        _drop_tensor(inner, name)
    if about["flag"] is not None:
        setattr(inner.config, about["flag"], False)
    # biases that this package's own file holds
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
    # a folder of an earlier version does not say: as the architecture has it
    small.cfg.default_prepend_bos = bool(about.get("prepend_bos", host.prepends_bos(small)))
    small.eval()
    small.pruned = PruneReport._unpack_(arrays, about["report"])
    equip(small)
    return small


def _weight_files(folder: Path) -> list[Path]:
    """The files of weights that transformers reads in a folder, one or several shards."""
    return sorted(folder.glob("model*.safetensors"))


def _require_weights_as_saved(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise an error if weights were damaged since they were saved; earlier versions kept no checksums of them."""
    saved = about.get("checksums")
    if saved is None:
        return
    found = {path.name: files.checksum_of_file(path) for path in _weight_files(folder)}
    for name in sorted({*saved, *found}):
        if found.get(name) != saved.get(name):
            state = "is missing" if name not in found else "is not what was saved (its checksum changed)"
            raise InputError(f"{folder / name} {state}; save the pruned model again, or copy the folder anew")


def report_layers(report: PruneReport) -> list[int]:
    """Numbers of the layers that have neurons in the intact model.

    Args:
        report: The report of a pruned model; a layer of which no neuron is left counts, too.
    """
    return [layer for layer, width in enumerate(report.kept.space.widths) if width]


def _fit_biases_to_config(plain: surgery.Plain, empty: Any) -> tuple[dict[str, np.ndarray], list[str], str | None]:
    """Make the names of a plain model's tensors those that its config asks for.

    Returns:
        Biases that the config cannot express, by name (they are taken out of the model); names of the biases of zeros
        that the config's flag asked for (they are put in); and the name of that flag, None where none was set.
    """
    model = plain.model
    wanted = _shapes_by_name(empty)
    for name in set(_shapes_by_name(model)) - set(wanted):
        if not bool(_tensor_by_name(model, name).any()):
            _drop_tensor(model, name)  # a tensor of zeros adds nothing: the bridge's own bias of the unembedding
    # what is left and unknown to the config can only be the bias that compensation added
    extra = sorted(set(_shapes_by_name(model)) - set(wanted))
    compensation = {f"{mlp.down}.bias" for mlp in plain.mlps.values()}
    if foreign := [name for name in extra if name not in compensation]:
        raise InputError(
            f"{', '.join(foreign[:3])} are not in a plain {type(model).__name__}, so no folder can hold them; "
            "boot the model anew, without enable_compatibility_mode, and prune that"
        )
    separate_biases = {}
    added_biases = []
    flag = None
    if extra:
        flag_and_shapes = _bias_flag_and_shapes(model, set(extra))
        if flag_and_shapes is None:
            separate_biases = {name: _tensor_by_name(model, name).detach().float().cpu().numpy() for name in extra}
            for name in extra:
                _drop_tensor(model, name)
        else:
            flag, wanted = flag_and_shapes
            setattr(model.config, flag, True)
            # the flag also asks for biases that the model does not have (of up and gate, of other layers): zeros
            for name in sorted(set(wanted) - set(_shapes_by_name(model))):
                module = model.get_submodule(name.rsplit(".", 1)[0])
                module.bias = torch.nn.Parameter(module.weight.new_zeros(wanted[name]))
                added_biases.append(name)
    # from_pretrained fills missing tensors with random numbers, so every shape must be the config's
    shapes = _shapes_by_name(model)
    if wrong := [name for name in sorted(set(shapes) | set(wanted)) if shapes.get(name) != wanted.get(name)]:
        raise InputError(
            f"the config of {type(model).__name__} cannot say the shape of {wrong[0]} ({shapes.get(wrong[0])}, it says "
            f"{wanted.get(wrong[0])}); keep small.state_dict() instead"
        )
    return separate_biases, added_biases, flag


def _bias_flag_and_shapes(model: Any, extra: set[str]) -> tuple[str, dict[str, tuple[int, ...]]] | None:
    """The config's flag that adds these biases and nothing but biases, and all shapes under it; None without one."""
    have = set(_shapes_by_name(model))
    for flag in _BIAS_FLAGS:
        # tried on an empty model, because architectures differ in what a flag of one name does
        if getattr(model.config, flag, None) is False:
            config = copy.deepcopy(model.config)
            setattr(config, flag, True)
            wanted = _shapes_by_name(surgery.empty_model(type(model), config))
            if extra <= set(wanted) and all(name.endswith(".bias") for name in set(wanted) - have):
                return flag, wanted
    return None


def _shapes_by_name(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _tensor_by_name(model: Any, name: str) -> torch.Tensor:
    module, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(module), leaf)


def _drop_tensor(model: Any, name: str) -> None:
    """Take a parameter or buffer out of its module, which then has None in its place, like a Linear without a bias."""
    module, _, leaf = name.rpartition(".")
    owner = model.get_submodule(module)
    owner._buffers.pop(leaf, None)
    owner._parameters.pop(leaf, None)
    # None and not missing: torch's forward methods read self.bias
    owner.register_parameter(leaf, None)
