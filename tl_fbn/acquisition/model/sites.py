"""Site names: from a word such as ``"mlp.neurons"`` to hook names and widths of a loaded model.

=============== ================================ =======================================================
site            hook point                       a unit is
=============== ================================ =======================================================
``mlp.neurons`` ``blocks.L.mlp.hook_post``       a hidden MLP neuron: input of the down projection
``mlp.pre``     ``blocks.L.mlp.hook_pre``        the same before the nonlinearity (the gate, where there is one)
``mlp.up``      ``blocks.L.mlp.hook_pre_linear`` the ungated half of a gated MLP
``mlp.out``     ``blocks.L.hook_mlp_out``        a coordinate of the MLP's output
``attn.out``    ``blocks.L.hook_attn_out``       a coordinate of the attention's output
``attn.heads``  ``blocks.L.attn.hook_z``         an attention head: the mean over its width (as Liu et al. 2025)
``resid.pre``   ``blocks.L.hook_resid_pre``      a coordinate of the residual stream entering the block
``resid.mid``   ``blocks.L.hook_resid_mid``      ... between attention and MLP
``resid.post``  ``blocks.L.hook_resid_post``     ... leaving the block
=============== ================================ =======================================================

A hook name is a site too. With ``{layer}`` in it, it has one hook point a layer: ``"blocks.{layer}.attn.hook_q"``;
without, it is a single one: ``"ln_final.hook_normalized"``. Its activations begin with the axes (batch, pos); all
further axes are flattened into units, so that a unit of ``hook_q`` is one coordinate of one head.

``mlp.out`` and ``attn.out`` are what is added to the residual stream: after the norm that Gemma 2 and 3, OLMo 2 and
GLM-4 put behind the sublayer. ``resid.mid`` is missing where attention and MLP run side by side (Pythia, GPT-J, Phi,
Falcon). On bridges its hook is the input of the MLP's norm: writing it changes what the MLP reads, but not the
residual stream, which passes it by (TransformerLens's former HookedTransformer changed both).

Widths come from the weights and not from ``cfg.d_mlp``, which is wrong for some architectures. A sparse
mixture-of-experts layer has no neurons in this sense (its hook carries the layer's *output*): it gets width 0, and a
model that has such layers only is refused.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.attached_hooks import hooked
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.arguments import layer_numbers
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace

# sites whose width is that of the MLP
_NEURON_HOOKS = {
    "mlp.neurons": "blocks.{layer}.mlp.hook_post",
    "mlp.pre": "blocks.{layer}.mlp.hook_pre",
    "mlp.up": "blocks.{layer}.mlp.hook_pre_linear",
}
# sites whose width is that of the residual stream
_MODEL_HOOKS = {
    "mlp.out": "blocks.{layer}.hook_mlp_out",
    "attn.out": "blocks.{layer}.hook_attn_out",
    "resid.pre": "blocks.{layer}.hook_resid_pre",
    "resid.mid": "blocks.{layer}.hook_resid_mid",
    "resid.post": "blocks.{layer}.hook_resid_post",
}
HEADS = "attn.heads"
_PATTERNS = {**_NEURON_HOOKS, **_MODEL_HOOKS, HEADS: "blocks.{layer}.attn.hook_z"}
SITES = tuple(_PATTERNS)


@dataclass(frozen=True)
class Tap:
    """One hook point that is recorded.

    Args:
        site: Name of the site that the hook point belongs to.
        layer: Number of its layer, from 0.
        hook_name: Name of the hook point.
        width: Number of units of the site in this layer.
        heads: True where a unit is an attention head, whose signal is the mean over the head's width.
    """

    site: str
    layer: int
    hook_name: str
    width: int
    heads: bool = False

    def read(self, tensor: torch.Tensor) -> Float[torch.Tensor, "batch pos unit"]:
        """Activations of the units.

        Args:
            tensor: What the hook point carries: the axes (batch, pos), then one or two axes of units.

        Raises:
            InputError: The number of units is not :attr:`width`.
        """
        if self.heads:
            return by_head(tensor, self.width).mean(-1)
        values = tensor.flatten(2)  # axes behind (batch, pos) are units
        if values.shape[-1] != self.width:
            raise InputError(
                f"hook {self.hook_name!r} carries {tuple(tensor.shape)}, not {self.width} units a token; record "
                "another site"
            )
        return values


def by_head(tensor: torch.Tensor, n_heads: int) -> Float[torch.Tensor, "batch pos head width"]:
    """Attention activations with heads on an axis of their own; some architectures' hooks have them flattened.

    Args:
        tensor: (batch, pos, head, width) or (batch, pos, head times width).
        n_heads: Number of heads.
    """
    if tensor.ndim == 4:
        return tensor
    return rearrange(tensor, "batch pos (head width) -> batch pos head width", head=n_heads)


@dataclass(frozen=True)
class ResolvedSite:
    """A site as one model has it.

    Args:
        space: The units of the site.
        hook_names: Number of a layer to the name of its hook point, for the layers that have units.
    """

    space: UnitSpace
    hook_names: dict[int, str]

    @property
    def taps(self) -> list[Tap]:
        """The hook points of all layers that have units."""
        site = self.space.site
        widths = self.space.widths
        return [Tap(site, layer, name, widths[layer], site == HEADS) for layer, name in self.hook_names.items()]


def resolve_site(model: HookedModel, site: str, *, layers: Sequence[int] | None = None) -> ResolvedSite:
    """Find a site in a loaded model.

    Args:
        model: A TransformerLens model.
        site: One of :data:`SITES`, or a hook name, with ``{layer}`` in it if every layer has one.
        layers: Numbers of the layers to record, from 0; the others get width 0. None: all.

    Raises:
        InputTypeError: The model cannot be hooked.
        InputError: The site is unknown, the model does not have it, or not in these layers; or a layer comes twice, or
            is no integer, as in a mask.
    """
    host.require_model(model)
    names = _hook_names(model, site)
    widths = {layer: _width(model, site, layer, name) for layer, name in names.items()}
    if not any(widths.values()):
        raise InputError(
            f"site {site!r} has no units in {host.model_label(model)}: its MLPs are sparse mixtures of experts, whose "
            "hook carries the layer's output, not neurons. Use mlp.out or resid.post"
        )
    # a site without {layer} is one hook point, in a space of one layer
    n_layers = (
        max(max(names) + 1, int(getattr(model.cfg, "n_layers", 0))) if "{layer}" in _PATTERNS.get(site, site) else 1
    )
    if layers is not None:
        layers = layer_numbers(layers, "layers")
        _check_layers(layers, site, widths, n_layers)
        widths = {layer: width for layer, width in widths.items() if layer in layers}
    space = UnitSpace(site, tuple(widths.get(layer, 0) for layer in range(n_layers)), host.model_label(model))
    return ResolvedSite(space, {layer: name for layer, name in names.items() if widths.get(layer)})


def hook_name(site: str, layer: int) -> str:
    """Name of the hook point of a site in one layer, which no model is asked for.

    Args:
        site: One of :data:`SITES`, or a hook name with ``{layer}`` in it or without, which is not checked.
        layer: Number of the layer, from 0.
    """
    return _PATTERNS.get(site, site).replace("{layer}", str(layer))


def fits(offered: UnitSpace, wanted: UnitSpace) -> bool:
    """Whether a model has the units of a space, of which some layers may not have been recorded.

    Args:
        offered: The space of the site in the model.
        wanted: The space to look for; a layer of width 0 fits any width.
    """
    return (offered.site, offered.n_layers) == (wanted.site, wanted.n_layers) and all(
        width in (0, in_model) for width, in_model in zip(wanted.widths, offered.widths, strict=True)
    )


def _check_layers(layers: Sequence[int], site: str, widths: Mapping[int, int], n_layers: int) -> None:
    if not layers:
        raise InputError("layers=[] records nothing; give layer numbers, or None for all")
    for layer in layers:
        if not widths.get(layer):
            why = "has no units of it" if 0 <= layer < n_layers else "is none of the model"
            have = ", ".join(str(one) for one, width in widths.items() if width)
            raise InputError(f"layer {layer} {why} at {site!r}; layers: {have}")


def _hook_names(model: HookedModel, site: str) -> dict[int, str]:
    """Layer number to the name of the site's hook point there."""
    pattern = _PATTERNS.get(site, site)
    if "{layer}" not in pattern:
        if site in model.hook_dict:
            return {0: site}
        raise InputError(_unknown_site(site))
    if names := _hooks_by_layer(model, pattern):
        return names
    # for the message: what the model does have in layer 0, with the nearest names first
    hooks = sorted({name.split(".", 2)[2] for name in model.hook_dict if name.startswith("blocks.0.")})
    near = difflib.get_close_matches(pattern.split(".", 2)[-1], hooks, 4) or hooks[:8]
    raise InputError(
        f"site {site!r} means the hook {pattern!r}, which {host.model_label(model)} does not have; hooks of its "
        f"layer 0 include {', '.join(near)}"
    )


