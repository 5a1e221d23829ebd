"""Site names: from a word such as ``"mlp.neurons"`` to hook names and widths of a loaded model.

=============== ============================== =======================================================
site            hook point                     a unit is
=============== ============================== =======================================================
``mlp.neurons`` ``blocks.L.mlp.hook_post``     a hidden MLP neuron: input of the down projection
``mlp.pre``     ``blocks.L.mlp.hook_pre``      the same before the nonlinearity (the gate, where there is one)
``mlp.up``      ``blocks.L.mlp.hook_pre_linear`` the ungated half of a gated MLP
``mlp.out``     ``blocks.L.hook_mlp_out``      a coordinate of the MLP's output
``attn.out``    ``blocks.L.hook_attn_out``     a coordinate of the attention's output
``resid.pre``   ``blocks.L.hook_resid_pre``    a coordinate of the residual stream entering the block
``resid.mid``   ``blocks.L.hook_resid_mid``    ... between attention and MLP
``resid.post``  ``blocks.L.hook_resid_post``   ... leaving the block
=============== ============================== =======================================================

A hook name with ``{layer}`` in it works too, e.g. ``"blocks.{layer}.attn.hook_q"`` if its activations are
(batch, pos, unit).

Widths come from the weights, not from ``cfg.d_mlp``, which is wrong for some architectures. A sparse
mixture-of-experts layer has no neurons in this sense (its hook carries the layer's *output*): it gets width 0, and a
model with such layers only is refused.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from tl_fbn.acquisition import host
from tl_fbn.units import UnitSpace

_NEURON_HOOKS = {
    "mlp.neurons": "blocks.{layer}.mlp.hook_post",
    "mlp.pre": "blocks.{layer}.mlp.hook_pre",
    "mlp.up": "blocks.{layer}.mlp.hook_pre_linear",
}
_MODEL_HOOKS = {
    "mlp.out": "blocks.{layer}.hook_mlp_out",
    "attn.out": "blocks.{layer}.hook_attn_out",
    "resid.pre": "blocks.{layer}.hook_resid_pre",
    "resid.mid": "blocks.{layer}.hook_resid_mid",
    "resid.post": "blocks.{layer}.hook_resid_post",
}
SITES = (*_NEURON_HOOKS, *_MODEL_HOOKS)


@dataclass(frozen=True)
class ResolvedSite:
    """A site of one model.

    Args:
        space: The units it has.
        hook_names: Layer to hook name, for the layers that have units.
    """

    space: UnitSpace
    hook_names: dict[int, str]


def resolve_site(model: Any, site: str) -> ResolvedSite:
    """Find a site in a loaded model.

    Args:
        model: A TransformerLens model.
        site: One of :data:`SITES`, or a hook name with ``{layer}``.

    Raises:
        TypeError: The model cannot be hooked.
        ValueError: The site is unknown, or this model has none of it.
    """
    host.require_model(model)
    pattern = {**_NEURON_HOOKS, **_MODEL_HOOKS}.get(site, site if "{layer}" in site else None)
    if pattern is None:
        raise ValueError(_unknown_site(site))
    names = _matching(model, pattern)
    if not names:
        hooks = sorted({name.split(".", 2)[2] for name in model.hook_dict if name.startswith("blocks.0.")})
        near = difflib.get_close_matches(pattern.split(".", 2)[-1], hooks, 4) or hooks[:8]
        raise ValueError(
            f"site {site!r} means the hook {pattern!r}, which {host.model_label(model)} does not have; hooks of its "
            f"layer 0 include {', '.join(near)}"
        )
    widths = {layer: _width(model, site, layer, name) for layer, name in names.items()}
    if not any(widths.values()):
        raise ValueError(
            f"site {site!r} has no units in {host.model_label(model)}: its MLPs are sparse mixtures of experts, whose hook "
            "carries the layer's output, not neurons. Use mlp.out or resid.post"
        )
    n_layers = max(max(names) + 1, int(getattr(model.cfg, "n_layers", 0)))
    space = UnitSpace(site, tuple(widths.get(layer, 0) for layer in range(n_layers)), host.model_label(model))
    return ResolvedSite(space, {layer: name for layer, name in names.items() if widths[layer]})


def _unknown_site(site: str) -> str:
    near = difflib.get_close_matches(site, SITES, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f"unknown site {site!r}; sites: {', '.join(SITES)}, or a hook name with {{layer}} in it.{hint}"


def _matching(model: Any, pattern: str) -> dict[int, str]:
    before, after = pattern.split("{layer}", 1)
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    matches = ((expression.fullmatch(name), name) for name in model.hook_dict)
    return dict(sorted((int(match[1]), name) for match, name in matches if match))


def _width(model: Any, site: str, layer: int, name: str) -> int:
    """Units of one layer, from the weights; by asking the model where the weights do not tell."""
    if site in _NEURON_HOOKS and hasattr(model, "blocks"):
        try:
            return int(model.blocks[layer].mlp.W_out.shape[0])  # (d_mlp, d_model) in TransformerLens's orientation
        except AttributeError:
            return 0  # a sparse mixture-of-experts layer
    if site in _MODEL_HOOKS:
        return int(model.cfg.d_model)
    return _probed_width(model, name)


def _probed_width(model: Any, name: str) -> int:
    import torch

    shapes: list[torch.Size] = []
    with torch.no_grad(), model.hooks(fwd_hooks=[(name, lambda tensor, hook: shapes.append(tensor.shape))]):
        model(torch.zeros(1, 2, dtype=torch.long, device=host.model_device(model)))
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][:2] != (1, 2):
        raise ValueError(
            f"hook {name!r} gave {[tuple(shape) for shape in shapes]} for one prompt of two tokens; a site needs one "
            "activation of shape (batch, pos, unit) a pass"
        )
    return int(shapes[0][2])
