"""Whether a host computes what the model is: logits of the bridge against those of transformers, at load.

TransformerLens takes a Hugging Face model apart and puts its own modules in the place of many. For a family that it
knows badly the logits differ from the model's own, and nothing says so. The model's own logits are there for the price
of one short forward pass, between the moment transformers has loaded it and the moment the bridge takes it apart.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

# largest root mean square difference of logits that passes, as a share of their standard deviation; our choice
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
_N_TOKENS = 12
_STRIDE = 7919  # a prime: the probe's ids are spread over the vocabulary without repeating


class Remembering:
    """Stands in for the Hugging Face class that a bridge loads, and keeps what the model says on a probe.

    Args:
        kind: The class, of which only ``from_pretrained`` is used.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        # (pos, vocabulary), None until a model was loaded that gives logits for token ids
        self.logits: torch.Tensor | None = None

    def from_pretrained(self, name: str, **options: Any) -> Any:
        """Load the model as its class does, and run it once on the probe.

        Args:
            name: Name or folder of the model.
            **options: Config, number type and whatever else the class takes; they are passed on to it.
        """
        model = self._kind.from_pretrained(name, **options)
        try:
            self.logits = _logits(model.eval(), model.config.get_text_config().vocab_size)
        # models that need more than token ids; the bridge decides whether they can be used
        except (AttributeError, TypeError, ValueError, RuntimeError):
            self.logits = None
        return model


def warn_of_other_logits(bridge: Any, own: torch.Tensor | None, name: str) -> float | None:
    """Compare a bridge with the model that it was made of, and warn where they differ.

    Args:
        bridge: The bridge, in eval mode and without compatibility mode, which changes logits by design.
        own: Logits (pos, vocabulary) of the model before the bridge took it apart; None compares nothing.
        name: The model's name, for the warning.

    Returns:
        Root mean square difference of the logits as a share of their standard deviation; None where nothing could be
        compared.
    """
    if own is None:
        return None
    found = _logits(bridge, own.shape[-1])
    if found.shape != own.shape:
        warnings.warn(f"{name}: TransformerLens gives logits of another shape than transformers", stacklevel=3)
        return None
    spread = own.double().std().item()
    share = (found.double() - own.double()).square().mean().sqrt().item() / spread if spread else 0.0
    allowed = TOLERANCE.get(next(bridge.parameters()).dtype, TOLERANCE[torch.float32])
    if not share <= allowed:  # a NaN is no agreement
        warnings.warn(
            f"{name}: logits of TransformerLens differ from those of transformers by {share:.2g} of their spread "
            f"(up to {allowed:g} is rounding), so this is not the published model: check that TransformerLens "
            "supports this family before anything is concluded",
            stacklevel=3,
        )
    return share


def _logits(model: Any, vocabulary: int) -> torch.Tensor:
    """Logits (pos, vocabulary) of a fixed probe, in float32 on the CPU."""
    ids = torch.tensor([[(_STRIDE * place + 1) % vocabulary for place in range(_N_TOKENS)]])
    with torch.no_grad():
        said = model(ids.to(next(model.parameters()).device))
    logits = said if isinstance(said, torch.Tensor) else said.logits
    return logits[0].float().cpu()
