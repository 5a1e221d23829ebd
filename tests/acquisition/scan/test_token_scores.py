"""Surprisal and entropy from logits: known answers, in whatever pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.scan import token_scores
from tl_fbn.acquisition.scan.token_scores import PredictedTokens, surprisal_and_entropy


@pytest.mark.parametrize("entropy", [True, False])
def test_entropy_beside_a_token_that_is_ruled_out(entropy: bool) -> None:
    """By hand: three tokens of probabilities 1/2, 1/4, 1/4 and one of 0 have an entropy of 1.5 bits."""
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.0, 0.25]] * 2))
    surprisal, found = surprisal_and_entropy(logits, torch.tensor([1, 2]), entropy=entropy)
    np.testing.assert_allclose(surprisal, [2 * np.log(2), np.inf], rtol=1e-6)
    np.testing.assert_allclose(found, [1.5 * np.log(2) if entropy else np.nan] * 2, rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_scores_are_those_of_the_whole_distribution(n: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(token_scores, "PIECE_BYTES", 4 * 30 * 3)  # three positions
    logits = 3 * torch.randn(n, 30, generator=torch.Generator().manual_seed(0))
    following = torch.arange(n) % 30
    expected = log_softmax(logits.double().numpy(), axis=-1)
    for entropy in (True, False):
        surprisal, found = surprisal_and_entropy(logits, following, entropy=entropy)
        np.testing.assert_allclose(surprisal, -expected[np.arange(n), following.numpy()], rtol=1e-5)
        if entropy:
            np.testing.assert_allclose(found, -(np.exp(expected) * expected).sum(-1), rtol=1e-5)


def test_predicted_tokens_are_all_but_the_first_of_each_prompt() -> None:
    contexts = [
        Context(ids=(5, 6, 7), condition="a", block=0, first_row=10, digests=()),
        Context(ids=(9,), condition="a", block=0, first_row=13, digests=()),
        Context(ids=(8, 2), condition="a", block=0, first_row=2, digests=()),
    ]
    found = PredictedTokens.of(contexts)
    assert found.rows.tolist() == [11, 12, 3]
    assert found.texts.tolist() == [0, 0, 2]
    assert found.positions.tolist() == [0, 1, 0]
    assert found.ids.tolist() == [6, 7, 2]
    assert not len(PredictedTokens.of(contexts[1:2]).rows)
