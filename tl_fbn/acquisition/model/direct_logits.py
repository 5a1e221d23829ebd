"""What a direction of the residual stream adds to the logits by itself, through final norm and unembedding.

The direct effect of a unit is read off the weights: its outgoing direction w, times the gain g of the final norm, times
the unembedding U, is the change of the logits per unit of activation, up to the norm's own scale, which is one positive
number for all words. It is an approximation: what later layers make of w is left out, and so is what w changes in the
scale. Elhage et al. (2021) and Geva et al. (2022) read weights in this way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.host import HookedModel, blocks_of
from tl_fbn.acquisition.model.sites import hook_name
from tl_fbn.acquisition.model.turned_points import turned_along
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace
from tl_fbn.units.outgoing_norms import NEURON_SITES, OUTGOING_NORMS, STREAM_SITES, as_text


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
        InputError: A site whose units have no direction of their own, such as attention heads, or a layer without
            output weights of neurons.
    """
    if site in NEURON_SITES:
        # row k of W_out is what neuron k adds
        weights = getattr(blocks_of(model)[layer].mlp, "W_out", None)
        if weights is None:
            raise InputError(f"layer {layer} of this model has no mlp.W_out, so what its neurons write cannot be read")
        along = turned_along(model, hook_name(site, layer), weights.detach())
        return along[torch.from_numpy(units).to(weights.device)].float()
    if site in STREAM_SITES:
        directions = torch.zeros(len(units), model.cfg.d_model)
        directions[torch.arange(len(units)), torch.from_numpy(units)] = 1
        return directions
    allowed = ", ".join((*NEURON_SITES, *STREAM_SITES))
    raise InputError(f"units of {site} have no direction in the residual stream; sites that have one: {allowed}")


def outgoing_norms(model: HookedModel, space: UnitSpace) -> Float[np.ndarray, " unit"] | None:
    """Norm of what each unit adds to the residual stream per unit of its activation.

    Args:
        model: The model.
        space: Units of a site of the model; a layer of width 0 was not recorded and is not looked at.

    Returns:
        (unit,) norms, 1 for coordinates of the stream; None where units have no direction of their own, or where the
        model's output weights cannot be read: they are packed, kept elsewhere, or of another shape.
    """
    if space.site in STREAM_SITES:
        return np.ones(space.n_units)
    if space.site not in NEURON_SITES:
        return None
    norms = np.zeros(space.n_units)
    for layer, width in enumerate(space.widths):
        if not width:
            continue
        weights: Any = None
        with contextlib.suppress(Exception):  # a host may fail at weights that it packs; nothing else needs them here
            weights = getattr(blocks_of(model)[layer].mlp, "W_out", None)
        readable = isinstance(weights, torch.Tensor) and weights.is_floating_point() and not weights.is_meta
        if not readable or weights.ndim != 2 or len(weights) != width:
            return None
        # added up in float32, whatever the weights are in, and without a copy of them
        along = turned_along(model, hook_name(space.site, layer), weights.detach())
        found = torch.linalg.vector_norm(along, dim=1, dtype=torch.float32)
        norms[space.layer_slice(layer)] = found.cpu().double().numpy()
    return norms if np.isfinite(norms).all() else None


def described_norms(model: HookedModel, spaces: Sequence[UnitSpace]) -> dict[str, Any]:
    """The norms of outgoing weights of MLP neurons as an entry of ``recording.json``; no entry where there are none.

    Args:
        model: The model.
        spaces: The units of every site that is recorded.
    """
    found = {space.site: outgoing_norms(model, space) for space in spaces if space.site in NEURON_SITES}
    texts = {site: as_text(norms) for site, norms in found.items() if norms is not None}
    return {OUTGOING_NORMS: texts} if texts else {}


class DirectLogits:
    """Reads directions as changes of the logits; the final norm is looked at once, when it is made.

    Args:
        model: The model; hooks on its final norm and unembedding see these passes.
    """

    def __init__(self, model: HookedModel) -> None:
        self._model = model
        norm = getattr(model, "ln_final", None)
        width = model.cfg.d_model
        with torch.no_grad():
            # one large number in one coordinate: a norm that takes the mean off moves the other coordinates, too
            given = None if norm is None else _responses(norm, 1e3 * torch.eye(width), model)
        self._centres = given is not None and bool(given[0, 1:].abs().max() > 1e-3)
        # the norm leaves such a number as the gain there (whatever it is called, and whether 1 is added, as in Gemma),
        # times the square root of the width (RMS), or of the width less one (with centring)
        root = np.sqrt(width - 1 if self._centres else width)
        self._gain = torch.ones(width) if given is None else given.diagonal() / root

    def of(self, directions: Float[torch.Tensor, "direction d_model"]) -> Float[torch.Tensor, "direction vocab"]:
        """Change of the logits per unit of each direction, up to one positive factor; mean 0 over the vocabulary.

        Args:
            directions: Directions of the residual stream.
        """
        centred = directions - directions.mean(1, keepdim=True) if self._centres else directions
        unembed = getattr(self._model, "unembed")  # noqa: B009  (no part of what every host must have)
        with torch.no_grad():
            # without what the unembedding adds to nothing: its bias
            change = _responses(unembed, centred * self._gain.to(directions), self._model)
        return change - change.mean(1, keepdim=True)


def _responses(module: torch.nn.Module, inputs: torch.Tensor, model: HookedModel) -> torch.Tensor:
    """What a module gives for inputs (row, d_model), less what it gives for zeros; in float32 on the CPU."""
    like = next(model.parameters())
    both = torch.cat([torch.zeros_like(inputs[:1]), inputs]).to(like.device, like.dtype)
    given = module(both[None])[0].float()
    return (given[1:] - given[:1]).cpu()