def _unknown_site(site: str) -> str:
    """The error message for a site that is neither a name nor a hook of the model."""
    near = difflib.get_close_matches(site, SITES, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f"unknown site {site!r}; sites: {', '.join(SITES)}, or a hook name with {{layer}} in it.{hint}"


def _hooks_by_layer(model: HookedModel, pattern: str) -> dict[int, str]:
    """Layer number to hook name, for the model's hooks that fit the pattern; ascending."""
    before, after = pattern.split("{layer}", 1)
    # the number of the layer stands where the pattern has {layer}
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    matches = ((expression.fullmatch(name), name) for name in model.hook_dict)
    return dict(sorted((int(match[1]), name) for match, name in matches if match))


def _width(model: Any, site: str, layer: int, name: str) -> int:
    """Number of units of one layer, from the weights, or from a short pass where the weights do not tell."""
    if site in _NEURON_HOOKS and hasattr(model, "blocks"):
        try:
            return int(model.blocks[layer].mlp.W_out.shape[0])  # (d_mlp, d_model) in TransformerLens's orientation
        except AttributeError:
            return 0  # a sparse mixture-of-experts layer
        except NotImplementedError:  # weights offloaded by accelerate
            return _probed_width(model, name)
    if site in _MODEL_HOOKS:
        return int(model.cfg.d_model)
    if site == HEADS:
        return int(model.cfg.n_heads)
    return _probed_width(model, name)


def _probed_width(model: HookedModel, name: str) -> int:
    """Number of units of a hook, from passes of two and of three tokens: only the axis of positions may differ."""
    # what varies with the prompt is the axis of positions; all that follows it is units
    shapes: list[tuple[int, ...]] = []
    look = [(name, lambda tensor, hook: shapes.append(tuple(tensor.shape)))]
    with hooked(model, look, "a look at its hooks"), torch.no_grad():
        for n_tokens in (2, 3):
            model(torch.zeros(1, n_tokens, dtype=torch.long, device=host.model_device(model)))
    if (
        [shape[:2] for shape in shapes] != [(1, 2), (1, 3)]
        or len({shape[2:] for shape in shapes}) > 1
        or not shapes[0][2:]
    ):
        raise InputError(
            f"hook {name!r} gave {shapes} for prompts of two and of three tokens; a site needs one activation of shape "
            "(batch, pos, unit) a pass"
        )
    return math.prod(shapes[0][2:])
