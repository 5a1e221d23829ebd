"""Hook points that show other axes: orthogonal, exact where nothing is changed, known to digests, and put back."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch

from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.direct_logits import outgoing_norms
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.acquisition.model.turned_points import TurnedPoint, turn_point, turned_along
from tl_fbn.analysis.ica.fastica import random_start

NAME = "blocks.1.mlp.hook_post"
WIDTH = 24
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def turn(undo: ExitStack, point) -> np.ndarray:
    """Turn a point by groups of 9, 9 and 6 units; returns the matrix (unit, new unit) that this is."""
    rng = np.random.default_rng(0)
    order, signs = rng.permutation(WIDTH), rng.choice([-1.0, 1.0], WIDTH).astype(np.float32)
    nine, six = (random_start(n, rng).astype(np.float32) for n in (9, 6))
    groups = [(2, torch.from_numpy(nine)), (1, torch.from_numpy(six))]
    turn_point(undo, point, torch.from_numpy(order), torch.from_numpy(signs), groups)
    blocks = np.zeros((WIDTH, WIDTH))
    for start, block in ((0, nine), (9, nine), (18, six)):
        blocks[start : start + len(block), start : start + len(block)] = block
    return np.eye(WIDTH)[:, order] * signs @ blocks


def seen(model, grads: bool = False) -> torch.Tensor:
    kept = []
    with model.hooks(fwd_hooks=[(NAME, lambda value, hook: kept.append(value.detach().clone()))]):
        model(IDS)
    return kept[0]


def test_hooks_see_the_product_with_an_orthogonal_matrix_and_the_model_does_not() -> None:
    model = tiny_model()
    before, own = model(IDS), seen(model)
    with ExitStack() as undo:
        matrix = turn(undo, model.hook_dict[NAME])
        assert matrix @ matrix.T == pytest.approx(np.eye(WIDTH), abs=1e-6)
        assert seen(model).numpy() == pytest.approx(own.numpy() @ matrix, abs=1e-6)
        with torch.no_grad(), model.hooks(fwd_hooks=[(NAME, lambda value, hook: None)]):
            assert torch.equal(model(IDS), before)  # a hook that only reads changes no bit
        with model.hooks(fwd_hooks=[(NAME, lambda value, hook: value * 1.0)]):
            torch.testing.assert_close(model(IDS), before)
    assert not isinstance(model.hook_dict[NAME], TurnedPoint) and torch.equal(seen(model), own)
    assert not list(model.hook_dict[NAME].named_buffers())


def test_silencing_one_new_unit_takes_that_direction_away() -> None:
    model = tiny_model()
    with ExitStack() as undo:
        matrix = turn(undo, model.hook_dict[NAME])
        with model.hooks(
            fwd_hooks=[(NAME, lambda value, hook: torch.cat([value[..., :5], 0 * value[..., 5:6], value[..., 6:]], -1))]
        ):
            under = model(IDS)
    direction = torch.from_numpy(matrix[:, 5]).float()
    with model.hooks(fwd_hooks=[(NAME, lambda value, hook: value - (value @ direction)[..., None] * direction)]):
        torch.testing.assert_close(under, model(IDS))


def test_gradients_are_those_along_the_new_axes() -> None:
    model = tiny_model()
    gradients = []
    with model.hooks(bwd_hooks=[(NAME, lambda value, hook: gradients.append(value.clone()))]):
        model(IDS)[0, -1, 3].backward()
        with ExitStack() as undo:
            matrix = turn(undo, model.hook_dict[NAME])
            model(IDS)[0, -1, 3].backward()
    own, along = (one.numpy() for one in gradients)
    assert along == pytest.approx(own @ matrix, abs=1e-7)


def test_output_weights_and_their_norms_turn_along() -> None:
    model = tiny_model()
    space = resolve_site(model, "mlp.neurons").space
    weights = model.blocks[1].mlp.W_out.detach()
    own = outgoing_norms(model, space)
    assert turned_along(model, NAME, weights) is weights
    with ExitStack() as undo:
        matrix = turn(undo, model.hook_dict[NAME])
        along = turned_along(model, NAME, weights).numpy()
        assert along == pytest.approx(matrix.T @ weights.numpy(), abs=1e-6)
        norms = outgoing_norms(model, space)
    assert own is not None and norms is not None
    assert norms[WIDTH:] == pytest.approx(np.linalg.norm(along, axis=1), rel=1e-6)
    assert norms[:WIDTH] == pytest.approx(own[:WIDTH])  # the other layer is as it was


def test_low_precision_keeps_its_type() -> None:
    model = tiny_model()
    with ExitStack() as undo:
        turn(undo, point := model.hook_dict[NAME])
        values = torch.randn(2, 3, WIDTH, dtype=torch.bfloat16)
        back = point.turned_back(point.turned(values))
    assert back.dtype == torch.bfloat16
    torch.testing.assert_close(back, values, atol=0.03, rtol=0.02)
