"""From a design to token ids: which tokens each block shows, as independent contexts.

Strings are tokenised here and nowhere else (the host's own handling of strings adds tokens, re-pads and differs by
architecture); the beginning-of-text token is prepended to strings and flagged. Lists of token ids are taken as they
are. A block takes prompts until it has its rows; the last prompt is presented only as far as the block lasts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tl_fbn.acquisition.design import BlockDesign, Prompt, prompt_digest, too_few_prompts


@dataclass(frozen=True)
class Context:
    """One presentation of one prompt: its own context, positions from 0.

    Args:
        ids: Token ids shown (cut where the block ends).
        condition: trial_type of its rows.
        block: Block within the run.
        first_row: Row of its first token within the run.
        digests: Digests of the whole prompt, text and token ids.
    """

    ids: tuple[int, ...]
    condition: str
    block: int
    first_row: int
    digests: tuple[str, ...]


def encode(tokenizer: Any, prompt: str | Sequence[int]) -> tuple[int, ...]:
    """Token ids of a prompt: strings get the tokenizer's BOS in front if it has one, ids are taken as they are."""
    if not isinstance(prompt, str):
        return tuple(int(token) for token in prompt)
    if tokenizer is None:
        raise ValueError("the model has no tokenizer, so prompts must be lists of token ids; got a string")
    ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    bos = tokenizer.bos_token_id
    return ids if bos is None or ids[:1] == (bos,) else (bos, *ids)


def digests_of(prompt: str | Sequence[int], ids: Sequence[int], bos: int | None) -> tuple[str, ...]:
    """Digests a prompt is known by: of its token ids without BOS and, for strings, of its text too."""
    bare = tuple(ids[1:]) if bos is not None and tuple(ids[:1]) == (bos,) else tuple(ids)
    by_ids = prompt_digest(bare)
    return (prompt_digest(prompt), by_ids) if isinstance(prompt, str) else (by_ids,)


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
        ValueError: A prompt longer than the context, a token id outside the vocabulary, or too few prompts.
    """
    bos = None if tokenizer is None else tokenizer.bos_token_id
    supplies: dict[str, Iterator[Prompt]] = {name: iter(pool) for name, pool in design.conditions.items()}
    runs = []
    for number, blocks in enumerate(design.schedule):
        if design.reuse:  # each run owns every n-th prompt and may start over
            supplies = {
                name: itertools.cycle(pool[number :: design.n_runs]) for name, pool in design.conditions.items()
            }
        contexts: list[Context] = []
        row = 0
        for block, condition in enumerate(blocks):
            end = (block + 1) * design.tokens_per_block
            while row < end:
                prompt = next(supplies[condition], None)
                if prompt is None:
                    raise ValueError(_ran_out(design, condition, number, block))
                ids = encode(tokenizer, prompt)
                _check(prompt, ids, condition, n_ctx, d_vocab)
                shown = ids[: end - row]
                contexts.append(Context(shown, condition, block, row, digests_of(prompt, ids, bos)))
                row += len(shown)
        runs.append(contexts)
    return runs


def _check(prompt: Prompt, ids: tuple[int, ...], condition: str, n_ctx: int | None, d_vocab: int | None) -> None:
    shown = f"{str(prompt)[:60]!r} of condition {condition!r}"
    if not ids:
        raise ValueError(f"the prompt {shown} has no tokens; every prompt needs at least one")
    if n_ctx is not None and len(ids) > n_ctx:
        raise ValueError(
            f"the prompt {shown} has {len(ids)} tokens, the model's context holds {n_ctx}; shorten or split it"
        )
    if d_vocab is not None and not 0 <= min(ids) <= max(ids) < d_vocab:
        raise ValueError(
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
