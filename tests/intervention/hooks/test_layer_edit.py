"""The hook function of one layer, on tensors."""

from __future__ import annotations

import numpy as np
import torch

from tl_fbn.acquisition.model.sites import by_head
from tl_fbn.intervention.hooks.layer_edit import LayerEdit


def test_ops_by_hand():
    members = np.array([0, 2])
    given = torch.tensor([[[1.0, 2.0, 3.0]]])
    expected = {
        "set": ([7.0, 8.0], [7.0, 2.0, 8.0]),
        "scale": ([2.0, -1.0], [2.0, 2.0, -3.0]),
        "add": ([0.5, 1.0], [1.5, 2.0, 4.0]),
        "clip": ([[1.5, 0.0], [9.0, 2.5]], [1.5, 2.0, 2.5]),
    }
    for op, (values, result) in expected.items():
        assert LayerEdit(op, members, np.array(values))(given, hook=None).tolist() == [[result]]
    assert given.tolist() == [[[1.0, 2.0, 3.0]]]  # never in place


def test_gradients_flow_past_what_is_set_and_through_what_is_scaled():
    given = torch.ones(1, 1, 3, requires_grad=True)
    LayerEdit("set", np.array([0]), np.array([5.0]))(given, hook=None).sum().backward()
    assert given.grad is not None
    assert given.grad.tolist() == [[[0.0, 1.0, 1.0]]]
    given.grad = None
    LayerEdit("scale", np.array([0]), np.array([5.0]))(given, hook=None).sum().backward()
    assert given.grad.tolist() == [[[5.0, 1.0, 1.0]]]


def test_dtype_and_shape_stay():
    edit = LayerEdit("scale", np.array([1]), np.array([1.7]))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert edit(torch.ones(2, 3, 4, dtype=dtype), hook=None).dtype == dtype
    flattened = edit(torch.ones(2, 3, 2, 2), hook=None)
    assert flattened.shape == (2, 3, 2, 2)
    assert flattened[0, 0].flatten().tolist() == [1.0, 1.7000000476837158, 1.0, 1.0]


def test_a_head_is_its_whole_width():
    edit = LayerEdit("scale", np.array([1]), np.array([0.0]), n_heads=3)
    for given in (torch.ones(2, 5, 3, 4), torch.ones(2, 5, 12)):
        heads = by_head(edit(given, hook=None), 3)
        assert heads.sum((0, 1, 3)).tolist() == [40.0, 0.0, 40.0]


def test_digests_tell_edits_apart():
    edits = [
        LayerEdit("set", np.array([0]), np.array([0.0])),
        LayerEdit("set", np.array([1]), np.array([0.0])),
        LayerEdit("set", np.array([0]), np.array([1.0])),
        LayerEdit("add", np.array([0]), np.array([0.0])),
    ]
    assert len({edit.digest for edit in edits}) == 4
    assert edits[0].digest == LayerEdit("set", np.array([0]), np.array([0.0])).digest
