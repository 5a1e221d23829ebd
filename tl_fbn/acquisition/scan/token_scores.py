"""Surprisal and entropy of tokens, from the logits that predict them.

With z the logits of one position over the vocabulary, and w the token that follows::

    surprisal = logsumexp(z) - z_w            entropy = -sum_v p_v log p_v,   p = softmax(z)

Both are in nats. What is computed on the way is as large as the logits, so a few positions are scored at a time: at
most :data:`PIECE_BYTES` in float32, and on a CPU at most 16 positions, which stay in its cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model.contexts import Context

PIECE_BYTES = 32 << 20  # of logits in float32 that are scored at a time: 32 MiB
_ROWS_IN_CACHE = 16  # positions that a CPU scores at a time


def surprisal_and_entropy(
    logits: Float[torch.Tensor, "pos vocab"], following: Int[torch.Tensor, " pos"], *, entropy: bool
) -> tuple[Float[np.ndarray, " pos"], Float[np.ndarray, " pos"]]:
    """Of each position the surprisal of the token that follows, and the entropy of its prediction, in nats.

    Args:
        logits: Logits of each position.
        following: Id of the token that follows each position.
        entropy: False computes no entropy, which is then NaN.
    """
    n_rows = max(PIECE_BYTES // (4 * max(logits.shape[-1], 1)), 1)
    if logits.device.type == "cpu":
        n_rows = min(n_rows, _ROWS_IN_CACHE)
    scores = torch.full((2, len(following)), torch.nan, device=logits.device)
    for start in range(0, len(following), n_rows):
        rows = slice(start, start + n_rows)
        piece, tokens = logits[rows].float(), following[rows, None]
        if not entropy:
            # -log p(token) = logsumexp(logits) - logit(token), without the array of all log-probabilities
            scores[0, rows] = piece.logsumexp(-1) - piece.gather(-1, tokens)[:, 0]
            continue
        log_probs = piece.log_softmax(-1)
        scores[0, rows] = -log_probs.gather(-1, tokens)[:, 0]
        # a token that is ruled out (logit -inf) adds 0, where 0 * -inf is NaN
        scores[1, rows] = torch.special.entr(log_probs.exp_()).sum(-1)
    surprisals, entropies = scores.cpu().numpy()
    return surprisals, entropies


@dataclass(frozen=True, eq=False)
class PredictedTokens:
    """The tokens of a batch of prompts that the model predicted: all but first ones.

    Args:
        rows: (token,) row of each token within the run.
        texts: (token,) place in the batch of the prompt that it is in.
        positions: (token,) position of the token before it, where its logits are.
        ids: (token,) the tokens.
    """

    rows: Int[np.ndarray, " token"]
    texts: Int[torch.Tensor, " token"]
    positions: Int[torch.Tensor, " token"]
    ids: Int[torch.Tensor, " token"]

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> PredictedTokens:
        """The predicted tokens of prompts in the order of a batch, prompt by prompt.

        Args:
            contexts: The prompts.
        """
        n_predicted = [len(context.ids) - 1 for context in contexts]
        within = np.concatenate([np.arange(n) for n in n_predicted])
        first_rows = np.repeat([context.first_row for context in contexts], n_predicted)
        return cls(
            first_rows + 1 + within,
            torch.from_numpy(np.repeat(np.arange(len(contexts)), n_predicted)),
            torch.from_numpy(within),
            torch.tensor([token for context in contexts for token in context.ids[1:]], dtype=torch.long),
        )
