"""What a direction of the residual stream adds to the logits by itself, through final norm and unembedding.

The direct effect of a unit is read off the weights: its outgoing direction w, times the gain g of the final norm, times
the unembedding U, is the change of the logits per unit of activation, up to the norm's own scale, which is one positive
number for all words. It is an approximation: what later layers make of w is left out, and so is what w changes in the
scale. Elhage et al. (2021) and Geva et al. (2022) read weights in this way.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.host import HookedModel, blocks_of
from tl_fbn.errors import InputError

_NEURON_SITES = ("mlp.neurons", "mlp.pre", "mlp.up")
_STREAM_SITES = ("mlp.out", "attn.out", "resid.pre", "resid.mid", "resid.post")


def outgoing(
    model: HookedModel, site: str, layer: int, units: Int[np.ndarray, " unit"]
) -> Float[torch.Tensor, "unit d_model"]:
    """What units add to the residual stream per unit of their activation.

    Args:
        model: The model.
        site: Site of the units: a site of MLP neurons, whose output weights are read, or one whose units are
            coordinates of the stream.
        layer: Number of the layer that they are in.
        units: Numbers in the layer.

    Raises:
        InputError: A site whose units have no direction of their own, such as attention heads.
    """
    if site in _NEURON_SITES:
        # row k of W_out is what neuron k adds
        weights = blocks_of(model)[layer].mlp.W_out.detach()
        return weights[torch.from_numpy(units).to(weights.device)].float()
    if site in _STREAM_SITES:
        directions = torch.zeros(len(units), model.cfg.d_model)
        directions[torch.arange(len(units)), torch.from_numpy(units)] = 1
        return directions
    allowed = ", ".join((*_NEURON_SITES, *_STREAM_SITES))
    raise InputError(f"units of {site} have no direction in the residual stream; sites that have one: {allowed}")


def logits_of(
    model: HookedModel, directions: Float[torch.Tensor, "direction d_model"]
) -> Float[torch.Tensor, "direction vocab"]:
    """Change of the logits per unit of each direction, up to one positive factor; mean 0 over the vocabulary.

    Args:
        model: The model; hooks on its final norm and unembedding see these passes.
        directions: Directions of the residual stream.
    """
    norm = getattr(model, "ln_final", None)
    with torch.no_grad():
        scaled = directions if norm is None else directions * _gain(norm, directions.shape[1], model).to(directions)
        if norm is not None and _centres(norm, directions.shape[1], model):
            scaled = scaled - _gain(norm, directions.shape[1], model).to(directions) * directions.mean(1, keepdim=True)
        unembed = getattr(model, "unembed")  # noqa: B009  (no part of what every host must have)
        like = next(model.parameters())
        inputs = torch.cat([torch.zeros_like(scaled[:1]), scaled]).to(like.device, like.dtype)
        logits = unembed(inputs[None])[0].float()
    # without what the unembedding adds to nothing: its bias
    change = (logits[1:] - logits[:1]).cpu()
    return change - change.mean(1, keepdim=True)


def _responses(norm: torch.nn.Module, inputs: torch.Tensor, model: HookedModel) -> torch.Tensor:
    """What a norm gives for inputs (row, d_model), less what it gives for zeros."""
    like = next(model.parameters())
    both = torch.cat([torch.zeros_like(inputs[:1]), inputs]).to(like.device, like.dtype)
    given = norm(both[None])[0].float().cpu()
    return given[1:] - given[:1]


def _gain(norm: torch.nn.Module, width: int, model: HookedModel) -> torch.Tensor:
    """Gain of a norm in each coordinate, whatever its weights are called and however they enter (Gemma adds 1).

    A large number in one coordinate leaves the norm as the gain there, times the square root of the width (RMS), or of
    the width less one (with centring).
    """
    spikes = 1e3 * torch.eye(width)
    given = _responses(norm, spikes, model).diagonal()
    return given / np.sqrt(width - 1 if _centres(norm, width, model) else width)


def _centres(norm: torch.nn.Module, width: int, model: HookedModel) -> bool:
    """Whether a norm takes the mean off: then one large number moves the other coordinates, too."""
    spike = torch.zeros(1, width)
    spike[0, 0] = 1e3
    return bool(_responses(norm, spike, model)[0, 1:].abs().max() > 1e-3)
