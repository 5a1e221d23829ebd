"""The pass that hands out gradients: its loss, its chunks, what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.attribution import backward as gradients
from tl_fbn.attribution import cross_entropy
from tl_fbn.attribution.backward import frozen, per_item, propagate
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.gradient_points import gradient_points

ITEMS = [
    LossItem.next_tokens([3, 9, 4, 17, 22, 5], [[1, 3], [5]]),
    LossItem.next_tokens([7, 7, 21], [[2]], [0.5]),
    LossItem(
        (8, 2, 14, 27), (3, 3, 0), (6, 40, 11), (1.0, -1.0, 2.0)
    ),  # a position scored twice, as in a logit difference
]


def test_a_loss_is_a_sum_of_weighted_means() -> None:
    first = ITEMS[0]
    assert (first.at, first.targets, first.weights) == ((0, 2, 4), (9, 17, 5), (0.5, 0.5, 1.0))
    assert ITEMS[1].weights == (0.5,)


def direct(model: Any, item: LossItem) -> float:
    with torch.no_grad():
        log_probs = model(torch.tensor([item.ids]))[0].double().log_softmax(-1)
    return -sum(
        w * float(log_probs[at, target]) for at, target, w in zip(item.at, item.targets, item.weights, strict=True)
    )


@pytest.mark.parametrize("build", [lambda: bridged(tiny_llama()), lambda: bridged(tiny_gpt2()), tiny_model])
@pytest.mark.parametrize("elements", [1 << 22, 60])  # all rows of logits at once, and one at a time
def test_losses_and_gradients_are_those_of_plain_autograd(
    build: Any, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "_MAX_LOGITS_AT_ONCE", elements)
    model = build().to(torch.float64)
    _, points = gradient_points(model, "mlp.neurons")
    found: dict[int, torch.Tensor] = {}
    losses = propagate(model, ITEMS, points, lambda layer, gradient, value: found.update({layer: gradient}))
    assert losses.tolist() == pytest.approx([direct(model, item) for item in ITEMS], rel=1e-6)
    for number, item in enumerate(ITEMS):
        caught: dict[int, torch.Tensor] = {}
        hooks = [(name, _keeper(caught, layer)) for layer, name in points.items()]
        with model.hooks(fwd_hooks=hooks):
            log_probs = model(torch.tensor([item.ids]))[0].log_softmax(-1)
        loss = -sum(
            w * log_probs[at, target] for at, target, w in zip(item.at, item.targets, item.weights, strict=True)
        )
        expected = torch.autograd.grad(loss, [caught[layer] for layer in points])
        for layer, gradient in zip(points, expected, strict=True):
            assert torch.allclose(found[layer][number, : len(item.ids)], gradient[0], rtol=1e-6, atol=1e-9)
            assert not found[layer][number, len(item.ids) :].any()


def _keeper(caught: dict[int, torch.Tensor], layer: int) -> Any:
    def keep(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        caught[layer] = tensor
        return tensor

    return keep


def test_the_unembedding_sees_scored_positions_only() -> None:
    model = tiny_model()
    _, points = gradient_points(model, "mlp.neurons")
    seen: list[tuple[int, ...]] = []
    model.unembed.original_component.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape)))
    propagate(model, ITEMS[:2], points, lambda *_: None)
    assert seen == [(2, 4, 50)]  # positions 0, 1, 2 and 4 of six
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", lambda tensor, hook: None)]):
        propagate(model, ITEMS[:2], points, lambda *_: None)
    assert seen[1] == (2, 6, 50)  # a hook of the user's might look at all of them


def test_logits_that_somebody_may_look_at_again_are_left_alone() -> None:
    model = tiny_model()
    assert gradients._logits_may_be_overwritten(model, model(torch.tensor([[1, 2]])))
    assert not gradients._logits_may_be_overwritten(
        model, model(torch.tensor([[1, 2]])).tanh()
    )  # its derivative is made of its result
    assert not gradients._logits_may_be_overwritten(model, model(torch.tensor([[1, 2]])).tanh()[None])
    assert not gradients._logits_may_be_overwritten(model, torch.zeros(1, 2, 50))
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", lambda tensor, hook: None)]):
        assert not gradients._logits_may_be_overwritten(model, model(torch.tensor([[1, 2]])))
    seen: list[torch.Tensor] = []
    handle = model.unembed.original_component.register_forward_hook(lambda module, given, out: seen.append(out))
    _, points = gradient_points(model, "mlp.neurons")
    propagate(model, [ITEMS[0]], points, lambda *_: None)
    handle.remove()
    at = sorted(ITEMS[0].at)
    torch.testing.assert_close(seen[0], model(torch.tensor([ITEMS[0].ids]))[:, at])


def test_an_edit_is_what_the_gradient_is_taken_at() -> None:
    model = tiny_model().to(torch.float64)
    _, points = gradient_points(model, "mlp.neurons")
    values: dict[int, torch.Tensor] = {}
    propagate(model, ITEMS[:1], {0: points[0]}, lambda layer, gradient, value: values.update({0: value}))
    whole = values[0]
    propagate(
        model,
        ITEMS[:1],
        {0: points[0]},
        lambda layer, gradient, value: values.update({0: value}),
        edit=lambda layer, t: t / 2,
    )
    assert torch.allclose(values[0], whole / 2)


def test_a_point_that_fires_twice_or_never_is_refused() -> None:
    model = tiny_model()
    _, points = gradient_points(model, "mlp.neurons")
    model.blocks[1].forward = lambda tensor, *arguments, **options: (tensor,)
    with pytest.raises(ValueError, match="fired never in one forward pass"):
        propagate(model, ITEMS[:1], points, lambda *_: None)
    model = tiny_model()
    again = model.hook_dict[points[1]]
    model.blocks[1].mlp.register_forward_hook(lambda *_: again(torch.zeros(1, 6, 24)) is None or None)
    with pytest.raises(ValueError, match="fired twice in one forward pass"):
        propagate(model, ITEMS[:1], points, lambda *_: None)


def test_parameters_are_thawed_also_after_an_error() -> None:
    model = bridged(tiny_llama())
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match="on purpose"), frozen(model):
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise RuntimeError("on purpose")
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted


def test_sums_over_positions_are_at_least_float32() -> None:
    gradient = torch.randn(2, 5, 3)
    assert per_item(gradient.bfloat16()).dtype == torch.float32 and per_item(gradient.double()).dtype == torch.float64
    assert torch.allclose(per_item(gradient, gradient), (gradient * gradient).sum(1), atol=1e-6)
    share = torch.randn(2, 5)
    assert torch.allclose(per_item(gradient, share), (gradient * share[..., None]).sum(1), atol=1e-6)
