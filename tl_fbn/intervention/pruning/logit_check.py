"""Do two models compute the same? The check that every change of weights has to pass.

Both models read the same probe, token ids (batch, pos), and the largest absolute difference of their logits must be
rounding error:

    max |found - wanted| <= max(1e-4, 8 eps) x max(1, max |wanted|)

with eps the spacing of numbers around 1 in the dtype of the logits (float32: 1e-7, bfloat16: 0.008). The tolerances are
our choice.

Cost: one forward pass of each model. A probe of random tokens shows that the arithmetic is the same; it does not show
what the model can do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.arguments import number_array
from tl_fbn.errors import InputError
from tl_fbn.kinds import shown

TOLERANCE = 1e-4  # of logits in float32, relative where they are larger than 1


def probe_ids(
    model: HookedModel, probe: Sequence[Sequence[int]] | torch.Tensor | None
) -> Int[torch.Tensor, "batch pos"]:
    """The token ids that models are compared on.

    Args:
        model: A TransformerLens model.
        probe: Token ids (batch, pos) of the caller's; None for two sequences of random tokens, of 16 tokens or the
            length of the context if that is shorter, which are the same in every call.

    Returns:
        (batch, pos) token ids, on the model's device.

    Raises:
        InputError: The probe is no table of token ids of the model.
    """
    if probe is not None:
        ids = number_array(probe, "probe")
        last = (host.vocabulary_size(model) or 2**31) - 1
        if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu":
            raise InputError(f"probe= must be (batch, pos) token ids; got {shown(probe)}")
        if ids.min() < 0 or ids.max() > last:
            raise InputError(f"probe= has token ids {ids.min()} to {ids.max()}, the vocabulary is 0 to {last}")
        return torch.as_tensor(ids, dtype=torch.long, device=host.model_device(model))
    length = min(16, host.context_length(model) or 16)
    random = torch.Generator().manual_seed(0)
    return torch.randint(host.vocabulary_size(model) or 2, (2, length), generator=random).to(host.model_device(model))


def logits_of(model: HookedModel, ids: Int[torch.Tensor, "batch pos"]) -> torch.Tensor:
    """Logits of a bridge or of a plain Hugging Face model.

    Args:
        model: The model that was made smaller.
        ids: (batch, pos) token ids.

    Returns:
        (batch, pos, vocabulary) logits.

    Raises:
        InputError: The model does not run, because shapes in it no longer fit.
    """
    try:
        with torch.no_grad():
            out = model(ids)
    except RuntimeError as error:
        raise InputError(
            f"the pruned model does not run ({error}): something in its MLP besides the projections is as wide "
            "as they are"
        ) from error
    # a bridge returns logits, a Hugging Face model an object that holds them
    return out if isinstance(out, torch.Tensor) else out.logits


def require_same_logits(found: torch.Tensor, wanted: torch.Tensor, otherwise: str) -> float:
    """Raise an error where logits differ by more than rounding.

    Args:
        found: (batch, pos, vocabulary) logits of the changed model.
        wanted: (batch, pos, vocabulary) logits of the model that it must equal.
        otherwise: The message of the error, to which the numbers are added.

    Returns:
        The largest absolute difference of logits.

    Raises:
        InputError: The difference is larger than rounding, or is no number.
    """
    # logits that are equal differ by 0, also where both are -inf: a token that the model rules out
    apart = (found.double() - wanted.double()).abs()
    difference = float(torch.where(found == wanted, 0.0, apart).max())
    # 8 eps decides in half precision, 1e-4 in float32; both relative where logits are larger than 1
    limit = max(TOLERANCE, 8 * torch.finfo(wanted.dtype).eps) * max(1.0, _largest_finite(wanted))
    # "not <=" and not ">": a difference of nan is an error, too
    if not difference <= limit:
        raise InputError(f"{otherwise} (logits differ by {difference:.2g}, allowed {limit:.2g})")
    return difference


def _largest_finite(logits: torch.Tensor) -> float:
    """The largest magnitude of the logits that are finite; 0 where none is."""
    finite = logits[logits.isfinite()].double().abs()
    return float(finite.max()) if finite.numel() else 0.0


def not_the_weights(model: HookedModel) -> str:
    """The message for a model whose logits are not those of its own weights: the reason, and what to do.

    Args:
        model: The bridge.
    """
    if getattr(model, "compatibility_mode", False):
        why = "compatibility mode folded them"
        then = "Boot the model anew, without enable_compatibility_mode, and prune that"
    else:
        why = "hooks change it, or they were edited apart"
        then = "Leave with blocks, call model.reset_hooks(), or boot it anew"
    return f"{host.model_label(model)} does not compute what the weights inside it say: {why}. {then}"
