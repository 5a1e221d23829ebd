"""Norms of the outgoing weights of units: how much one unit of activation adds to the residual stream.

What a hidden neuron k adds to the stream is its activation times row k of the output weights, a vector of length

    |activation of k| * norm(W_out[k])

so an effect on activations times this norm is the size of what the effect changes in the stream, and compares between
layers and models of other scales. A unit of a site whose units are coordinates of the stream adds its activation as it
is: the norm is 1. Attention heads, patterns and other hooks have no such weights of their own. A norm that some models
(Gemma 2 and 3, OLMo 2) put behind the MLP is left out, and so is the nonlinearity behind ``mlp.pre`` and ``mlp.up``.

A scan computes the norms (:func:`tl_fbn.acquisition.model.direct_logits.outgoing_norms`), and ``recording.json`` keeps
those of MLP neurons under ``"outgoing_norms"``, as float32 in base64: 5.3 bytes a unit, of any size exact. They are no
part of the key. Recordings of earlier versions, and arrays from elsewhere, have none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from tl_fbn.errors import InputError
from tl_fbn.units.space import UnitSpace

NEURON_SITES = ("mlp.neurons", "mlp.pre", "mlp.up")
STREAM_SITES = ("mlp.out", "attn.out", "resid.pre", "resid.mid", "resid.post")
OUTGOING_NORMS = "outgoing_norms"  # entry of recording.json

Norms = Float[np.ndarray, " unit"]


def as_text(norms: Norms) -> str:
    """Norms as a description holds them: float32 of the smaller byte first, in base64.

    >>> as_text(np.array([1.0, 2.5]))
    'AACAPwAAIEA='

    Args:
        norms: (unit,) norms.
    """
    return base64.b64encode(np.asarray(norms, dtype="<f4").tobytes()).decode("ascii")


def stated_norms(about: Mapping[str, Any], space: UnitSpace) -> Norms | None:
    """(unit,) norms of the outgoing weights of a site, by what a description says; None where it does not say.

    Args:
        about: The entries of ``recording.json``.
        space: The units of the site.
    """
    if space.site in STREAM_SITES:
        return np.ones(space.n_units)
    of_sites = about.get(OUTGOING_NORMS)
    text = of_sites.get(space.site) if isinstance(of_sites, Mapping) else None
    try:
        norms = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4") if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None
    if norms is None or norms.shape != (space.n_units,) or not (np.isfinite(norms) & (norms >= 0)).all():
        return None
    return norms.astype(np.float64)


def without_norms(about: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a recording for one of other units, of which its norms would say nothing.

    Args:
        about: The entries of ``recording.json``.
    """
    return {name: value for name, value in about.items() if name != OUTGOING_NORMS}


def require_norms(norms: Norms | None, space: UnitSpace) -> Norms:
    """The norms, or an error that says why there are none and what to do.

    Args:
        norms: (unit,) norms of outgoing weights; None if unknown.
        space: The units of the site.

    Raises:
        InputError: The site's units have no outgoing weights of their own, or nobody noted them.
    """
    if norms is not None:
        return norms
    if space.site not in (*NEURON_SITES, *STREAM_SITES):
        raise InputError(
            f"units of {space.site} have no outgoing weights of their own, so what they add to the residual stream is "
            f"not known; sites that have: {', '.join((*NEURON_SITES, *STREAM_SITES))}. Select by another map, such as "
            "z_within_layer"
        )
    raise InputError(
        f"the norms of the outgoing weights of {space.describe()} are not known: the recording is of an earlier "
        "version, or of arrays from elsewhere. Scan again into the same folder, where the norms are added and nothing "
        "is recorded anew, and fit again; or give the model: fit_glm(recording, model=model), in a shell --model MODEL"
    )
