"""Maps of a contrast that are not maps of scale: by what a unit adds to the stream, or by its place within its layer.

Activations of the last layers of a language model are many times as large as those of the first. The largest raw
effects are therefore those of the layer with the largest scale, whatever the task. Two maps take scale off in two ways:

================== ====================================================================================================
``contribution``   ``effect * norm(W_out)``: size of what the effect adds to the residual stream, by the norm of the
                   unit's outgoing weights (:mod:`tl_fbn.units.outgoing_norms`). It compares layers in the units of the
                   stream, whose own scale grows with depth
``z_within_layer`` ``(effect - median) / (1.4826 * median |effect - median|)``, medians over the units of the layer: how
                   far the effect stands out among its neighbours. Scale and shift of a layer are gone
================== ====================================================================================================

The second is of effects, not of t: a t is free of scale already, and what is left in it is how little a unit varies.
It is no test, and its unit is the spread of a layer's effects, not an error. Where more than half of a layer's units
have one effect (units that never vary), the spread is 1.2533 times the mean distance from the median, which is also the
standard deviation of a Gaussian; where all have one effect, every unit gets 0.

Cost: two medians a layer. Source: median absolute deviation, Hampel (1974).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tl_fbn.units import UnitSpace
from tl_fbn.units.outgoing_norms import Norms, require_norms

_MEDIAN_TO_SD = 1.4826  # of a Gaussian: standard deviation over median absolute deviation
_MEAN_TO_SD = 1.2533  # and over mean absolute deviation


def contributions(effect: Float[np.ndarray, " unit"], norms: Norms | None, space: UnitSpace) -> Norms:
    """Effects as what they add to the residual stream, with their sign.

    Args:
        effect: (unit,) effects, in the units of the activations.
        norms: (unit,) norms of the outgoing weights of the units; None if unknown.
        space: The units.

    Raises:
        InputError: The norms are not known, or the units have none.
    """
    return effect * require_norms(norms, space)


def within_layers(values: Float[np.ndarray, " unit"], space: UnitSpace) -> Float[np.ndarray, " unit"]:
    """Values less the median of their layer, over its robust spread.

    Args:
        values: (unit,) finite numbers.
        space: The units, and so which layer each is in.
    """
    placed = np.zeros(space.n_units)
    for span in map(space.layer_slice, range(space.n_layers)):
        if span.start == span.stop:  # a layer without such units
            continue
        away = values[span] - np.median(values[span])
        spread = _MEDIAN_TO_SD * np.median(np.abs(away)) or _MEAN_TO_SD * np.abs(away).mean()
        placed[span] = away / spread if spread > 0 else 0.0
    return placed
