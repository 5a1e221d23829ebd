"""What the package asks of a model, in one place.

Any object with ``cfg``, ``hook_dict``, ``hooks()`` and ``__call__`` will do: TransformerLens's bridge (3.9 and 4.x),
its older HookedTransformer, or something like them. TransformerLens is not imported here; whoever loads a model
imports it.

A model always gets token ids and an attention mask, never strings. It is never moved to another device or switched
between training and evaluation mode, and hooks that are not of this package stay on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import torch

from tl_fbn.acquisition.model.model_names import name_of_source
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import Kind

# setting of a bridge: what its weights were packed in; "label" says to keys that it decides nothing of a pass
PACKED = "packed_label"
FIRED = "_tl_fbn_fired"  # attribute of a hook point, while it is watched: the digests of the edits that acted there

if TYPE_CHECKING:

    class HookedModel(Protocol):
        """What this package asks of a model; TransformerLens's bridges and its HookedTransformer have it.

        Args:
            cfg: The model's configuration, of which ``n_layers``, ``n_ctx``, ``d_vocab`` and ``model_name`` are read if
                present.
            hook_dict: Hook names to hook points.
        """

        cfg: Any

        @property
        def hook_dict(self) -> Mapping[str, Any]: ...

        def hooks(self, fwd_hooks: Any = ..., bwd_hooks: Any = ...) -> AbstractContextManager[Any]: ...

        def parameters(self) -> Iterator[torch.nn.Parameter]: ...

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    # at run time a model is what can be hooked, whatever its class; tl_fbn.signatures reads the kind
    HookedModel = Annotated[
        Any,
        Kind(
            lambda value: not _lacking(value),
            "a TransformerLens model",
            says=lambda value: _refusal(value, _lacking(value)),
        ),
    ]


@runtime_checkable
class Edit(Protocol):
    """A hook function of this package that changes activations; a recording made under it keeps its digest."""

    @property
    def digest(self) -> str:
        """Digest of everything that the change depends on."""
        ...


def require_model(model: HookedModel) -> None:
    """Raise an error unless this package can hook the model.

    Args:
        model: What was given as a model.

    Raises:
        InputTypeError: It lacks something of :class:`HookedModel`; the message says what.
    """
    if missing := _lacking(model):
        raise InputTypeError(_refusal(model, missing))


def _lacking(model: Any) -> list[str]:
    """What a model needs and this one has not."""
    missing = [name for name in ("cfg", "hook_dict", "hooks") if not hasattr(model, name)]
    return missing or ([] if callable(model) else ["__call__"])


def _refusal(model: Any, missing: Sequence[str]) -> str:
    """The sentence that refuses what is no model."""
    return (
        f"{type(model).__name__} cannot be hooked (it has no {', '.join(missing)}); give a TransformerLens model, "
        "e.g. TransformerBridge.boot_transformers(name)"
    )


def require_eval(model: HookedModel, what: str) -> None:
    """Raise an error if the model is in training mode and would drop out activations at random.

    Args:
        model: The model.
        what: What needs a deterministic model, as the beginning of the message.

    Raises:
        InputError: A part of the model drops out.
    """
    roots = [root for root in (model, inner_model(model)) if isinstance(root, torch.nn.Module)]
    for root in roots:
        for name, module in root.named_modules():
            if module.training and _is_random(module):
                raise InputError(
                    f"{what} needs a deterministic model, but {name or 'the model'} is in training mode with dropout "
                    f"p={module.p:g}; call model.eval() first"  # pyright: ignore[reportAttributeAccessIssue]
                )
        # some architectures drop out inside attention, from the config, without a Dropout module
        config = getattr(root, "config", None)
        rates = {key: value for key, value in vars(config).items() if _is_dropout_rate(key, value)} if config else {}
        if rates and any(module.training for module in root.modules()):
            raise InputError(
                f"{what} needs a deterministic model, but it is in training mode with {rates}; call model.eval() first"
            )


def _is_random(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.p > 0


def _is_dropout_rate(key: str, value: Any) -> bool:
    # heads for classification keep their own rate in the config of models that have no such head
    return "drop" in key and not key.startswith(("classifier", "summary")) and isinstance(value, float) and value > 0


def tokenizer_of(model: HookedModel) -> Any:
    """The model's tokenizer; None where it has none."""
    return getattr(model, "tokenizer", None)


