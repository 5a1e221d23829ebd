"""The row table of a scan: for every row its prompt, block, place, token and condition.

``flags`` holds words separated by spaces: ``bos`` and ``special`` for such tokens, ``generated`` for tokens the model wrote,
``cut`` for the last row of a prompt whose block ended before it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.scan.forward_passes import Words


def row_table(
    contexts: Sequence[Context], words: Words, tokenizer: Any, first_prompt: int, entropy: bool
) -> pd.DataFrame:
    """One line a row of a run.

    Args:
        contexts: The run's contexts.
        words: Tokens, places and scores of its rows.
        tokenizer: A Hugging Face tokenizer, or None.
        first_prompt: Number of the run's first prompt within the recording.
        entropy: Whether entropies were asked for.
    """
    lengths = [context.n_rows for context in contexts]
    ids = words.ids.tolist()
    spelled = {token: _word(tokenizer, token) for token in set(ids)}
    flags = _flags(contexts, words, tokenizer)
    table = {
        "prompt": np.repeat(np.arange(first_prompt, first_prompt + len(contexts)), lengths),
        "block": np.repeat([context.block for context in contexts], lengths),
        "position": words.position,
        "token_id": ids,
        "token": [spelled[token] for token in ids],
        "trial_type": np.repeat([context.condition for context in contexts], lengths),
        "surprisal": words.surprisal.astype(np.float64),
    }
    if entropy:
        table["entropy"] = words.entropy.astype(np.float64)
    return pd.DataFrame({**table, "flags": flags})


def _flags(contexts: Sequence[Context], words: Words, tokenizer: Any) -> list[str]:
    bos = None if tokenizer is None else tokenizer.bos_token_id
    special = set() if tokenizer is None else set(tokenizer.all_special_ids)
    flags = [
        "bos" if token == bos and at == 0 else "special" if token in special else ""
        for token, at in zip(words.ids.tolist(), words.position.tolist(), strict=True)
    ]
    for context in contexts:
        if context.new:
            flags[context.rows] = [f"{flag} generated".strip() for flag in flags[context.rows]]
        if context.cut:
            flags[context.rows.stop - 1] = f"{flags[context.rows.stop - 1]} cut".strip()
    return flags


def _word(tokenizer: Any, token: int) -> str:
    if token < 0:
        return ""  # yet to be written
    return str(token) if tokenizer is None else str(tokenizer.convert_ids_to_tokens(token))
