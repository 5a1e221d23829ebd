"""Do two models say the same? Logits on a probe, to rounding: what every surgery on weights is checked by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.errors import InputError

TOLERANCE = 1e-4  # of logits in float32, relative where they are larger than 1


def probe_ids(
    model: HookedModel, probe: Sequence[Sequence[int]] | torch.Tensor | None
) -> Int[torch.Tensor, "batch pos"]:
    if probe is not None:
        return torch.as_tensor(probe, dtype=torch.long, device=host.model_device(model))
    length = min(16, host.context_length(model) or 16)
    random = torch.Generator().manual_seed(0)
    return torch.randint(host.vocabulary_size(model) or 2, (2, length), generator=random).to(host.model_device(model))


def logits_of(model: HookedModel, ids: Int[torch.Tensor, "batch pos"]) -> torch.Tensor:
    try:
        with torch.no_grad():
            out = model(ids)
    except RuntimeError as error:
        raise InputError(
            f"the pruned model does not run ({error}): something in its MLP besides the projections is as wide as they are"
        ) from error
    return out if isinstance(out, torch.Tensor) else out.logits


def require_same_logits(found: torch.Tensor, wanted: torch.Tensor, otherwise: str) -> float:
    """Largest difference of logits; an error where it is more than rounding."""
    difference = float((found.double() - wanted.double()).abs().max())
    limit = max(TOLERANCE, 8 * torch.finfo(wanted.dtype).eps) * max(1.0, float(wanted.double().abs().max()))
    if not difference <= limit:
        raise InputError(f"{otherwise} (logits differ by {difference:.2g}, allowed {limit:.2g})")
    return difference


def not_the_weights(model: HookedModel) -> str:
    if getattr(model, "compatibility_mode", False):
        why = "compatibility mode folded them"
        then = "Boot the model anew, without enable_compatibility_mode, and prune that"
    else:
        why = "hooks change it, or they were edited apart"
        then = "Leave with blocks, call model.reset_hooks(), or boot it anew"
    return f"{host.model_label(model)} does not compute what the weights inside it say: {why}. {then}"
