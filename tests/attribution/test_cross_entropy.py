"""Cross-entropies of a batch: values and cross_entropy are those of PyTorch, a few rows at a time, also written over
the logits.
"""

from __future__ import annotations

import pytest
import torch

from tl_fbn.attribution import cross_entropy
from tl_fbn.attribution.cross_entropy import LossItem, losses_of, wide


def test_chunked_entropies_pass_gradcheck() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    rows, targets = torch.tensor([0, 4, 4, 5]), torch.tensor([1, 2, 6, 0])
    assert torch.autograd.gradcheck(
        lambda values: cross_entropy._CrossEntropies.apply(values, rows, targets, False), logits
    )


def test_a_gradient_in_the_place_of_the_logits_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "_MAX_LOGITS_AT_ONCE", 14)  # two rows at a time
    torch.manual_seed(0)
    start, scales = torch.randn(2, 3, 7, requires_grad=True), torch.tensor([1.0, -0.5, 2.0, 1.0])
    rows, targets = torch.tensor([4, 0, 4, 5]), torch.tensor([2, 1, 6, 0])
    found = []
    for ours in (False, True):
        logits = start * 1.0
        kept = logits.detach()
        losses: torch.Tensor = cross_entropy._CrossEntropies.apply(logits, rows, targets, ours)  # type: ignore[assignment]
        found += torch.autograd.grad(losses @ scales, start)
        assert torch.equal(kept, start) != ours
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    expected = torch.nn.functional.cross_entropy(start.flatten(0, 1)[rows], targets, reduction="none") @ scales
    torch.testing.assert_close(found[0], torch.autograd.grad(expected, start)[0])


ITEMS = [
    LossItem.next_tokens([3, 6, 1, 2, 0], [[1, 3], [4]], [0.5, 2.0]),
    LossItem((4, 2), (0, 0), (5, 2), (1.0, -1.0)),  # a position scored twice, as in a logit difference
]


def test_an_item_is_the_mean_over_each_group_of_the_tokens_given_those_before() -> None:
    first = ITEMS[0]
    assert (first.ids, first.at, first.targets) == ((3, 6, 1, 2, 0), (0, 2, 3), (6, 2, 0))
    assert first.weights == (0.25, 0.25, 2.0)
    assert LossItem.next_tokens([3, 6, 1], [[1], [2]]).weights == (1.0, 1.0)


@pytest.mark.parametrize("elements", [1 << 22, 7])  # all rows of logits at once, and one at a time
@pytest.mark.parametrize("scored_only", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_losses_of_a_batch_are_pytorchs(
    elements: int, scored_only: bool, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "_MAX_LOGITS_AT_ONCE", elements)
    torch.manual_seed(0)
    whole = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    kept = [0, 2, 3]
    given = whole[:, kept] * 1.0 if scored_only else whole * 1.0
    found = losses_of(given, ITEMS, kept, 5, overwrite=overwrite)
    expected = torch.stack(
        [
            sum(
                weight * torch.nn.functional.cross_entropy(whole[number, at], torch.tensor(target))
                for at, target, weight in zip(item.at, item.targets, item.weights, strict=True)
            )
            for number, item in enumerate(ITEMS)
        ]
    )
    torch.testing.assert_close(found, expected)
    scale = torch.tensor([1.0, -3.0], dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(losses @ scale, whole)[0] for losses in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = losses_of(logits, ITEMS, [0, 2, 3], 5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, losses_of(logits.float(), ITEMS, [0, 2, 3], 5), rtol=0, atol=0)
    assert wide(logits).dtype == torch.float32 and wide(logits.double()).dtype == torch.float64
