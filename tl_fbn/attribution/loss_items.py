"""From chats, strings or token ids to texts with a loss: their tokens, the scored positions, and the weights of these.

By default the loss of an item is that of Song et al. (2024), in nats: the mean cross-entropy over the scored positions
of the demonstrations (all turns before the last) plus the mean over those of the last turn, each token given those
before it:

    L = weight * mean_{t in demonstrations} CE_t + mean_{t in last turn} CE_t

Where only one of the two has scored positions, L is their mean, without the weight. Items longer than ``max_tokens``
are left out and counted. What a template says by itself (a default system prompt) is scored as no special token; its
share of all tokens is counted. Digests of all prompts go into the provenance, so that it can be told later whether a
network is tested on the prompts that it was found on. No model is run here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tl_fbn.acquisition.design.prompt_forms import Prompt, checked_prompt, checked_prompts
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables
from tl_fbn.acquisition.model.chat_template import Layouts
from tl_fbn.acquisition.model.contexts import beginning, digests_of
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.token_layout import Groups, TokenLayout, Tokens
from tl_fbn.attribution.cross_entropy import LossItem
from tl_fbn.errors import InputError, InputTypeError
from tl_fbn.kinds import as_integer


@dataclass(frozen=True)
class Prepared:
    """Items ready for a backward pass.

    Args:
        items: Texts with their losses, in the order in which they were given.
        kept: Number of each of these items among all that were given, from 0; the numbers of items that were left out
            as too long are missing.
        provenance: Which tokens were scored and how they were grouped, the numbers of items scored and left out, the
            number of scored positions, digests of all prompts, the seed where tokens were drawn at random, and the
            share of tokens that the template says by itself, where it does.
    """

    items: list[LossItem]
    kept: list[int]
    provenance: dict[str, Any] = field(repr=False)


def passages(model: HookedModel, texts: Any) -> list[tuple[int, ...]]:
    """Token ids of texts that are scored at every token behind their first, checked against the model.

    Args:
        model: A TransformerLens model.
        texts: Strings, chats or lists of token ids, each of at least two tokens.

    Raises:
        InputError: As :func:`prepare`.
    """
    prepared = prepare(
        model,
        texts,
        None,
        tokens="all",
        groups=None,
        weight=1.0,
        spans=None,
        bos_eos=True,
        max_tokens=None,
        seed=None,
    )
    return [tuple(item.ids) for item in prepared.items]


def prepare(
    model: HookedModel,
    items: Any,
    positions: Sequence[Any] | None,
    *,
    tokens: Tokens,
    groups: Groups,
    weight: float,
    spans: Sequence[str] | None,
    bos_eos: bool,
    max_tokens: int | None,
    seed: int | None,
    prepend_bos: bool | None = None,
    chat_template_kwargs: TemplateVariables = None,
) -> Prepared:
    """Tokenise items, find the positions that are scored, and check both against the model.

    Args:
        model: A TransformerLens model.
        items: Chats (lists of messages with role and content), strings, or lists of token ids.
        positions: For every item, the positions that are scored: one list, or two lists whose means are added; None
            where ``tokens`` says it.
        tokens: Which tokens are scored: ``"special"``, ``"answer"``, ``"content"``, ``"all"`` or ``"random"``.
        groups: How scored tokens are grouped: ``"turns"`` for all turns before the last and the last, None for one
            group, a number n for P[1:n] and P[n+1:] of the sorted positions P.
        weight: Weight of the first of two groups in the loss; the other has weight 1.
        spans: Literal texts that are special; None takes all that the chat template adds to the messages.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty.
        max_tokens: Largest number of tokens of an item; None keeps items of any length.
        seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.
        prepend_bos: True or False puts the beginning-of-text token before strings, or leaves it out; None does as the
            host does.
        chat_template_kwargs: Variables of the chat template by name; None gives none.

    Raises:
        InputError: No items, an item that is none of these, no such tokens, positions outside an item, an item longer
            than the context, a token id outside the vocabulary, or no item that is short enough.
    """
    items = _checked_items(items, positions, tokens)
    n_ctx = host.context_length(model)
    d_vocab = host.vocabulary_size(model)
    tokenizer = tokenizer_of(model)
    layouts = Layouts(
        tokenizer,
        spans=spans,
        bos_eos=bos_eos,
        d_vocab=d_vocab,
        prepend_bos=host.prepends_bos(model, prepend_bos),
        chat_template_kwargs=chat_template_kwargs,
    )
    scored: list[LossItem] = []
    kept: list[int] = []
    digests: set[str] = set()
    n_positions = 0
    n_preamble = 0
    n_tokens = 0
    # laid out and checked one by one, so that an error names the first item at fault
    for number, item in enumerate(items):
        layout = layouts.of(item)
        # before the check of lengths: an item beyond the context is no error if max_tokens leaves it out
        if max_tokens is not None and len(layout.ids) > max_tokens:
            continue
        _check_ids(layout, number, n_ctx, d_vocab)
        if positions is None:
            try:
                grouped = layout.grouped(tokens, groups, seed=seed)
            except ValueError as error:
                if spans and tokens in ("special", "random") and "special" not in layout.kinds:
                    raise InputError(
                        f"item {number} holds none of spans={list(spans)}; spans=None takes what the chat template "
                        'writes, with groups="turns" (of a preset: preset.on(model).cgvst)'
                    ) from error
                raise InputError(f"item {number}: {error}") from error
        else:
            grouped = _position_groups(positions[number], len(layout.ids), number)
        # the weight is that of demonstrations: an item with one group has none
        weights = [1.0] * len(grouped) if len(grouped) < 2 else [weight, 1.0]
        scored.append(LossItem.next_tokens(layout.ids, grouped, weights))
        kept.append(number)
        n_positions += sum(map(len, grouped))
        n_preamble += layout.kinds.count("preamble")
        n_tokens += len(layout.ids)
        digests.update(_digests(layout, beginning(tokenizer, d_vocab)))
    if not scored:
        raise InputError(
            f"all {len(items)} items are longer than max_tokens={max_tokens}; raise it, or use fewer shots or "
            "shorter items"
        )
    provenance = {
        "tokens": tokens if positions is None else "given positions",
        "groups": groups if positions is None else "given",
        "weight_of_demonstrations": weight,
        "n_items": len(scored),
        "skipped_as_too_long": len(items) - len(scored),
        "scored_positions": n_positions,
        "model_dtype": host.number_type(model),
        "prompts": sorted(digests),
    }
    if tokens == "random":
        provenance["seed"] = seed
    if n_preamble:
        provenance["preamble_share"] = round(n_preamble / n_tokens, 4)
    if prepend_bos is not None:
        provenance["prepend_bos"] = prepend_bos
    if chat_template_kwargs:
        provenance["chat_template_kwargs"] = {name: str(value) for name, value in chat_template_kwargs.items()}
    return Prepared(scored, kept, provenance)


def _plain(value: Any) -> Any:
    """Tensors and arrays as lists."""
    return value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else value


def _checked_items(items: Any, positions: Sequence[Any] | None, tokens: str) -> list[Prompt]:
    """The items in the forms that this package keeps; an error unless there is one entry of positions for each."""
    # the commonest slip: one chat, one string or one list of token ids instead of a list of them
    if isinstance(items, (str, Mapping)):
        raise InputError(f"items is a {type(items).__name__}; give a list of chats, strings or lists of token ids")
    given = [*_plain(items)] if isinstance(items, (torch.Tensor, np.ndarray)) else checked_prompts(items, "items")
    if not given:
        raise InputError("items is empty; give at least one chat, string or list of token ids")
    if isinstance(given[0], Mapping) and "role" in given[0]:
        raise InputError("items is one chat; give a list of chats, [chat]")
    if isinstance(given[0], (int, np.integer)):
        raise InputError("items is one list of token ids; give a list of such lists, [ids]")
    found = [checked_prompt(item, f"item {number}") for number, item in enumerate(given)]
    if positions is not None and len(positions) != len(found):
        raise InputError(f"positions has {len(positions)} entries for {len(found)} items; give one a item")
    if positions is not None and tokens != "special":
        raise InputError(f"positions= says which tokens are scored, and so does tokens={tokens!r}; give one of them")
    return found


def _check_ids(layout: TokenLayout, number: int, n_ctx: int | None, d_vocab: int | None) -> None:
    """Raise an error unless the tokens of an item fit the model's context and vocabulary; None is no limit."""
    n = len(layout.ids)
    if n_ctx is not None and n > n_ctx:
        raise InputError(
            f"item {number} has {n} tokens, the model's context holds {n_ctx}; use fewer shots, shorter items, or "
            f"max_tokens={n_ctx}, which leaves such items out and counts them"
        )
    if n < 2:
        raise InputError(f"item {number} has {n} token; a prediction needs at least 2")
    if d_vocab is not None and not 0 <= min(layout.ids) <= max(layout.ids) < d_vocab:
        raise InputError(
            f"item {number} has token ids {min(layout.ids)} to {max(layout.ids)}, the vocabulary is 0 to {d_vocab - 1}"
        )


