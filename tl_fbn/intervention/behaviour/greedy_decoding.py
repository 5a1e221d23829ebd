"""The model writes an answer: greedily, up to where an answer ends.

A recording needs exactly so many tokens from every context (:mod:`tl_fbn.acquisition.model.sampling`, whose decoder this is); an answer ends when the model says so: at
an end-of-text or any other special token (a new turn), save the one for unknown words, at a string of ``stop``, or after ``max_new_tokens``.

Prompts of similar length share a batch, behind a key-value cache where the model has one; the last token written is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.sampling import Decoder, DecodingMode, decoding_mode


@torch.no_grad()
def write(
    model: HookedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_size: int,
    progress: bool,
) -> list[list[int]]:
    """Token ids of the most probable continuation of each prompt, without the token that ended it.

    Args:
        model: A TransformerLens model with a tokenizer.
        prompts: Token ids.
        max_new_tokens: Most tokens to write.
        stop: Strings that end an answer; the tokens that complete one are kept (:func:`cut` takes it off).
        batch_size: Prompts in a pass.
        progress: Show a bar.
    """
    mode = decoding_mode(model)
    ends = end_of_answer(model)
    written: list[list[int]] = [[] for _ in prompts]
    with tqdm(total=len(prompts), desc="responses", unit="item", disable=not progress) as bar:
        for batch in _batches(prompts, mode, batch_size):
            continued = _continue(
                Decoder(model, mode), [prompts[i] for i in batch], max_new_tokens, ends, tokenizer_of(model), stop
            )
            for i, tokens in zip(batch, continued, strict=True):
                written[i] = tokens
            bar.update(len(batch))
    return written


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of these strings."""
    return text[: min((text.find(one) for one in stop if one in text), default=len(text))]


def end_of_answer(model: HookedModel) -> set[int]:
    """Tokens that end an answer: of end-of-text, and special ones save that for unknown words."""
    tokenizer = tokenizer_of(model)
    special = {int(token) for token in getattr(tokenizer, "all_special_ids", [])}
    return (special - {getattr(tokenizer, "unk_token_id", None)}) | set(host.end_tokens(model))


def _batches(prompts: Sequence[Sequence[int]], mode: DecodingMode, batch_size: int) -> list[list[int]]:
    """Prompts of similar length together; of equal length where the model needs that."""
    batches: list[list[int]] = []
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        last = batches[-1] if batches else []
        joins = 0 < len(last) < batch_size
        if joins and (mode != "equal" or len(prompts[last[0]]) == len(prompts[i])):
            last.append(i)
        else:
            batches.append([i])
    return batches


def _continue(
    decoder: Decoder, prompts: list[Sequence[int]], n: int, ends: set[int], tokenizer: Any, stop: Sequence[str]
) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    logits = decoder.feed(prompts)
    for step in range(1, n + 1):
        tokens = logits.argmax(-1).tolist()
        for i, token in enumerate(tokens):
            done[i] = done[i] or token in ends
            if not done[i]:
                written[i].append(token)
                done[i] = bool(stop) and any(one in tokenizer.decode(written[i]) for one in stop)
        if all(done) or step == n:
            break
        logits = decoder.feed([[token] for token in tokens])
    return written
