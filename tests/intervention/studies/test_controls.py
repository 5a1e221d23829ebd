"""Controls: matched where they say so and projections that are projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.intervention.studies.controls import balance, rotated_lesion

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def loud_recording(model, seed: int = 0) -> fbn.Recording:
    """Activations whose size grows along each layer, by a factor of twenty."""
    rng = np.random.default_rng(seed)
    widths = fbn.Scanner(model).space.widths
    arrays = [rng.normal(size=(50, width)) * np.geomspace(0.1, 2.0, width) for width in widths]
    return fbn.Recording.from_arrays([arrays], events=[blocks(["a"], 50)])


def test_features_are_mean_activity_and_outgoing_norm():
    model = bridged(tiny_llama())
    recording = loud_recording(model)
    features = fbn.studies.unit_features(model, recording)
    assert features.shape == (2, 96)
    np.testing.assert_allclose(features[0, 48:], np.abs(recording[0].layer(1)).mean(0), rtol=1e-5)
    down = model.original_model.model.layers[1].mlp.down_proj
    weight = getattr(down, "original_component", down).weight.detach()  # (d_model, neuron)
    np.testing.assert_allclose(features[1, 48:], weight.norm(dim=0).numpy(), rtol=1e-5)


def test_activity_matching_balances_what_random_controls_do_not():
    model = tiny_model(d_mlp=200)
    recording = loud_recording(model)
    features = fbn.studies.unit_features(model, recording)
    loudest = fbn.UnitMap(recording.space, features[0], "score").top(80).indices
    loud = fbn.Network.from_indices(
        recording.space, np.sort(np.random.default_rng(1).choice(loudest, 20, replace=False))
    )
    quiet = fbn.matched_controls(loud, 50, seed=0)
    matched = fbn.matched_controls(loud, 50, seed=0, features=features)
    assert abs(balance(loud, quiet, features)[0]) > 1.0
    assert abs(balance(loud, matched, features)[0]) < 0.4
    middle = fbn.Network.from_indices(recording.space, [80, 100, 120, 280, 300, 320])
    assert abs(balance(middle, fbn.matched_controls(middle, 50, seed=0, features=features), features)).max() < 0.2
    for control in matched:
        assert (control.per_layer() == loud.per_layer()).all()
        assert len(control & loud) == 0
    assert len({tuple(control.indices.tolist()) for control in matched}) == 50
    few = fbn.matched_controls(loud, 3, seed=0, features=features)
    assert [one.indices.tolist() for one in few] == [one.indices.tolist() for one in matched[:3]]
    with pytest.raises(ValueError, match=r"members and \d+ other units"):
        fbn.matched_controls(~loud, 1, seed=0, features=features)


def test_lowest_ranked_is_the_other_end_of_the_map():
    space = fbn.UnitSpace("mlp.neurons", (4, 4))
    scores = fbn.UnitMap(space, np.array([5.0, 1, 0, 4, -3, 9, 2, 8]), "t")
    lowest = fbn.studies.lowest_ranked(scores, fbn.Network.from_indices(space, [0, 5, 7]))
    assert lowest.indices.tolist() == [2, 4, 6]


def test_a_rotated_lesion_is_a_projection():
    model = tiny_model()
    space = fbn.Scanner(model).space
    network = fbn.Network.from_indices(space, [0, 1, 2, 30])
    _, before = model.run_with_cache(IDS)
    with rotated_lesion(model, network, seed=4):
        _, after = model.run_with_cache(IDS)
    change = (before["post", 0] - after["post", 0])[0].detach()
    assert torch.linalg.matrix_rank(change, atol=1e-5) == 3
    assert torch.linalg.matrix_rank(after["post", 0][0].detach(), atol=1e-5) <= 8
    torch.testing.assert_close((change * after["post", 0][0].detach()).sum(1), torch.zeros(8), atol=1e-5, rtol=0)
    with rotated_lesion(model, ~network & network, seed=0):  # nothing
        torch.testing.assert_close(model(IDS), model(IDS))
