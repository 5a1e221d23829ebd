"""Recordings that an intervention takes values from: of the same units, and of the model's own weights.

Means, standard deviations and resampled activations of a recording belong to the model that was recorded. A fine-tuned
or otherwise changed model has the same units and other activations, so that a reference of other weights is refused
unless the user says that it is meant. Recordings know the digest of their weights; those that were made of arrays from
elsewhere do not, and are taken as they are.

Cost: the model's weights are hashed once for each check (:func:`tl_fbn.acquisition.model.weights.weights_digest`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.weights import weights_digest
from tl_fbn.acquisition.recording.recording import Recording
from tl_fbn.errors import InputError
from tl_fbn.intervention.hooks.replacements import standard_deviation
from tl_fbn.units import Network


def required_reference(
    model: HookedModel, reference: Recording | None, network: Network, what: str, allow_other_weights: bool
) -> Recording:
    """The reference, if there is one and it is of a network's units and of the model's weights.

    Args:
        model: The model that is about to be given values of the reference.
        reference: What was given as the reference.
        network: The network whose units the reference must have.
        what: What needs the reference, as the beginning of the message.
        allow_other_weights: True also takes a reference that was recorded on other weights than this model's.

    Raises:
        InputError: There is none, or it is of other units or weights.
    """
    if reference is None:
        raise InputError(f"{what} needs reference=, a recording of {network.space.describe()}")
    # means and standard deviations are looked up by unit number, so both must be numbered alike
    network.space.require_same(reference.space, "take the reference for")
    require_same_weights(model, reference, allow_other_weights=allow_other_weights)
    return reference


def spread_of(
    model: HookedModel, reference: Recording | None, network: Network, allow_other_weights: bool
) -> Float[np.ndarray, " unit"]:
    """Standard deviation of every unit over a recording.

    Args:
        model: The model that is amplified.
        reference: The recording; None is refused.
        network: The network whose units the recording must have.
        allow_other_weights: True takes a recording of other weights than the model's.

    Raises:
        InputError: No recording, or one of other units or weights.
    """
    return standard_deviation(required_reference(model, reference, network, "adds_sd=", allow_other_weights))


def require_same_weights(
    model: HookedModel, recording: Recording, *, allow_other_weights: bool, argument: str = "reference"
) -> None:
    """Check that a recording was made on the weights of a model: of others, its values are no values of this model.

    Args:
        model: The model that is about to be given values of the recording.
        recording: The recording; one that does not know its weights, of arrays from elsewhere, is taken as it is.
        allow_other_weights: True takes any recording.
        argument: Name of the argument that the recording was given as, for the message.

    Raises:
        InputError: The weights are others.
    """
    theirs = recording.about["fields"].get("weights")
    if allow_other_weights or not theirs:
        return
    ours = weights_digest(model)
    if theirs != ours:
        raise InputError(
            f"{argument}= was recorded on other weights than this model's (digest {theirs[:12]} there, {ours[:12]} "
            "here); record it on this model, or give allow_other_weights=True"
        )
