"""Settings that decide what a model computes and are no weights: activation functions, epsilons, scalings, precision.

Two models with equal weights are not one model where the norm's epsilon, the activation function, the rotary scaling
or the precision of matrix products differ, or where an adapter is switched off. Such settings are read from

- the configurations, TransformerLens's and Hugging Face's (``cfg.act_fn``, ``config.rope_parameters``),
- the modules: numbers, switches, words and functions that hang on them, and the name of each one's class
  (``module.eps``, ``module.class``), and a ``forward`` that is not its class's own (``module.forward``),
- PyTorch: autocast and the precision of float32 products (``torch.autocast``).

A setting is known by its name, over all modules together: where modules agree, the value is kept as it is, so that a
message can show it, and where they differ a digest of who has which. Names that cannot change a forward pass in
evaluation mode are left out (:data:`_NO_MATTER`): labels, paths, devices, dropout, caches, flags of hooks.

What it does not do: look into code. A function of a library is known by its name, one of the user's by its bytecode,
and what code does beyond that shows in the numbers of a pass (:mod:`tl_fbn.acquisition.model.fingerprint`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import types
from collections.abc import Iterator
from typing import Any

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.hidden_weights import named_modules
from tl_fbn.acquisition.model.host import HookedModel

Settings = dict[str, str]

# parts of names that do not matter to what a model in evaluation mode computes
_NO_MATTER = re.compile(
    r"hook|grad|drop|device|path|cache|training|checkpoint|initiali[sz]|init_|version|token_id|seed|tokenizer|padding"
    r"|model_name|architecture|label|return_dict|output_attentions|output_hidden|_implementation|problem_type|commit"
    r"|wired|wrapped|processed|prepend|appends|trust_remote|load_in|n_devices|compatibility_mode|context_level"
    r"|backward_|warn|verbose|inplace|^_?name$|^p$|^optional$|^task_specific|^finetuning_task|^_?is_loaded"
    r"|_plan$|^_keys_|^_keep_|^_no_split|tied_weights_keys|alias|submodules|real_components|kernel_config|loss_type|n_params"
)
# whole numbers are settings only by these parts of names: others are sizes, which weights show, or counters
_COUNTS = re.compile(r"window|top_?k|group|head|layer_idx|rotary|repeat|chunk|span|bits|zero_point|expert|factor|norm")
# hooks and functions of these are part of the model as it was loaded, not of what a user did to it
LIBRARIES = ("torch", "transformers", "transformer_lens", "accelerate", "peft", "kernels", "bitsandbytes", "torchao")
_CHECKERS = ("jaxtyping", "beartype")
_SKIPPED_CLASSES = ("HookPoint",)  # they carry activations and compute nothing
_SCALARS = (bool, int, float, str, torch.dtype)
_OWN_ATTRIBUTES = frozenset(vars(torch.nn.Module()))  # what every module has


def settings_of(model: HookedModel) -> Settings:
    """Every setting that may change what the model computes, by name.

    Args:
        model: The model.

    Returns:
        Name of a setting to its value in words, or to a digest where it is long or modules differ in it.
    """
    inner = host.inner_model(model)
    found = {**_of_torch(model), **_of_config("cfg", model.cfg)}
    if inner is not None:
        found |= _of_config("config", getattr(inner, "config", None))
    gathered: dict[str, list[tuple[str, str]]] = {}
    for place, module in named_modules(inner, model):
        if type(module).__name__ not in _SKIPPED_CLASSES:
            for name, value in _of_module(module):
                gathered.setdefault(f"module.{name}", []).append((place, value))
    return found | {name: _in_short(values) for name, values in gathered.items()}


def defined_in(function: Any) -> str:
    """Name of the module whose code a function runs, through ``functools.partial`` and bound methods.

    Args:
        function: A function, or an object that can be called.
    """
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    # __module__ can be copied from another function (functools.wraps); the globals are those of the code
    names = getattr(function, "__globals__", None)
    if names is not None:
        name = str(names.get("__name__", ""))
        # checkers of annotations wrap a function and add nothing to what it computes
        if name.split(".")[0] in _CHECKERS and hasattr(function, "__wrapped__"):
            return defined_in(function.__wrapped__)
        return name
    return str(getattr(function, "__module__", None) or type(function).__module__)


def is_of_library(function: Any) -> bool:
    """Whether a function's code is one of :data:`LIBRARIES`."""
    return defined_in(function).split(".")[0] in LIBRARIES


