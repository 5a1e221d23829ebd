"""Where gradients are taken in a model: the hook points of a site, layer by layer, and those of what the MLPs read.

Scores are of MLP neurons, whatever the site of the gradient: the up projection's output, the gate's, or the neurons
themselves, each of which has as many numbers a layer. Rows of a weight gradient also need the MLP's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.errors import InputError, one_of
from tl_fbn.units import UnitSpace

ScoredSite = Literal["mlp.up", "mlp.pre", "mlp.neurons"]


def gradient_points(model: HookedModel, site: str) -> tuple[UnitSpace, dict[int, str]]:
    """The unit space of the MLP neurons and, by number of each layer that has some, its hook point of the site.

    Args:
        model: A TransformerLens model.
        site: ``"mlp.up"``, ``"mlp.pre"`` or ``"mlp.neurons"``.

    Raises:
        InputError: An unknown site, or a model without MLP neurons.
    """
    one_of(site, ScoredSite, "site")
    neurons = resolve_site(model, "mlp.neurons")
    gated = any(name.endswith(".mlp.hook_pre_linear") for name in model.hook_dict)
    own = "mlp.pre" if site == "mlp.up" and not gated else site  # W_in is the up projection of an ungated MLP
    names = resolve_site(model, own).hook_names
    return neurons.space, {layer: names[layer] for layer in neurons.hook_names}


def mlp_inputs(model: HookedModel, layers: Sequence[int]) -> dict[int, str]:
    """Number of each layer to the hook point of its MLP's input, which the up projection reads.

    Args:
        model: A TransformerLens model.
        layers: Numbers of the layers.

    Raises:
        InputError: A layer has no such hook point.
    """
    found = {}
    for layer in layers:
        # the first is TransformerBridge's, the second HookedTransformer's
        names = [f"blocks.{layer}.mlp.in.hook_in", f"blocks.{layer}.ln2.hook_normalized"]
        have = [name for name in names if name in model.hook_dict]
        if not have:
            raise InputError(
                f"layer {layer} of {host.model_label(model)} has no hook at its MLP's input ({' or '.join(names)}); "
                'use variant="grad_x_act" or "grad"'
            )
        found[layer] = have[0]
    return found
