"""Which tokens of a text belong to the chat template, which to the question, which to the answer.

========== ===================================================================================================
kind       tokens
========== ===================================================================================================
special    what the template adds: turn markers, role names, the white space between them
preamble   what the template says before the conversation by itself: a default system prompt, a date
content    what is inside the messages of user and system
answer     what is inside the messages of the assistant
========== ===================================================================================================

**Chats.** The template itself tells what is its own: it is rendered with placeholders in the place of the
messages, and the text between the placeholders is the template's, whatever the messages are. That text is found again
in the rendered chat, which gives every character a kind; a token takes the kind of its characters. No name of a model
is looked up. What stands where a system message would stand, though the chat has none, or between the marker that opens
such a message and its content, is the preamble: words, which the template says by itself, and no markers. In Qwen 2.5's
chats of one short turn they would be two thirds of all special tokens.

**Strings.** The markers that the template writes around messages are looked for in the string. Song et al. (2024)
look for two literal texts, ``[INST]`` and ``[/INST]``, instead: ``spans=["[INST]", "[/INST]"]`` does so, in chats and
in strings.

A byte-pair merge may put characters of template and content into one token: a token that holds any visible character
of the template is special; one that holds only white space of the template beside content is content. Position 0 is
never used, as nothing predicts it.

A turn begins with a user's message. Markers that close the assistant's answer belong to the turn that they end.

Cost: one call of the tokenizer for each text, and a few renderings of the template for each sequence of roles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tl_fbn.acquisition.design.prompt_forms import Chat, checked_chat, checked_ids, checked_prompt, is_chat
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.chat_rendering import TemplateVariables, render
from tl_fbn.acquisition.model.contexts import beginning
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.template_text import TemplateText, template_text
from tl_fbn.acquisition.model.token_layout import Groups, TokenLayout, Tokens
from tl_fbn.errors import InputError
from tl_fbn.signatures import checked

Item = str | Sequence[int] | Sequence[Mapping[str, str]] | Chat
Items = Sequence[Item] | Sequence[np.ndarray] | Sequence[torch.Tensor] | np.ndarray | torch.Tensor


@checked
def token_layout(
    model: HookedModel | Any,
    item: Item,
    *,
    tokens: Tokens = "special",
    groups: Groups = "turns",
    spans: Sequence[str] | None = None,
    bos_eos: bool = True,
    reply: bool = False,
    prepend_bos: bool | None = None,
    chat_template_kwargs: TemplateVariables = None,
    seed: int | None = None,
) -> TokenLayout:
    """What every token of a text belongs to: the chat template, the question or the answer.

    >>> layout = fbn.token_layout(model, fbn.chats("sort")[0])
    >>> layout
    TokenLayout of 15 tokens: 3 special, 7 content, 5 answer
    >>> [layout.words[at] for at in layout.positions("special")]
    ['[INST]', '[/INST]']

    In a notebook the layout is the text, coloured by kind, with the tokens framed that :func:`tl_fbn.cgvst` would
    score for the same arguments.

    Args:
        model: A model with a tokenizer, or a tokenizer.
        item: A chat (messages with role and content), a string, or token ids. Kinds of token ids are unknown.
        tokens: The tokens that are marked as scored: ``"special"``, ``"content"``, ``"answer"``, ``"all"``, or
            ``"random"`` (in every turn as many, drawn at random, as it has special ones). If there are none, none are
            marked.
        groups: How scored tokens are grouped in the loss, which is the sum of the groups' means: ``"turns"`` for all
            turns before the last and the last, None for one group, a number n for P[1:n] and P[n+1:] of the sorted
            positions P.
        spans: Literal texts that are special, e.g. ``["[INST]", "[/INST]"]``; the first opens a turn of a string. By
            default all that the tokenizer's chat template adds to the messages is special.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty, as in Song
            et al. (2024).
        reply: True opens the assistant's turn at the end of a chat whose last message is another's.
        prepend_bos: True or False puts the beginning-of-text token before a string, or leaves it out; None does as the
            host does (a tokenizer alone puts it there).
        chat_template_kwargs: Variables of the tokenizer's chat template by name, such as ``{"enable_thinking":
            False}``; None gives none.
        seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.

    Returns:
        The layout, with the scored positions as its ``used``.

    Raises:
        InputError: A chat without a template, a tokenizer that does not tell where its tokens are in the text, or a
            template that rewrites the messages.
    """
    tokenizer = getattr(model, "tokenizer", model)
    layouts = Layouts(
        tokenizer,
        spans=spans,
        bos_eos=bos_eos,
        reply=reply,
        prepend_bos=host.prepends_bos(model, prepend_bos),
        chat_template_kwargs=chat_template_kwargs,
    )
    layout = layouts.of(item)
    # token ids have no kinds, and a text may have no answer: the layout is then shown without scored tokens
    found = any(kind == tokens for kind in layout.kinds[1:]) or tokens in ("all", "random")
    return replace(layout, used=tuple(map(tuple, layout.grouped(tokens, groups, seed=seed)))) if found else layout


@dataclass(eq=False)
class Layouts:
    """Lays out many texts of one tokenizer; templates are rendered once for every sequence of roles.

    Args:
        tokenizer: A Hugging Face tokenizer, or None where all items are token ids.
        spans: Literal texts that are special, the first of which opens a turn of a string; None: all that the chat
            template adds to the messages.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty.
        reply: True opens the assistant's turn at the end of a chat whose last message is another's.
        d_vocab: Size of the model's vocabulary; a beginning-of-text token beyond it counts as none. None if unknown.
        prepend_bos: False puts no beginning-of-text token before strings.
        chat_template_kwargs: Variables of the chat template by name; None gives none.
    """

    tokenizer: Any
    spans: Sequence[str] | None = None
    bos_eos: bool = True
    reply: bool = False
    d_vocab: int | None = None
    prepend_bos: bool = True
    chat_template_kwargs: TemplateVariables = None
    _template_texts: dict[tuple[str, ...], TemplateText] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.spans is not None and (isinstance(self.spans, str) or not self.spans or not all(self.spans)):
            raise InputError(f"spans={self.spans!r} must be a list of texts, e.g. ['[INST]', '[/INST]']")

    def of(self, item: Item) -> TokenLayout:
        """The layout of one text.

        Args:
            item: A chat, a string, or token ids, whose kinds are unknown.

        Raises:
            InputError: A chat or string cannot be laid out with this tokenizer, or token ids are no integers.
        """
        prompt = checked_prompt(item, "an item")
        if isinstance(prompt, str):
            return self._of_string(prompt)
        if is_chat(prompt):
            return self._of_chat(prompt)
        ids = checked_ids(prompt, "an item")
        return TokenLayout(ids, tuple(str(i) for i in ids), ("",) * len(ids), np.zeros(len(ids), dtype=int))

    def _of_chat(self, chat: Chat) -> TokenLayout:
        self._fast_tokenizer()
        text = self._render(chat, self.reply)
        roles = tuple(role for role, _ in chat)
        template = self._template(roles)
        pieces, closes = template.pieces, template.closes
        # (character,) kind and turn; what is in no message stays special
        kinds = np.full(len(text), "special", dtype=object)
        kinds[slice(*template.preamble)] = "preamble"
        turns = np.zeros(len(text), dtype=int)
        turn = -1
        for number, (first, stop) in enumerate(self._content_spans(text, pieces, chat)):
            kinds[first:stop] = "answer" if roles[number] == "assistant" else "content"
            if roles[number] == "user":
                turn += 1
                # a turn begins at what opens the user's message: the template's text before it, less its first
                # characters, which close the message before. The first turn takes in all that stands before it
                if turn:
                    turns[first - len(pieces[number]) + closes[number] :] = turn
        if self.spans is not None:
            kinds[kinds == "special"] = "content"  # given spans replace what the template tells
            _mark_as_special(text, self.spans, kinds)
        return self._layout_of_characters(text, kinds, turns, None, tuple(content for _, content in chat))

    def _of_string(self, text: str) -> TokenLayout:
        tokenizer = self._fast_tokenizer()
        kinds = np.full(len(text), "content", dtype=object)
        turns = np.zeros(len(text), dtype=int)
        spans = list(self.spans or [])
        if spans:
            opening = spans[0]
            answering = None
        elif getattr(tokenizer, "chat_template", None):
            opening, answering, spans = self._markers()
        else:
            opening = answering = None
        # an answer reaches from the marker that opens it to the next marker of any sort, or to the end
        if answering is not None:
            # longest first: a regular expression takes the first alternative that fits
            marks = "|".join(re.escape(span) for span in sorted(spans, key=len, reverse=True))
            for match in re.finditer(f"{re.escape(answering)}(.*?)(?={marks}|$)", text, re.DOTALL):
                kinds[match.start(1) : match.end(1)] = "answer"
        _mark_as_special(text, spans, kinds)
        for number, match in enumerate(re.finditer(re.escape(opening), text) if opening else ()):
            turns[match.start() :] = number
        bos = beginning(tokenizer, self.d_vocab) if self.bos_eos and self.prepend_bos else None
        return self._layout_of_characters(text, kinds, turns, bos, (text,))

    def opening(self) -> str:
        """The text by which the chat template opens a user's message, without outer white space."""
        return self._markers()[0]

    def _markers(self) -> tuple[str, str, list[str]]:
        """The text that opens a user's message, that which opens an answer, and all markers, without white space."""
        # two turns: the text before the second user's message closes the answer first and then opens the message
        template = self._template(("user", "assistant", "user", "assistant"))
        opening = template.pieces[2][template.closes[2] :].strip()
        answering = template.pieces[1].strip()
        closing = template.pieces[2][: template.closes[2]].strip()
        if not opening or not answering:
            raise InputError(
                "the tokenizer's chat template has no visible text that opens a turn, so strings cannot be parsed; "
                "give chats, or spans="
            )
        return opening, answering, [mark for mark in (opening, answering, closing) if mark]

    def _template(self, roles: tuple[str, ...]) -> TemplateText:
        """What the template writes around the messages of these roles."""
        if roles not in self._template_texts:
            as_shown = partial(self._render, reply=self.reply)
            specials = getattr(self.tokenizer, "all_special_tokens", ())
            self._template_texts[roles] = template_text(roles, as_shown, self._render, specials)
        return self._template_texts[roles]

    def _render(self, chat: Chat, reply: bool = False) -> str:
        """A chat as the template writes it, with these settings."""
        variables = self.chat_template_kwargs
        return render(self.tokenizer, chat, reply=reply, bos_eos=self.bos_eos, variables=variables)

    def _content_spans(self, text: str, pieces: list[str], chat: Chat) -> list[tuple[int, int]]:
        """(start, stop) of each message's content in the rendered text, in characters."""
        # most templates write messages as they are, or stripped of outer white space
        for contents in ([content for _, content in chat], [content.strip() for _, content in chat]):
            cursor = 0
            found = []
            for piece, content in zip(pieces, contents, strict=False):
                cursor += len(piece)
                found.append((cursor, cursor + len(content)))
                cursor += len(content)
            if text == "".join(part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair):
                return found
        # otherwise any text may stand between the template's pieces, as long as the pieces are all there
        match = re.fullmatch("(.*?)".join(map(re.escape, pieces)), text, re.DOTALL)
        if match is None:
            raise InputError(
                "the tokenizer's chat template rewrites the messages, so its special tokens cannot be told from the "
                "text; give spans="
            )
        return [match.span(number + 1) for number in range(len(chat))]

    def _layout_of_characters(
        self, text: str, kinds: np.ndarray, turns: np.ndarray, bos: int | None, texts: tuple[str, ...]
    ) -> TokenLayout:
        """The layout of a text from the kind and turn of each character; ``bos`` is put in front if it is not None."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        spans = [tuple(span) for span in encoded["offset_mapping"]]
        visible = np.array([not letter.isspace() for letter in text], dtype=bool)
        template = (kinds == "special") & visible
        own: list[tuple[str, int]] = []  # (kind, turn) of every token
        for first, stop in spans:
            here = min(first, len(text) - 1)  # an empty token may stand behind the last character
            # one visible character of the template makes a token special
            if template[first:stop].any():
                at = first + int(np.argmax(template[first:stop]))
                own.append(("special", int(turns[at])))
                continue
            # else it is of the kind of its first character that is not the template's white space
            inside = [at for at in range(first, stop) if kinds[at] != "special"]
            at = inside[0] if inside else here
            own.append((str(kinds[at]), int(turns[at])))
        words = [text[first:stop] for first, stop in spans]
        if bos is not None and ids[:1] != [bos]:
            ids = [bos, *ids]
            words = [str(self.tokenizer.bos_token), *words]
            own = [("special", 0), *own]
        return TokenLayout(
            tuple(ids),
            tuple(words),
            tuple(kind for kind, _ in own),
            np.array([turn for _, turn in own], dtype=int),
            texts,
        )

    def _fast_tokenizer(self) -> Any:
        """The tokenizer, or an error where there is none or it cannot tell where its tokens are in the text."""
        if self.tokenizer is None:
            raise InputError("the model has no tokenizer, so items must be lists of token ids, with positions=")
        if not getattr(self.tokenizer, "is_fast", False):
            raise InputError(
                f"{type(self.tokenizer).__name__} does not say where its tokens are in the text; load the fast "
                "tokenizer, or give token ids with positions="
            )
        return self.tokenizer


def as_chat(item: Sequence[Any]) -> Chat:
    """Messages as (role, content) pairs.

    Args:
        item: Messages, each a mapping with the keys ``role`` and ``content``, or a (role, content) pair; a content in
            parts of text is joined.

    Raises:
        InputError: A message without a role, or with a content that is no text.
    """
    return checked_chat(item, "a chat")


def _mark_as_special(text: str, spans: Sequence[str], kinds: np.ndarray) -> None:
    """Set the kind of all characters of these literal texts to special, in place."""
    for span in spans:
        for match in re.finditer(re.escape(span), text):
            kinds[match.start() : match.end()] = "special"
