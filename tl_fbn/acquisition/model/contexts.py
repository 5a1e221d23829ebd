"""From a design to token ids: which tokens each block shows, as independent contexts.

Strings are tokenised here and nowhere else (the host's own handling of strings adds tokens, re-pads and differs by
architecture); the beginning-of-text token is prepended to strings and flagged. Lists of token ids are taken as they
are; chats go through the tokenizer's own template, which brings its special tokens along. A block takes prompts until it
has its rows; the last prompt is presented only as far as the block lasts.

Where rows are generated, a context is a prompt and the number of tokens the model shall write after it; with a carried
context the run's prompts are one text, and only its first string gets the beginning-of-text token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tl_fbn.acquisition.design.block_design import BlockDesign, Chat, Prompt, is_chat, prompt_digest, too_few_prompts
from tl_fbn.errors import InputError


@dataclass(frozen=True)
class Context:
    """One presentation of one prompt: its own context, positions from 0.

    Args:
        ids: Token ids shown (cut where the block ends).
        condition: trial_type of its rows.
        block: Block within the run.
        first_row: Row of its first token within the run.
        digests: Digests of the whole prompt, text and token ids.
        new: Tokens to generate; these are its rows then, and 0 means that the prompt's tokens are.
        cut: The block ended before the prompt did.
    """

    ids: tuple[int, ...]
    condition: str
    block: int
    first_row: int
    digests: tuple[str, ...]
    new: int = 0
    cut: bool = False

    @property
    def n_rows(self) -> int:
        return self.new or len(self.ids)

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + self.n_rows)


def beginning(tokenizer: Any, d_vocab: int | None = None) -> int | None:
    """The tokenizer's BOS, if the model knows it: TransformerLens gives a tokenizer that declares none (Galactica's) one
    of its own, with an id behind the end of the vocabulary."""
    bos = None if tokenizer is None else tokenizer.bos_token_id
    return None if bos is None or (d_vocab is not None and bos >= d_vocab) else bos


def encode(
    tokenizer: Any, prompt: Prompt | Sequence[int], *, reply: bool = False, d_vocab: int | None = None
) -> tuple[int, ...]:
    """Token ids of a prompt.

    Strings get the tokenizer's BOS in front if it has one, ids are taken as they are, chats go through the template.

    Args:
        tokenizer: A Hugging Face tokenizer; None where prompts are token ids.
        prompt: A string, token ids, or a chat as (role, content) pairs.
        reply: Open the assistant's turn at the end of a chat whose last message is another's.
        d_vocab: Size of the model's vocabulary, if known; a BOS beyond it is none.

    Raises:
        InputError: A string or chat without a tokenizer, or a chat for a tokenizer without a template.
    """
    if not isinstance(prompt, str) and not is_chat(prompt):
        return tuple(map(int, cast("Sequence[int]", prompt)))
    if tokenizer is None:
        kind = "string" if isinstance(prompt, str) else "chat"
        raise InputError(f"the model has no tokenizer, so prompts must be lists of token ids; got a {kind}")
    if not isinstance(prompt, str):
        return _tokenised(tokenizer, render(tokenizer, prompt, reply=reply))
    ids = _tokenised(tokenizer, prompt)
    bos = beginning(tokenizer, d_vocab)
    return ids if bos is None or ids[:1] == (bos,) else (bos, *ids)


def render(tokenizer: Any, chat: Chat, *, reply: bool = False, bos_eos: bool = True) -> str:
    """A chat as the tokenizer's template writes it; with ``bos_eos=False``, beginning and end of text are empty in it."""
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "the tokenizer has no chat template, so chats cannot be shown; set tokenizer.chat_template, or give strings"
        )
    messages = [{"role": role, "content": content} for role, content in chat]
    opens = reply and chat[-1][0] != "assistant"
    bare = {} if bos_eos else {"bos_token": "", "eos_token": ""}  # the template's variables, not the tokenizer's
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opens, **bare)


