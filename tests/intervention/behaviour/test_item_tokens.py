"""Items as token ids: merges across the boundary, padding, and layouts against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import normalizers

import tl_fbn as fbn
from tl_fbn.intervention.behaviour.item_tokens import Layout, encode_item, padded
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task


def test_a_merge_across_the_boundary_belongs_to_the_answer():
    class Pairs:
        """Two letters make one token wherever they can, from the left."""

        bos_token_id = None

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            text = text.replace(" ", "")
            return {"input_ids": [sum(map(ord, text[i : i + 2])) for i in range(0, len(text), 2)]}

    ids, start = encode_item(Pairs(), "abc", "de")  # ab cd e, where the prompt alone is ab c
    assert (len(ids), start) == (3, 1)


def test_strings_and_ids_do_not_mix():
    with pytest.raises(ValueError, match="must both be strings or both be token ids"):
        encode_item(None, "a", (1,))
    with pytest.raises(ValueError, match="nothing to score"):
        encode_item(None, (1,), ())


def test_rows_of_several_lengths_are_padded():
    assert padded([(1, 2), (), (3,)]).tolist() == [[1, 2], [-1, -1], [3, -1]]
    assert padded([]).shape == (0, 0)


@pytest.mark.parametrize("kind", ["answer", "choice"])
def test_a_layout_equals_a_loop_over_items(kind):
    """Random sums with ties and not-a-numbers, behind another task."""
    rng = np.random.default_rng(1)
    items = tuple(BatteryItem((), tuple((i, j) for j in range(rng.integers(1, 5)))) for i in range(60))
    sequences = [((0, 1), 1)] * 3
    sequences += [((0, *range(int(rng.integers(1, 4)))), 1) for item in items for _ in item.alternatives]
    counts = np.array([len(ids) - start for ids, start in sequences])
    layout = Layout.of(Task("t", kind, items), sequences, 3, 3)
    hits = rng.random(len(sequences)) < 0.4
    sums = rng.integers(-3, 0, len(sequences)).astype(float)
    sums[rng.random(len(sums)) < 0.1] = np.nan
    said = np.r_[np.arange(counts.sum()), -1]
    scores = layout.scores(hits, sums, counts, said)
    cursor = 3
    for i, item in enumerate(items):
        span = slice(cursor, cursor + len(item.alternatives))
        if kind == "choice":
            own, others = sums[cursor], sums[cursor + 1 : span.stop]
            assert scores.exact_match[i] == (own > others).all() or np.isnan(own)
            if np.isnan(sums[span]).any():
                assert scores.outputs[i, 0] == -1 and not scores.exact_match[i]
            else:
                winner = scores.outputs[i, 0]
                assert (winner == 0) == scores.exact_match[i] and sums[cursor + winner] == sums[span].max()
            np.testing.assert_equal(scores.log_likelihood[i], own / counts[cursor])
        else:
            assert scores.exact_match[i] == hits[span].any()
            np.testing.assert_equal(scores.log_likelihood[i], np.max(sums[span] / counts[span]))
            shown = cursor + (int(np.argmax(hits[span])) if hits[span].any() else 0)
            expected = (counts[:shown].sum() + np.arange(counts[shown])).tolist()
            assert [token for token in scores.outputs[i] if token >= 0] == expected
        cursor = span.stop


def test_items_are_prepared_anew_where_the_tokenizer_was_changed_in_place(demo_model) -> None:
    battery = fbn.Battery.from_pairs({"t": [("sort : b a", "a b")]})
    before = battery.scored_tokens(demo_model)
    backend = demo_model.tokenizer.backend_tokenizer
    normalizer = backend.normalizer
    try:
        backend.normalizer = normalizers.Replace("a", "b")
        assert battery.scored_tokens(demo_model) != before
    finally:
        backend.normalizer = normalizer
    assert battery.scored_tokens(demo_model) == before
