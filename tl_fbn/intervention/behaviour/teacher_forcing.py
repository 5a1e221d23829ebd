"""Scores of given answers: one pass over each batch, in which only what is scored is unembedded.

A passage or an answer is read with its true tokens, and every scored token gets the log-probability that the model
gave it at the position before, in nats, and whether it was the most probable one there.

Cost: the forward pass; what several sequences begin with is read once where the model can
(:mod:`.sequence_batches`). Memory: logits of the scored tokens of one batch, of which a few rows at a time become
probabilities; batches are cut so that they hold at most :data:`MAX_LOGITS` logits, or one sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.shared_beginnings import Beginning, shares_beginnings
from tl_fbn.acquisition.model.unembedding import LogitsAt, unembedding_of_places
from tl_fbn.intervention.behaviour.sequence_batches import Branch, PreparedSequences, SequenceBatch

MAX_LOGITS = 1 << 26  # of one batch: 256 MiB in float32
_MAX_PROBABILITIES = 1 << 22  # that are held beside them at a time: 16 MiB


class SequenceScores(NamedTuple):
    """What a model says of the sequences of a battery.

    Args:
        hits: (sequence,) whether every scored token was the most probable one.
        sums: (sequence,) log-probability of the scored tokens together, in nats.
        said: (token,) id of the most probable token at every scored place, and one -1 at the end.
    """

    hits: Bool[np.ndarray, " sequence"]
    sums: Float[np.ndarray, " sequence"]
    said: Int[np.ndarray, " token"]


def most_scored(d_vocab: int | None) -> int:
    """Largest number of scored tokens in a batch of several sequences.

    Args:
        d_vocab: Size of the model's vocabulary; None if unknown.
    """
    return max(1, MAX_LOGITS // (d_vocab or 1 << 17))


def readings(model: HookedModel, prepared: PreparedSequences, share_prefixes: bool) -> Branch:
    """How the sequences of a battery are read under what is on a model now: as a tree of beginnings, or each whole.

    Args:
        model: The model.
        prepared: The sequences.
        share_prefixes: Whether shared beginnings may be read once.
    """
    if share_prefixes and prepared.shared.branches and shares_beginnings(model, prepared.longest):
        return prepared.shared
    return prepared.whole


@torch.no_grad()
def score_sequences(model: HookedModel, prepared: PreparedSequences, *, share_prefixes: bool = True) -> SequenceScores:
    """Score every sequence of a battery, under whatever hooks and interventions are on the model.

    Args:
        model: A TransformerLens model in eval mode.
        prepared: The sequences.
        share_prefixes: Whether beginnings that sequences share are read once, where the model can.
    """
    counts = prepared.counts
    hits = np.zeros(len(counts), dtype=bool)
    sums = np.zeros(len(counts))
    said = np.full(counts.sum() + 1, -1, dtype=np.int32)  # the last one is what an index of -1 points to
    tree = readings(model, prepared, share_prefixes)
    device = host.model_device(model)
    with unembedding_of_places(model) as logits_at:
        for batch, beginning in _batches(model, tree, logits_at, None, 0):
            options = {} if beginning is None else {"past_key_values": beginning.to_follow()}
            with declared(model, batch.starts):  # an intervention on what the model writes acts on the answer
                # no mask: a causal model's real positions do not see pads on their right
                ids = batch.ids.to(device)
                logits = logits_at(ids, batch.rows, batch.before, partial(model, ids, **options))
            true, argmax = _true_and_most_probable(logits, batch.targets.to(logits.device))
            wrong = argmax != batch.targets.numpy()
            owner = batch.rows.numpy()  # bincount by owner adds up the tokens of each sequence
            said[batch.slots] = argmax
            sums[batch.sequences] = np.bincount(owner, true, len(batch.sequences))
            hits[batch.sequences] = np.bincount(owner, wrong, len(batch.sequences)) == 0
    return SequenceScores(hits, sums, said)


def _batches(
    model: HookedModel, branch: Branch, logits_at: LogitsAt, before: Beginning | None, past: int
) -> Iterator[tuple[SequenceBatch, Beginning | None]]:
    """Every batch of a branch and of those that grow from it, with the beginning that it is read behind."""
    beginning = before
    if branch.ids.numel():
        past += branch.ids.numel()

        def read(ids: torch.Tensor, **options: Any) -> torch.Tensor:
            # logits of one place, which nobody wants
            last = torch.tensor([0]), torch.tensor([ids.shape[1] - 1])
            return logits_at(ids, *last, partial(model, ids, **options))

        # the prompt goes on behind all of it: no sequence's last token of the prompt is shared
        with declared(model, [past + 1]):
            beginning = Beginning.read(model, branch.ids.to(host.model_device(model)), before, read)
    for batch in branch.rests:
        yield batch, beginning
    for one in branch.branches:
        yield from _batches(model, one, logits_at, beginning, past)


def _true_and_most_probable(
    logits: Float[torch.Tensor, "scored vocab"], targets: Int[torch.Tensor, " scored"]
) -> tuple[Float[np.ndarray, " scored"], Int[np.ndarray, " scored"]]:
    """Log-probability of each true token, and the most probable token in its place."""
    n_rows = max(1, _MAX_PROBABILITIES // logits.shape[1])
    true, argmax = [], []
    for rows, tokens in zip(logits.split(n_rows), targets.split(n_rows), strict=True):
        log_probs = rows.float().log_softmax(-1)
        true.append(log_probs.gather(-1, tokens[:, None])[:, 0])
        argmax.append(log_probs.argmax(-1))  # the greedy token at each scored place
    return torch.cat(true).double().cpu().numpy(), torch.cat(argmax).cpu().numpy()
