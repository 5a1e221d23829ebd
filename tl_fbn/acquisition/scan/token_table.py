"""The row table of a scan: what was shown, or written by the model, at every row.

============== =======================================================================================================
``prompt``     number of the prompt, from 0 through the whole recording
``block``      number of the block within the run, from 0
``position``   number of the token within its context, from 0
``token_id``   id of the token
``token``      the token as the tokenizer writes it, or its id where there is no tokenizer; empty if yet to be written
``trial_type`` the condition
``surprisal``  surprisal of the token, in nats; NaN where unknown
``entropy``    entropy of the model's prediction of the token, in nats; only where it was asked for
``flags``      words separated by spaces: ``bos`` (beginning of text), ``special`` (another special token),
               ``generated`` (written by the model), ``cut`` (last row of a prompt whose block ended before it did)
============== =======================================================================================================
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
    """The row table of one run, with one line a row.

    Args:
        contexts: The contexts of the run, in the order of rows.
        words: Tokens, positions and scores of the rows.
        tokenizer: A Hugging Face tokenizer; None writes token ids for tokens, and sees no special tokens.
        first_prompt: Number of the run's first prompt within the recording.
        entropy: True adds the column ``entropy``.

    Returns:
        The table, with the columns that are described above (:mod:`tl_fbn.acquisition.scan.token_table`).
    """
    lengths = [context.n_rows for context in contexts]
    ids = words.ids.tolist()
    text_of_id = {token: _token_text(tokenizer, token) for token in set(ids)}  # each token is looked up once
    flags = _flags(contexts, words, tokenizer)
    table = {
        "prompt": np.repeat(np.arange(first_prompt, first_prompt + len(contexts)), lengths),
        "block": np.repeat([context.block for context in contexts], lengths),
        "position": words.position,
        "token_id": ids,
        "token": [text_of_id[token] for token in ids],
        "trial_type": np.repeat([context.condition for context in contexts], lengths),
        "surprisal": words.surprisal.astype(np.float64),
    }
    if entropy:
        table["entropy"] = words.entropy.astype(np.float64)
    return pd.DataFrame({**table, "flags": flags})


def _flags(contexts: Sequence[Context], words: Words, tokenizer: Any) -> list[str]:
    """The column ``flags``."""
    bos = None if tokenizer is None else tokenizer.bos_token_id
    special = set() if tokenizer is None else set(tokenizer.all_special_ids)
    # the beginning-of-text token elsewhere than at the beginning is a special token like others
    flags = [
        "bos" if token == bos and position == 0 else "special" if token in special else ""
        for token, position in zip(words.ids.tolist(), words.position.tolist(), strict=True)
    ]
    for context in contexts:
        if context.new:
            flags[context.rows] = [f"{flag} generated".strip() for flag in flags[context.rows]]
        if context.cut:
            flags[context.rows.stop - 1] = f"{flags[context.rows.stop - 1]} cut".strip()
    return flags


def _token_text(tokenizer: Any, token: int) -> str:
    if token < 0:
        return ""  # yet to be written by the model
    return str(token) if tokenizer is None else str(tokenizer.convert_ids_to_tokens(token))
