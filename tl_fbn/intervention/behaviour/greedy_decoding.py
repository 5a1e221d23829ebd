"""Greedy decoding of answers: the most probable token, again and again, up to where an answer ends.

An answer ends

- at an end-of-text token, or any other special token (a new turn, say) save the one for unknown words;
- where it contains one of the strings of ``stop``;
- after ``max_new_tokens`` tokens.

The decoder is that of :mod:`tl_fbn.acquisition.model.sampling`. It differs in use: a recording needs a fixed number
of tokens from every context, and reads each of them; here an answer may end early, and its last token is never read.

Prompts of similar length share a batch. Cost: one pass over the prompts and one step a token, behind a key-value
cache where the model has one; without one, each step reads the whole text again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.model_lock import serves_one_thread
from tl_fbn.acquisition.model.sampling import Decoder, DecodingMode, decoding_mode


@serves_one_thread("free answers")
@torch.no_grad()
def write(
    model: HookedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_tokens: int,
    progress: bool,
) -> list[list[int]]:
    """Write the greedy continuation of each prompt.

    Args:
        model: A TransformerLens model with a tokenizer.
        prompts: Token ids of each prompt.
        max_new_tokens: Largest number of tokens to write after a prompt.
        stop: Strings that end an answer; the tokens that complete one are kept (:func:`cut` takes the string off).
        batch_tokens: Largest number of tokens of the prompts in a pass, padding and what is written counted.
        progress: Whether to show a progress bar.

    Returns:
        Token ids of each continuation, in the order of the prompts, without the special token that ended it.
    """
    mode = decoding_mode(model)
    ends = end_of_answer(model)
    written: list[list[int]] = [[] for _ in prompts]
    with tqdm(total=len(prompts), desc="responses", unit="item", disable=not progress) as bar:
        for batch in _batches_by_length(prompts, mode, batch_tokens, max_new_tokens):
            continuations = _continuations(
                Decoder(model, mode), [prompts[i] for i in batch], max_new_tokens, ends, tokenizer_of(model), stop
            )
            for i, tokens in zip(batch, continuations, strict=True):
                written[i] = tokens
            bar.update(len(batch))
    return written


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the strings that end an answer.

    Args:
        text: What was written.
        stop: The strings that end an answer; a text without any of them is left whole.
    """
    return text[: min((text.find(one) for one in stop if one in text), default=len(text))]


def end_of_answer(model: HookedModel) -> set[int]:
    """Ids of the tokens that end an answer: end-of-text, and all special tokens save the one for unknown words.

    Args:
        model: The model whose tokenizer and configuration name these tokens.
    """
    tokenizer = tokenizer_of(model)
    special = {int(token) for token in getattr(tokenizer, "all_special_ids", [])}
    return (special - {getattr(tokenizer, "unk_token_id", None)}) | set(host.end_tokens(model))


def _batches_by_length(
    prompts: Sequence[Sequence[int]], mode: DecodingMode, batch_tokens: int, n_new: int
) -> list[list[int]]:
    """Numbers of the prompts that share a batch: of similar length, or of equal length where the model needs that."""
    batches: list[list[int]] = []
    # shortest first: little padding, and batches that end at about the same step
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        last = batches[-1] if batches else []
        # this prompt is the longest of its batch; one that is longer than a batch is alone in it
        has_room = bool(last) and (len(last) + 1) * (len(prompts[i]) + n_new) <= batch_tokens
        if has_room and (mode != "equal" or len(prompts[last[0]]) == len(prompts[i])):
            last.append(i)
        else:
            batches.append([i])
    return batches


def _continuations(
    decoder: Decoder, prompts: list[Sequence[int]], n: int, ends: set[int], tokenizer: Any, stop: Sequence[str]
) -> list[list[int]]:
    """Token ids written after each prompt of one batch."""
    written: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    logits = decoder.feed(prompts)
    for step in range(1, n + 1):
        tokens = logits.argmax(-1).tolist()  # (batch,) greedy: the most probable next token of every text
        for i, token in enumerate(tokens):
            # the token that ends an answer is no part of it
            done[i] = done[i] or token in ends
            if not done[i]:
                written[i].append(token)
                # the whole answer is decoded: a stop string may be spread over several tokens
                done[i] = bool(stop) and any(one in tokenizer.decode(written[i]) for one in stop)
        # before another pass: the last token written need not be read
        if all(done) or step == n:
            break
        # texts that are done are fed too, so that the batch stays rectangular; what they write then is dropped
        logits = decoder.feed([[token] for token in tokens])
    return written
