"""Batches by tokens: every sequence once, within the bounds, neighbours in length together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tl_fbn.acquisition.model.token_batches import CPU_TOKENS, require_fit, token_batches, tokens_at_once


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), max_size=40), st.integers(1, 200), st.integers(1, 30))
def test_every_sequence_is_in_one_batch_within_the_bounds(
    sequences: list[tuple[int, int]], at_once: int, most: int
) -> None:
    lengths, costs = [one for one, _ in sequences], [one for _, one in sequences]
    batches = token_batches(lengths, at_once, costs=costs, most=most)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[number] for number in batch)
        assert len(batch) == 1 or (padded <= at_once and sum(costs[number] for number in batch) <= most)
    # shortest first, through all batches
    order = [lengths[number] for batch in batches for number in batch]
    assert order == sorted(order)


def test_a_batch_is_as_full_as_it_may_be() -> None:
    assert token_batches([4, 2, 4, 3, 9], 9) == [[1, 3], [0, 2], [4]]
    assert token_batches([2, 2, 2], 100, costs=[5, 5, 5], most=10) == [[0, 1], [2]]
    assert token_batches([], 10) == []


def test_a_processor_holds_fewer_tokens_than_asked_for() -> None:
    model = tiny_model()
    assert (tokens_at_once(model, 8192), tokens_at_once(model, 100)) == (CPU_TOKENS, 100)


def test_sequences_longer_than_a_pass_are_refused() -> None:
    require_fit([3, 5], 5)
    with pytest.raises(fbn.InputError, match="batch_tokens=4 is less than the longest item, of 5 tokens"):
        require_fit([3, 5], 4)
