"""Scores of given answers: the same in any batches, and without logits of positions that are not scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tl_fbn as fbn
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tl_fbn.intervention.behaviour import teacher_forcing
from tl_fbn.intervention.behaviour.item_tokens import encode_tasks
from tl_fbn.intervention.behaviour.sequence_batches import PreparedSequences
from tl_fbn.intervention.behaviour.teacher_forcing import most_scored, score_sequences

RNG = np.random.default_rng(0)
PAIRS = [(tuple(RNG.integers(1, 49, n).tolist()), tuple(RNG.integers(1, 49, 1 + n % 3).tolist())) for n in range(1, 25)]


def prepared(battery, batch_tokens=8192, max_scored=10**6):
    sequences = encode_tasks(battery.tasks, None, n_ctx=32, d_vocab=50, prepend_bos=False)
    return PreparedSequences.of(battery.tasks, sequences, batch_tokens, max_scored)


@pytest.mark.parametrize(("batch_tokens", "max_scored"), [(27, 10**6), (60, 10**6), (8192, 2), (8192, 5)])
def test_batches_change_nothing(batch_tokens, max_scored, monkeypatch):
    model = tiny_model()
    battery = fbn.Battery.from_pairs({"t": PAIRS}) | fbn.Battery.from_texts({"p": [one for one, _ in PAIRS[1:]]})
    whole = score_sequences(model, prepared(battery))
    monkeypatch.setattr(teacher_forcing, "_MAX_PROBABILITIES", 120)  # two rows of 50 at a time
    parts = prepared(battery, batch_tokens, max_scored)
    for batch in parts.whole.rests:
        assert batch.ids.numel() <= batch_tokens
        assert len(batch.sequences) == 1 or len(batch.targets) <= max_scored
    found = score_sequences(model, parts)
    np.testing.assert_allclose(found.sums, whole.sums, atol=1e-4)
    assert np.array_equal(found.hits, whole.hits) and np.array_equal(found.said, whole.said)


class Products(TorchDispatchMode):
    """Counts the rows of all matrix products with so many columns."""

    def __init__(self, n_columns):
        super().__init__()
        self.n_columns, self.n_rows = n_columns, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default) and found.shape[1] == self.n_columns:
            self.n_rows += found.shape[0]
        return found


def test_logits_are_made_of_scored_tokens_only():
    battery = fbn.Battery.from_pairs({"t": PAIRS})
    with Products(50) as products:  # the vocabulary; no other width of this model is 50
        battery.score(bridged(tiny_llama()))
    assert products.n_rows == sum(len(answer) for _, answer in PAIRS)


def test_a_batch_of_a_large_vocabulary_is_small():
    assert most_scored(49_152) * 49_152 <= teacher_forcing.MAX_LOGITS
    assert most_scored(None) >= 1 and most_scored(10**9) == 1


@pytest.mark.parametrize("ids", [((1, 50), (2,)), ((1, 2), (50,))])
def test_ids_outside_the_vocabulary_are_named(ids):
    battery = fbn.Battery.from_pairs({"t": [PAIRS[0], ids]})
    with pytest.raises(fbn.errors.InputError, match=r"item 1 of task 't' has token ids .* the vocabulary is 0 to 49"):
        battery.score(tiny_model())
    with pytest.raises(fbn.errors.InputError, match="the vocabulary is 0 to 49"):
        fbn.Battery.from_texts({"t": [ids[0] + ids[1]]}).evaluate(tiny_model())
    with pytest.raises(fbn.errors.InputError, match="the vocabulary is 0 to 49"):
        fbn.Battery.from_choices({"t": [(ids[0], [ids[1], (4, 5)], 0)]}).evaluate(tiny_model())


def test_ids_below_zero_are_named():
    with pytest.raises(fbn.errors.InputError, match=r"item 1 of task 't': the prompt has -1 at place 0"):
        fbn.Battery.from_pairs({"t": [PAIRS[0], ((-1, 2), (3,))]})
