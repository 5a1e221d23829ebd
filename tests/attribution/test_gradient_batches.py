"""Backward passes by tokens: bounded by what is asked for, and by what autograd keeps."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tests.helpers.gradients import IDS
from tests.helpers.models import bridged, tiny_gpt2, tiny_llama
from tl_fbn.attribution import gradient_batches as module
from tl_fbn.attribution.backward import propagate
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.attribution.gradient_batches import gradient_batches
from tl_fbn.attribution.gradient_plan import bytes_kept
from tl_fbn.attribution.gradient_points import gradient_points


def items_of(lengths: list[int]) -> list[LossItem]:
    return [LossItem.next_tokens([1 + i % 30 for i in range(n)], [[n - 1]]) for n in lengths]


def test_batches_hold_as_many_tokens_as_asked_for() -> None:
    model = bridged(tiny_llama())
    space, points = gradient_points(model, "mlp.neurons")
    items = items_of([6, 3, 6, 5])
    assert gradient_batches(model, items, 12, space, points) == [[1, 3], [0, 2]]
    assert gradient_batches(model, items, 8192, space, points) == [[1, 3, 0, 2]]
    with pytest.raises(fbn.InputError, match="batch_tokens=5 is less than the longest item, of 6 tokens"):
        gradient_batches(model, items, 5, space, points)


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_what_is_kept_stays_near_the_bound(build, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bridged(build())
    space, points = gradient_points(model, "mlp.neurons")
    items = items_of([16] * 64)
    monkeypatch.setattr(module, "KEPT_BYTES", 200_000)
    batches = gradient_batches(model, items, 8192, space, points)
    chosen = [items[number] for number in batches[0]]
    kept = bytes_kept(model, lambda: propagate(model, chosen, points, lambda layer, gradient, value: None))
    assert len(batches) > 1 and 60_000 < kept <= 200_000, kept


def test_one_item_alone_may_be_larger_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 1)
    model = bridged(tiny_llama())
    found = fbn.cgvst(model, IDS, positions=[[2], [3], [4]], progress=False)
    monkeypatch.undo()
    whole = fbn.cgvst(model, IDS, positions=[[2], [3], [4]], progress=False)
    assert abs(found.values - whole.values).max() < 1e-5 * abs(whole.values).max()
