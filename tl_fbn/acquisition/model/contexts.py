"""From a design to token ids: which tokens each block shows, as independent contexts.

Strings are tokenised here and nowhere else, because what a host does with strings differs by architecture (it may add
tokens or pad). The beginning-of-text token is put before strings where the host does so: models that were trained
without one (Pythia, Qwen, Bloom ...) get none, for it would be a token they never saw there, or the one that ends a
text. Lists of token ids are taken as they are; chats go through the tokenizer's chat template, which writes its own
special tokens. A block takes prompts until it has its rows, and the last prompt is shown only as far as the block
lasts.

Where rows are tokens that the model writes, a context is a prompt and the number of tokens to write after it. With a
carried context the prompts of a run are one text, and only its first string gets the beginning-of-text token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tl_fbn.acquisition.design.block_design import BlockDesign, prompt_digest, too_few_prompts
from tl_fbn.acquisition.design.prompt_forms import Prompt, checked_ids, is_chat
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables, render
from tl_fbn.errors import InputError


@dataclass(frozen=True)
class Context:
    """One prompt as it is shown once, and the rows of the recording that it gives; its positions count from 0.

    Args:
        ids: Token ids that are shown, cut where the block ends.
        condition: Name of the condition, the trial_type of its rows.
        block: Number of the block within the run, from 0.
        first_row: Number of its first row within the run, from 0.
        digests: Digests of the whole prompt: of its texts, if it has any, and of its token ids.
        new: Number of tokens that the model writes after the prompt, which then are its rows; 0 where the prompt's own
            tokens are its rows.
        cut: Whether the block ended before the prompt did.
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
        """Number of rows of the context."""
        return self.new or len(self.ids)

    @property
    def rows(self) -> slice:
        """The rows of the context within its run."""
        return slice(self.first_row, self.first_row + self.n_rows)


def beginning(tokenizer: Any, d_vocab: int | None = None) -> int | None:
    """Id of the tokenizer's beginning-of-text token; None where there is none that the model knows.

    Args:
        tokenizer: A Hugging Face tokenizer, or None.
        d_vocab: Size of the model's vocabulary; None if unknown. A token beyond it counts as none: TransformerLens
            gives a tokenizer without such a token (Galactica's) one of its own, whose id is past the end of the
            vocabulary.
    """
    bos = None if tokenizer is None else tokenizer.bos_token_id
    return None if bos is None or (d_vocab is not None and bos >= d_vocab) else bos


def encode(
    tokenizer: Any,
    prompt: Prompt | Sequence[int],
    *,
    reply: bool = False,
    d_vocab: int | None = None,
    prepend_bos: bool = True,
    chat_template_kwargs: TemplateVariables = None,
) -> tuple[int, ...]:
    """Token ids of a prompt.

    A string gets the tokenizer's beginning-of-text token in front if there is one; token ids are taken as they are; a
    chat goes through the chat template.

    Args:
        tokenizer: A Hugging Face tokenizer; None where prompts are token ids.
        prompt: A string, token ids, or a chat as (role, content) pairs.
        reply: True opens the assistant's turn at the end of a chat whose last message is another's.
        d_vocab: Size of the model's vocabulary; a beginning-of-text token beyond it counts as none. None if unknown.
        prepend_bos: False puts no beginning-of-text token before strings; :func:`.host.prepends_bos` says what the
            host does.
        chat_template_kwargs: Variables of the chat template by name, such as ``enable_thinking``; None gives none.

    Raises:
        InputError: A string or chat without a tokenizer, a chat for a tokenizer without a chat template, or token ids
            that are no integers.
    """
    if not isinstance(prompt, str) and not is_chat(prompt):
        return checked_ids(prompt, "a prompt")
    if tokenizer is None:
        kind = "string" if isinstance(prompt, str) else "chat"
        raise InputError(f"the model has no tokenizer, so prompts must be lists of token ids; got a {kind}")
    if not isinstance(prompt, str):
        return _tokenised(tokenizer, render(tokenizer, prompt, reply=reply, variables=chat_template_kwargs))
    ids = _tokenised(tokenizer, prompt)
    bos = beginning(tokenizer, d_vocab) if prepend_bos else None
    return ids if bos is None or ids[:1] == (bos,) else (bos, *ids)