def blocks_of(model: HookedModel) -> Any:
    """The model's blocks, one for each layer, as the host holds them."""
    return getattr(model, "blocks")  # noqa: B009  (no part of what every host must have)


def inner_model(model: HookedModel) -> Any:
    """The Hugging Face model inside a bridge; None for a model of another sort."""
    return getattr(model, "original_model", None)


def model_label(model: HookedModel) -> str:
    """The model's name, for people to read; never part of a key."""
    return name_of_source(str(getattr(model.cfg, "model_name", None) or type(model).__name__))


def rounding_tolerance(model: HookedModel) -> float:
    """How far two ways of running a model may lie apart and still be the same but for rounding.

    Args:
        model: The model.

    Returns:
        A share of the spread of its logits, or nats: half precision has some three digits.
    """
    return 1e-3 if next(model.parameters()).dtype == torch.float32 else 5e-2


def number_type(model: HookedModel) -> str | None:
    """What a model computes in, and what its weights were packed in: ``"bfloat16 (unpacked from Q4_1)"``.

    Args:
        model: The model.

    Returns:
        The floating type of most of its weights, in words; None for a model without any.
    """
    numbers: dict[str, int] = {}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            name = str(parameter.dtype).removeprefix("torch.")
            numbers[name] = numbers.get(name, 0) + parameter.numel()
    if not numbers:
        return None
    unpacked = getattr(model.cfg, PACKED, None)
    # weights that stay packed in memory are computed with in the type of those that are not
    packing = getattr(getattr(inner_model(model), "config", None), "quantization_config", None)
    method = packing.get("quant_method") if isinstance(packing, Mapping) else getattr(packing, "quant_method", None)
    how = f"unpacked from {unpacked}" if unpacked else f"packed by {getattr(method, 'value', method)}" if method else ""
    most = max(numbers, key=numbers.__getitem__)
    return f"{most} ({how})" if how else most


def model_device(model: HookedModel) -> torch.device:
    """Where token ids go: the device of the first parameter (the embedding, also on models split over devices)."""
    return next(model.parameters()).device


def require_device(device: str) -> None:
    """Raise an error unless PyTorch knows a device and this machine has it.

    Args:
        device: Name of the device, e.g. ``"cpu"`` or ``"cuda:1"``.

    Raises:
        InputError: There is no such device.
    """
    kind = device.partition(":")[0]
    try:
        torch.empty(0, device=device)
        reason = "it holds no numbers" if kind == "meta" else ""
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:  # unknown, not there, not built in
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        reason = "there is no CUDA GPU here"
    if reason:
        raise InputError(f"device {device!r} cannot be used ({reason}); give cpu, cuda, cuda:0 ... or leave it out")


def context_length(model: HookedModel) -> int | None:
    """Number of tokens that the model's context holds; None where the configuration does not say."""
    return getattr(model.cfg, "n_ctx", None)


def vocabulary_size(model: HookedModel) -> int | None:
    """Number of token ids that the model knows; None where the configuration does not say."""
    size = getattr(model.cfg, "d_vocab", None)
    return size if isinstance(size, int) and size > 0 else None


def prepends_bos(model: HookedModel, asked: bool | None = None) -> bool:
    """Whether the beginning-of-text token is put before strings: as asked, else as the host does.

    TransformerLens knows which architectures were trained without one (``cfg.default_prepend_bos``). A host that does
    not say gets one.

    Args:
        model: The model, or its tokenizer alone, which does not say.
        asked: What the caller's ``prepend_bos=`` says; None follows the host.

    Raises:
        InputError: ``asked`` is no truth value, or True where the tokenizer has no such token that the model knows.
    """
    if asked is None:
        return bool(getattr(getattr(model, "cfg", None), "default_prepend_bos", True))
    if not isinstance(asked, bool):
        raise InputError(f"prepend_bos={asked!r} must be True, False, or None to do as the host does")
    if asked:
        tokenizer = getattr(model, "tokenizer", model)
        bos = getattr(tokenizer, "bos_token_id", None)
        size = vocabulary_size(model) if hasattr(model, "cfg") else None
        if bos is None or (size is not None and bos >= size):
            raise InputError(
                "prepend_bos=True, but the tokenizer has no beginning-of-text token that the model knows; leave it "
                "out, or set tokenizer.bos_token"
            )
    return asked


