"""Norms of outgoing weights from a model, for recordings that do not hold them.

Recordings of earlier versions, and of arrays from elsewhere, say nothing of the model's output weights; a fit takes
them from the model where it is given. What the norms are for: :mod:`tl_fbn.units.outgoing_norms`. Whether the model is
the one that was recorded is not told by its shape; that is the user's word.
"""

from __future__ import annotations

from typing import Any

from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace
from tl_fbn.units.outgoing_norms import Norms


def norms_of_model(model: Any, space: UnitSpace) -> Norms:
    """(unit,) norms of the outgoing weights of recorded units.

    Args:
        model: The model that was recorded.
        space: The units of the recording.

    Raises:
        InputError: The model has no such units, or none of its weights tells what they write.
    """
    # here and nowhere else does a fit need the model
    from tl_fbn.acquisition.model import direct_logits, host
    from tl_fbn.acquisition.model.sites import fits, resolve_site

    host.require_model(model)
    offered = resolve_site(model, space.site).space
    if not fits(offered, space):
        raise InputError(f"the recording is of {space.describe()}, the model has {offered.describe()}")
    norms = direct_logits.outgoing_norms(model, space)
    if norms is None:
        raise InputError(
            f"the model's weights do not tell what units of {space.site} add to the residual stream: they have no "
            "outgoing weights of their own, or these cannot be read. Leave model= out, and select by another map, such "
            "as z_within_layer"
        )
    return norms
