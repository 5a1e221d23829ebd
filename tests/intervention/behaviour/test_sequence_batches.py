"""Batches of sequences, and the tree of what they begin with alike: every token is read once, and none is lost."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.acquisition.model.token_batches import CPU_TOKENS
from tl_fbn.intervention.behaviour.item_tokens import encode_tasks
from tl_fbn.intervention.behaviour.sequence_batches import PASS_IN_TOKENS, Branch, PreparedSequences

RNG = np.random.default_rng(0)


def ids(n):
    return tuple(RNG.integers(2, 40, n).tolist())


def prepared(battery, batch_tokens=8192, max_scored=10**6, **options):
    sequences = encode_tasks(battery.tasks, None, n_ctx=None, d_vocab=50, prepend_bos=False)
    return PreparedSequences.of(battery.tasks, sequences, batch_tokens, max_scored, **options)


def read(branch: Branch, before=()):
    """(beginning, batch) of every batch of a tree."""
    here = (*before, *branch.ids[0].tolist())
    for batch in branch.rests:
        yield here, batch
    for one in branch.branches:
        yield from read(one, here)


def of_two_tasks():
    """Two tasks of 12 items behind a beginning of 30 and of 40 tokens, and choices of four behind 50 more."""
    heads = ids(30), ids(40)
    pairs = {name: [((*head, *ids(4)), ids(2)) for _ in range(12)] for name, head in zip("ab", heads, strict=True)}
    question = ids(50)
    choices = [
        ((*heads[0], *question), [(i + 2, *ids(1)) for i in range(4)], 0),
        ((*heads[0], *ids(3)), [(2,), (3, 4)], 1),
    ]
    return fbn.Battery.from_pairs(pairs) | fbn.Battery.from_choices({"c": choices}), heads, question


def test_beginnings_are_read_once_and_every_sequence_is_whole():
    battery, heads, question = of_two_tasks()
    found = prepared(battery)
    tree = found.shared
    beginnings = sorted(tuple(one.ids[0].tolist()) for one in tree.branches)
    assert beginnings == sorted(heads)
    (nested,) = [one for branch in tree.branches for one in branch.branches]
    assert tuple(nested.ids[0].tolist()) == question[:-1]  # its last token predicts the alternatives
    seen = []
    for before, batch in read(tree):
        for row, number in enumerate(batch.sequences):
            sequence, start = found.sequences[number]
            assert (*before, *batch.ids[row].tolist())[: len(sequence)] == sequence
            assert int(batch.starts[row]) == start > len(before)
            scored = batch.rows.numpy() == row
            places = batch.before.numpy()[scored] + len(before)
            assert places.tolist() == list(range(start - 1, len(sequence) - 1))
            assert tuple(batch.targets.numpy()[scored]) == sequence[start:]
            seen.append(number)
    assert sorted(seen) == list(range(len(found.sequences)))
    slots = np.concatenate([batch.slots for _, batch in read(tree)])
    assert sorted(slots) == list(range(found.counts.sum()))
    assert sum(tree.sizes()) < 0.4 * sum(found.whole.sizes())


def test_a_beginning_that_spares_less_than_a_pass_is_not_read_by_itself():
    head = ids(9)
    few = PASS_IN_TOKENS // len(head)
    for n, shared in ((few, False), (few + 3, True)):
        items = [((*head, i + 2), (1,)) for i in range(n)]
        assert bool(prepared(fbn.Battery.from_pairs({"t": items})).shared.branches) == shared


def test_what_is_scored_is_never_shared():
    """The passages begin alike, and are scored from their second token on."""
    head = ids(40)
    found = prepared(fbn.Battery.from_texts({"t": [(*head, *ids(5)) for _ in range(10)]}))
    assert not found.shared.branches and len(found.shared.rests[0].sequences) == 10
    # and the last token of a prompt, whose logits predict the answer, is read with each answer
    same = prepared(fbn.Battery.from_choices({"t": [(head, [(i + 2,) for i in range(9)], 0)]})).shared
    assert same.branches[0].ids[0].tolist() == list(head[:-1])


def test_a_short_item_among_long_ones_does_not_hide_what_they_share():
    head = ids(60)
    items = [((*head, *ids(3)), (1,)) for _ in range(6)] + [(head[:4], (head[4], head[5]))]
    tree = prepared(fbn.Battery.from_pairs({"t": items})).shared
    lengths = [one.ids.numel() for one in tree.branches]
    assert lengths == [60] and [len(batch.sequences) for batch in tree.rests] == [1]


def test_thousands_of_nested_beginnings_are_no_recursion():
    items = [((2,) * n, (3,)) for n in range(1, 1500)]
    found = prepared(fbn.Battery.from_pairs({"t": items}))
    assert sorted(n for _, batch in read(found.shared) for n in batch.sequences) == list(range(len(items)))


def test_batches_hold_no_more_than_they_may():
    battery = fbn.Battery.from_pairs({"t": [(ids(n), ids(1 + n % 3)) for n in range(1, 200)]})
    for tree in (prepared(battery, 300).whole, prepared(battery, 300).shared):
        assert max(tree.sizes()) <= 300
    on_cpu = prepared(battery, at_once=CPU_TOKENS).whole
    assert CPU_TOKENS / 2 < max(on_cpu.sizes()) <= CPU_TOKENS < max(prepared(battery).whole.sizes())
    few = prepared(battery, 300, max_scored=4).whole
    assert max(len(batch.targets) for batch in few.rests) <= 4
    with pytest.raises(fbn.errors.InputError, match="batch_tokens=200 is less than the longest item, of 201 tokens"):
        prepared(battery, 200)