def follow_settings(made: Any, model: HookedModel) -> None:
    """Give a bridge that was made of another the settings that an architecture decides and a user may have changed.

    Args:
        made: The new bridge.
        model: The model that it was made of.
    """
    # an adapter sets it anew for its architecture whenever a bridge is built
    made.cfg.default_prepend_bos = prepends_bos(model)
    if (packed := getattr(model.cfg, PACKED, None)) is not None:
        setattr(made.cfg, PACKED, packed)


def end_tokens(model: HookedModel) -> list[int]:
    """Ids of the tokens that end a text, of the tokenizer and of the model's configurations together; ascending."""
    tokenizer = tokenizer_of(model)
    inner = inner_model(model)
    sources = (tokenizer, getattr(inner, "config", None), getattr(inner, "generation_config", None))
    given = [getattr(source, "eos_token_id", None) for source in sources if source is not None]
    ids = {int(token) for ends in given if ends is not None for token in (ends if isinstance(ends, list) else [ends])}
    size = vocabulary_size(model)
    return sorted(token for token in ids if token >= 0 and (size is None or token < size))


def may_stop_early(model: Any) -> bool:
    """Whether a forward pass may be ended by an exception once the last recorded hook has run, to save time.

    It may not where a user's hooks wait in later layers, nor where accelerate moves weights after each module.

    Args:
        model: The model.
    """
    moved = any(hasattr(module, "_hf_hook") for module in model.modules()) if hasattr(model, "modules") else True
    return not moved and not foreign_hooks(model)


def fwd_hook_functions(model: HookedModel) -> list[tuple[str, Any]]:
    """Every forward hook now on the model, as (name of the hook point, the function that was given)."""
    found = []
    seen: set[int] = set()
    for name, point in model.hook_dict.items():
        if id(point) in seen:  # a bridge lists hook points under several names
            continue
        seen.add(id(point))
        found += [(name, function) for function in functions_on(point).values()]
    return found


def functions_on(point: Any) -> dict[int, Any]:
    """The functions that were given to one hook point, by torch's number of the hook.

    TransformerLens wraps each function before it gives it to torch. Since 4.3 it keeps the function beside the
    handle; in earlier versions it is only in the closure of the wrapper.

    Args:
        point: The hook point.
    """
    handles = getattr(point, "fwd_hooks", [])
    known = {handle.hook.id: function for handle in handles if (function := getattr(handle, "user_hook", None))}
    return {number: known.get(number) or unwrapped(hook) for number, hook in point._forward_hooks.items()}


def unwrapped(function: Any) -> Any:
    """The function inside the wrapper that a hook point gives to torch; any other function as it is.

    Args:
        function: A function that torch calls.
    """
    # the wrapper is a closure over the function, under the name ``hook``
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    found = [cell.cell_contents for name, cell in zip(names, cells, strict=True) if name == "hook"]
    return found[0] if found else function


def active_edits(model: HookedModel) -> list[str]:
    """Hook point and digest of every intervention of this package on the model, in the order in which they act.

    One that changes nothing, as a gain of 1 does, is not listed.
    """
    edits = [(name, one) for name, one in fwd_hook_functions(model) if isinstance(one, Edit)]
    return [f"{name} {edit.digest}" for name, edit in edits if not getattr(edit, "changes_nothing", False)]


def foreign_hooks(model: HookedModel) -> list[tuple[str, Any]]:
    """Forward hooks that are not of this package, as (name of the hook point, the function that was given)."""
    return [(name, function) for name, function in fwd_hook_functions(model) if not isinstance(function, Edit)]


def pad_batch(
    sequences: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids of several texts as one array, padded on the right with zeros.

    Args:
        sequences: Token ids of every text.
        device: Device of the result.

    Returns:
        Token ids (batch, pos), attention mask (batch, pos), and the flat indices of the real tokens in (batch pos).
    """
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids.to(device), mask.to(device), torch.nonzero(mask.flatten()).flatten().to(device)


def forward(
    model: HookedModel, ids: torch.Tensor, mask: torch.Tensor, *, return_type: str | None = "logits"
) -> torch.Tensor | None:
    """One forward pass over token ids that are padded on the right.

    Args:
        model: The model.
        ids: (batch, pos) token ids.
        mask: (batch, pos) 1 for tokens, 0 for padding.
        return_type: ``"logits"``, or None where only the hooks are of interest.
    """
    # a mask of ones says nothing
    if bool(mask.all()):
        return model(ids, return_type=return_type)
    return model(ids, attention_mask=mask, return_type=return_type)
