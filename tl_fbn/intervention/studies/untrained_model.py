"""A model that was never trained: what is found in it owes nothing to training."""

from __future__ import annotations

import copy
from typing import Any

import torch

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, inner_model, tokenizer_of
from tl_fbn.errors import InputTypeError
from tl_fbn.signatures import checked


@checked
def untrained(model: HookedModel, *, seed: int) -> Any:
    """A model of the same architecture and tokenizer with random weights.

    What a localiser finds in it owes nothing to training.

    >>> twin = fbn.studies.untrained(model, seed=0)
    >>> twin_recording = fbn.Scanner(twin).scan(design, "recordings/untrained", progress=False)
    >>> twin_contrast = fbn.fit_glm(twin_recording).contrast("sort - reverse")
    >>> len(twin_contrast.threshold(top=0.02)) == len(network)  # the largest 2 % exist without any training
    True

    Args:
        model: A TransformerLens bridge around a Hugging Face model, or a native bridge.
        seed: Seed of the random weights, which are drawn as the architecture initialises itself.

    Returns:
        A model in eval mode, on the device and in the precision of the given one.

    Raises:
        InputTypeError: TransformerLens offers no way to make another model of this kind.
    """
    inner = inner_model(model)
    with torch.random.fork_rng():  # the random numbers of the rest of the session go on as if nothing was drawn here
        torch.manual_seed(seed)
        if inner is not None and hasattr(inner, "config") and hasattr(type(inner), "_from_config"):
            from transformer_lens.model_bridge.sources import build_bridge_from_module

            fresh = type(inner)(inner.config)
            fresh.to(dtype=next(model.parameters()).dtype, device=host.model_device(model))
            made = build_bridge_from_module(
                fresh.eval(), type(inner).__name__, hf_config=inner.config, tokenizer=tokenizer_of(model)
            )
            host.follow_settings(made, model)
            return made.eval()
        if hasattr(type(model), "boot_native") and inner is not None and not hasattr(inner, "config"):
            config = copy.deepcopy(model.cfg)
            config.seed = seed
            native: Any = type(model)
            return native.boot_native(config).eval()
    raise InputTypeError(
        f"{type(model).__name__} cannot be made again untrained; give a TransformerBridge around a Hugging Face "
        "model, or make one with random weights yourself"
    )
