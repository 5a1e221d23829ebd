"""Screens of collapse neurons: what a unit writes is that of a hand-made hook, and stand-ins show at half strength."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tests.helpers.models import tiny_gpt2, tiny_model
from tests.helpers.planted import PLANTS, planted
from tl_fbn.acquisition.model.sites import resolve_site
from tl_fbn.intervention.studies.collapse_screens import (
    beginnings,
    interleaved,
    lesioned_screens,
    ranks,
    screens,
    written_size,
)

TEXTS = [(1, 5, 6, 7, 8), (1, 9, 3), (2, 4, 4, 2, 1, 30, 31)]


@pytest.mark.parametrize("batch_tokens", [7, 8192])
def test_what_units_write_is_told_by_their_largest_activation_and_the_stream(batch_tokens):
    model = tiny_model()
    found = written_size(model, resolve_site(model, "mlp.neurons"), list(TEXTS), batch_tokens)
    for layer in range(2):
        peaks, lengths = [], []
        for text in TEXTS:
            _, cache = model.run_with_cache(torch.tensor([text]))
            peaks.append(cache[f"blocks.{layer}.mlp.hook_post"].detach().abs().flatten(0, 1).amax(0))
            lengths.append(cache[f"blocks.{layer}.hook_resid_post"].detach().norm(dim=-1).flatten())
        norms = model.blocks[layer].mlp.W_out.detach().norm(dim=1)
        wanted = torch.stack(peaks).amax(0) * norms / np.median(torch.cat(lengths))
        np.testing.assert_allclose(found[24 * layer : 24 * (layer + 1)], wanted, rtol=1e-4)


def test_units_that_stand_in_for_each_other_show_at_half_strength_and_without_one():
    model, texts = planted(PLANTS["pair"])
    ids = [tuple(text) for text in texts]
    space = fbn.Scanner(model).space
    pair = [space.index(1, 7), space.index(1, 8)]
    found = {name: ranks(scores)[pair] for name, scores in screens(model, ids, 8192).items()}
    assert set(found) == {"written", "gradient", "half"} and found["written"].max() == 2
    without = lesioned_screens(model, ids, 8192, fbn.Network.from_indices(space, pair[:1]))
    assert np.isneginf(without["gradient"][pair[0]]) and ranks(without["written"])[pair[1]] == 1
    assert not model.hook_dict["blocks.0.mlp.hook_post"].fwd_hooks


def test_texts_are_cut_and_spread_evenly():
    model = tiny_model()
    given = [[number, *range(1, 30)] for number in range(40)]
    ids, about = beginnings(model, given, 4, 20)
    assert [one[0] for one in ids] == [0, 13, 26, 39] and {len(one) for one in ids} == {20}
    assert about["texts"] == 4 and about["tokens"] == 76 and len(about["prompts"]) == 4
    longer = [list(range(45))] * 4  # longer than the context of 32, of which nothing is read
    assert {len(one) for one in beginnings(model, longer, None, 20)[0]} == {20}
    with pytest.raises(fbn.InputError, match="vocabulary is 0 to 49"):
        beginnings(model, [[1, 99] * 10] * 4, None, 20)


def test_rankings_take_turns():
    scores = {"a": np.array([3.0, 2.0, 1.0, 0.0]), "b": np.array([3.0, -np.inf, 2.0, 5.0])}
    assert interleaved(scores, 4) == [0, 3, 1, 2]
    assert interleaved(scores, 2) == [0, 3]
    assert interleaved({"b": scores["b"]}, 4) == [3, 0, 2]
    assert ranks(scores["a"]).tolist() == [1, 2, 3, 4]


def test_weights_that_cannot_be_read_are_named(monkeypatch):
    from tl_fbn.intervention.studies import collapse_screens

    monkeypatch.setattr(collapse_screens, "outgoing_norms", lambda model, space: None)
    model = tiny_model()
    with pytest.raises(fbn.InputError, match="do not tell what its MLP neurons add"):
        written_size(model, resolve_site(model, "mlp.neurons"), list(TEXTS), 8192)


def test_a_hugging_face_host_is_screened_too():
    from tests.helpers.models import bridged

    model = bridged(tiny_gpt2())
    found = screens(model, list(TEXTS), 8192)
    assert all(np.isfinite(one).all() and one.std() > 0 for one in found.values())
