"""Log-likelihoods of answers whose prompts begin alike: the beginning is read once, and each item's end behind it.

Items behind the same shots share nearly all their tokens. They are read into the model's own key-value cache once for
each task, under whatever interventions are on the model, and every item goes on from there. Right for interventions
that touch all tokens alike; others should know which tokens are prompt, which nobody says here.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
import torch

import tl_fbn as fbn


@torch.no_grad()
def log_likelihoods(model: Any, battery: fbn.Battery) -> dict[str, float]:
    """Mean over items of the log-probability of a token of the answer, in nats, for every task.

    Args:
        model: A bridge whose Hugging Face model has a dynamic cache.
        battery: Items with one right answer each.
    """
    found = {}
    for name, items in battery.scored_tokens(model).items():
        columns = zip(*(ids for ids, _ in items), strict=False)  # as long as the shortest
        common = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
        # the place before an answer is among the ends: its logits are those of the first token of the answer
        common = min(common, *(start - 1 for _, start in items))
        beginning = torch.tensor([items[0][0][:common]])
        _, cache = model(beginning, return_type="logits_and_cache", use_cache=True)
        cache.batch_repeat_interleave(len(items))
        ends = [torch.tensor(ids[common:]) for ids, _ in items]
        # pads on the right: no real place sees them
        padded = torch.nn.utils.rnn.pad_sequence(ends, batch_first=True)
        logits, _ = model(padded, return_type="logits_and_cache", use_cache=True, past_key_values=cache)
        log_probs = logits.float().log_softmax(-1)
        means = []
        for row, (ids, start) in enumerate(items):
            places = torch.arange(start, len(ids)) - common
            means.append(float(log_probs[row, places - 1, ends[row][places]].mean()))
        found[name] = float(np.mean(means))
    return found