def _of_torch(model: HookedModel) -> Settings:
    """What PyTorch is told for the whole process: automatic casts, and how exact products of float32 are."""
    kind = host.model_device(model).type
    automatic = torch.is_autocast_enabled(kind)
    cast = str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if automatic else "off"
    return {"torch.autocast": cast, "torch.float32_matmul_precision": _matmul_precision()}


def _matmul_precision() -> str:
    """How exact products of float32 are, on any device: the least exact of what the interfaces of PyTorch say."""
    said = []
    with contextlib.suppress(RuntimeError):  # the newer interface, below, was used instead
        said.append(torch.get_float32_matmul_precision())
    for backend in ("cuda", "mkldnn"):
        matmul = getattr(getattr(torch.backends, backend, None), "matmul", None)
        said.append(str(getattr(matmul, "fp32_precision", "none")))
    # "none", "ieee" and "highest" are the full precision
    reduced = sorted({one for one in said if one not in ("none", "ieee", "highest")})
    return " ".join(reduced) or "highest"


def _of_config(prefix: str, config: Any) -> Settings:
    """The settings of a configuration object."""
    entries = vars(config).items() if hasattr(config, "__dict__") else ()
    chosen = [(name, value) for name, value in entries if not _NO_MATTER.search(name) and "dtype" not in name]
    values = ((name, _in_words(value)) for name, value in chosen)
    return {f"{prefix}.{name}": _in_short([("", value)]) for name, value in values if value is not None}


def _of_module(module: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """Name and value, in words, of everything that hangs on a module and may change what it computes."""
    kind = type(module)
    yield "class", f"{kind.__module__}.{kind.__qualname__}"
    forward = vars(module).get("forward") or kind.forward
    if not _is_own(forward, kind):
        yield "forward", _function_in_words(forward)
    for name, value in vars(module).items():
        # None is a value that is not there; that of a hook's last activation would come and go
        if value is not None and _matters(name) and (type(value) is not int or _COUNTS.search(name)):
            words = _in_words(value)
            if words is not None:
                yield name, words


@functools.cache
def _matters(name: str) -> bool:
    """Whether an attribute of a module may be a setting, by its name."""
    return not (name in _OWN_ATTRIBUTES or name == "forward" or _NO_MATTER.search(name))


@functools.cache
def _families(kind: type) -> frozenset[str]:
    """The packages that a class and its parents are of, and those that may put a ``forward`` on it."""
    return frozenset({parent.__module__.split(".")[0] for parent in kind.__mro__} | {*LIBRARIES, "tl_fbn"})


def _is_own(forward: Any, kind: type) -> bool:
    """Whether a ``forward`` is the class's own, or was put there by a library or this package."""
    return defined_in(forward).split(".")[0] in _families(kind) - {"builtins"}


def _in_words(value: Any) -> str | None:
    """A value as text that is equal for equal values; None for what is no setting."""
    if value is None or isinstance(value, _SCALARS):
        return str(value)
    if isinstance(value, (dict, list, tuple, set)):
        try:
            plain = sorted(value) if isinstance(value, set) else value
            return json.dumps(plain, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            return None  # holds objects: modules, tensors
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)):
        return _function_in_words(value)
    return None


def _function_in_words(function: Any) -> str:
    """A function as text: of a library by its name, of a user's by its code and the values it was made with."""
    if isinstance(function, functools.partial):
        given = (*function.args, *function.keywords.values())
        bound = [_in_words(value) or type(value).__qualname__ for value in given]
        return f"{_function_in_words(function.func)} {bound}"
    function = getattr(function, "__func__", function)
    name = f"{defined_in(function)}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    code = getattr(function, "__code__", None)
    if code is None or is_of_library(function):
        return name
    cells = [_in_words(_content_of(cell)) for cell in getattr(function, "__closure__", None) or ()]
    content = f"{_code_in_words(code)} {cells} {function.__defaults__}"
    return f"{name} {hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _code_in_words(code: types.CodeType) -> str:
    """Bytecode, names and constants of a function, those of functions inside it among them."""
    constants = [_code_in_words(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _in_short(values: list[tuple[str, str]]) -> str:
    """One text for the values that a setting has at several places."""
    different = {value for _, value in values}
    if len(different) == 1 and len(only := different.pop()) <= 60:
        return only
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]