def _position_groups(positions: Any, n: int, number: int) -> list[list[int]]:
    """The positions given for item ``number`` of ``n`` tokens as one or two lists, without position 0."""
    entries = _plain(positions)
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Iterable):
        raise InputTypeError(f"positions of item {number} are {entries!r}; give a list of positions, or two lists")
    entries = [_plain(entry) for entry in entries]
    nested = bool(entries) and isinstance(entries[0], (list, tuple, range))
    if nested and len(entries) > 2:
        raise InputError(f"positions of item {number} have {len(entries)} groups; give one list, or two lists")
    groups = [_whole_positions(group, n, number) for group in (entries if nested else [entries])]
    for at in (at for group in groups for at in group):
        if not 0 <= at < n:
            raise InputError(f"position {at} of item {number} is outside its {n} tokens; positions are 1 to {n - 1}")
    # nothing predicts the first token; a group of which nothing is left has no mean
    groups = [[at for at in group if at] for group in groups]
    groups = [group for group in groups if group]
    if not groups:
        raise InputError(
            f"item {number} has no position behind its first token, which nothing predicts; give positions from 1 "
            f"to {n - 1}"
        )
    return groups


def _whole_positions(group: Any, n: int, number: int) -> list[int]:
    """The positions of one list as integers; masks are refused, whose entries would be positions 0 and 1."""
    if not isinstance(group, (list, tuple, range)):
        raise InputTypeError(f"positions of item {number} mix lists and {group!r}; give one list, or two lists")
    found = [as_integer(at) for at in group]
    if None in found:
        raise InputTypeError(
            f"positions of item {number} hold {group[found.index(None)]!r}; positions are integers (of a mask, "
            "np.flatnonzero(mask))"
        )
    whole = [at for at in found if at is not None]
    if len(set(whole)) < len(whole):
        twice = next(at for place, at in enumerate(whole) if at in whole[:place])
        raise InputError(
            f"positions of item {number} name position {twice} of its {n} tokens twice; give each once (of a mask, "
            "np.flatnonzero(mask))"
        )
    return whole


def _digests(layout: TokenLayout, bos: int | None) -> set[str]:
    """Digests of an item's token ids and of each of its texts."""
    found = set(digests_of(layout.ids, layout.ids, bos))
    for text in layout.texts:
        found.update(digests_of(text, layout.ids, bos))
    return found