def _tokenised(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def digests_of(prompt: Prompt | Sequence[int], ids: Sequence[int], bos: int | None) -> tuple[str, ...]:
    """Digests a prompt is known by: of its token ids without BOS and, for strings and chats, of its texts too."""
    bare = tuple(ids[1:]) if bos is not None and tuple(ids[:1]) == (bos,) else tuple(ids)
    by_ids = prompt_digest(bare)
    if isinstance(prompt, str):
        return (prompt_digest(prompt), by_ids)
    if is_chat(prompt):
        return (*(prompt_digest(content) for _, content in prompt), by_ids)
    return (by_ids,)


def present(
    design: BlockDesign, tokenizer: Any, *, n_ctx: int | None, d_vocab: int | None = None
) -> list[list[Context]]:
    """Tokenise a design: for every run its contexts, in the order of rows.

    Args:
        design: What to show.
        tokenizer: A Hugging Face tokenizer; None where all prompts are token ids.
        n_ctx: Longest context of the model; None where it has no limit.
        d_vocab: Size of the model's vocabulary, if known.

    Raises:
        InputError: A prompt (with what is generated after it) longer than the context, a token id outside the
            vocabulary, or too few prompts.
    """
    bos = beginning(tokenizer, d_vocab)
    supplies: dict[str, Iterator[Prompt]] = {name: iter(pool) for name, pool in design.conditions.items()}
    runs = []
    for number, blocks in enumerate(design.schedule):
        if design.reuse:  # each run owns every n-th prompt and may start over
            supplies = {
                name: itertools.cycle(pool[number :: design.n_runs]) for name, pool in design.conditions.items()
            }
        contexts: list[Context] = []
        row = before = 0
        for block, condition in enumerate(blocks):
            end = (block + 1) * design.tokens_per_block
            while row < end:
                prompt = next(supplies[condition], None)
                if prompt is None:
                    raise InputError(_ran_out(design, condition, number, block))
                ids = encode(tokenizer, prompt, reply=design.generate, d_vocab=d_vocab)
                digests = digests_of(prompt, ids, bos)
                if before and ids[:1] == (bos,):
                    ids = ids[1:]
                new = min(design.tokens_per_prompt or 0, end - row)
                _check(prompt, ids, condition, n_ctx, d_vocab, new, before)
                shown = ids if new else ids[: end - row]
                contexts.append(Context(shown, condition, block, row, digests, new, len(shown) < len(ids)))
                row += contexts[-1].n_rows
                if design.carry_context:
                    before += len(ids) + new
        runs.append(contexts)
    return runs


def _check(
    prompt: Prompt,
    ids: tuple[int, ...],
    condition: str,
    n_ctx: int | None,
    d_vocab: int | None,
    new: int,
    before: int,
) -> None:
    shown = f"{str(prompt)[:60]!r} of condition {condition!r}"
    if not ids:
        raise InputError(f"the prompt {shown} has no tokens; every prompt needs at least one")
    if n_ctx is not None and len(ids) > n_ctx:
        raise InputError(
            f"the prompt {shown} has {len(ids)} tokens, the model's context holds {n_ctx}; shorten or split it"
        )
    if n_ctx is not None and before + len(ids) + new > n_ctx:
        carried = f" and {before} tokens carried from before it" if before else ""
        remedy = "fewer cycles, carry_context=False" if before else "fewer tokens_per_prompt, a shorter prompt"
        raise InputError(
            f"the prompt {shown} has {len(ids)} tokens, {new} to generate{carried}, the model's context holds {n_ctx}; "
            f"use {remedy}"
        )
    if d_vocab is not None and not 0 <= min(ids) <= max(ids) < d_vocab:
        raise InputError(
            f"the prompt {shown} has token ids {min(ids)} to {max(ids)}, the vocabulary is 0 to {d_vocab - 1}"
        )


def _ran_out(design: BlockDesign, condition: str, run: int, block: int) -> str:
    used = len(design.conditions[condition])
    wanted = sum(blocks.count(condition) for blocks in design.schedule)
    filled = sum(blocks.count(condition) for blocks in design.schedule[:run]) + design.schedule[run][:block].count(
        condition
    )
    needed = f"about {used * wanted // filled + 1}" if filled else f"more than {used}"
    return (
        too_few_prompts(condition, used, needed, design.n_runs, design.reuse)
        + f" (they filled {filled} of its {wanted} blocks of {design.tokens_per_block} rows)"
    )