def _tokenised(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def digests_of(prompt: Prompt | Sequence[int], ids: Sequence[int], bos: int | None) -> tuple[str, ...]:
    """The digests by which a prompt is known: of its texts, if it has any, and of its token ids.

    Args:
        prompt: A string, token ids, or a chat as (role, content) pairs.
        ids: The prompt's token ids, as :func:`encode` gives them; a beginning-of-text token is left out of the digest.
        bos: Id of the beginning-of-text token; None where there is none.
    """
    without_bos = tuple(ids[1:]) if bos is not None and tuple(ids[:1]) == (bos,) else tuple(ids)
    # without beginning of text, which is the tokenizer's choice and not the prompt's
    by_ids = prompt_digest(without_bos)
    if isinstance(prompt, str):
        return (prompt_digest(prompt), by_ids)
    if is_chat(prompt):
        return (*(prompt_digest(content) for _, content in prompt), by_ids)
    return (by_ids,)


def present(
    design: BlockDesign,
    tokenizer: Any,
    *,
    n_ctx: int | None,
    d_vocab: int | None = None,
    prepend_bos: bool = True,
    chat_template_kwargs: TemplateVariables = None,
) -> list[list[Context]]:
    """Tokenise a design: for every run its contexts, in the order of rows.

    Args:
        design: The design that is shown.
        tokenizer: A Hugging Face tokenizer; None where all prompts are token ids.
        n_ctx: Number of tokens that the model's context holds; None where it has no limit.
        d_vocab: Size of the model's vocabulary; None if unknown.
        prepend_bos: False puts no beginning-of-text token before strings.
        chat_template_kwargs: Variables of the chat template by name; None gives none.

    Raises:
        InputError: A prompt (with what is generated after it) longer than the context, a token id outside the
            vocabulary, or too few prompts.
    """
    bos = beginning(tokenizer, d_vocab)
    supplies: dict[str, Iterator[Prompt]] = {name: iter(pool) for name, pool in design.conditions.items()}
    runs = []
    for number, blocks in enumerate(design.schedule):
        if design.reuse:  # of n runs, run i has the prompts i, i + n, i + 2 n ... of each condition, over and over
            supplies = {
                name: itertools.cycle(pool[number :: design.n_runs]) for name, pool in design.conditions.items()
            }
        # blocks of a run share its supply of prompts, and each continues where the block before stopped
        contexts: list[Context] = []
        row = 0
        before = 0  # tokens of the run that the next prompt continues; stays 0 with fresh contexts
        for block, condition in enumerate(blocks):
            end = (block + 1) * design.tokens_per_block
            while row < end:
                prompt = next(supplies[condition], None)
                if prompt is None:
                    raise InputError(_message_for_too_few_prompts(design, condition, number, block))
                ids = encode(
                    tokenizer,
                    prompt,
                    reply=design.generate,
                    d_vocab=d_vocab,
                    prepend_bos=prepend_bos,
                    chat_template_kwargs=chat_template_kwargs,
                )
                digests = digests_of(prompt, ids, bos)
                if before and ids[:1] == (bos,):  # a text begins once
                    ids = ids[1:]
                new = min(design.tokens_per_prompt or 0, end - row)
                _check_length_and_ids(prompt, ids, condition, n_ctx, d_vocab, new, before)
                shown = ids if new else ids[: end - row]  # a prompt to write after is shown whole: it takes no rows
                contexts.append(Context(shown, condition, block, row, digests, new, len(shown) < len(ids)))
                row += contexts[-1].n_rows
                if design.carry_context:
                    before += len(ids) + new
        runs.append(contexts)
    return runs


def _check_length_and_ids(
    prompt: Prompt,
    ids: tuple[int, ...],
    condition: str,
    n_ctx: int | None,
    d_vocab: int | None,
    new: int,
    before: int,
) -> None:
    """Raise an error unless the prompt has tokens, all of the vocabulary, and fits the context with what it joins."""
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


def _message_for_too_few_prompts(design: BlockDesign, condition: str, run: int, block: int) -> str:
    """The error message for a condition without a prompt for this block, with how many would about be enough."""
    used = len(design.conditions[condition])
    wanted = sum(blocks.count(condition) for blocks in design.schedule)
    filled = sum(blocks.count(condition) for blocks in design.schedule[:run]) + design.schedule[run][:block].count(
        condition
    )
    # as many prompts a block as so far, for all wanted blocks, and one to spare
    needed = f"about {used * wanted // filled + 1}" if filled else f"more than {used}"
    return (
        too_few_prompts(condition, used, needed, design.n_runs, design.reuse)
        + f" (they filled {filled} of its {wanted} blocks of {design.tokens_per_block} rows)"
    )
