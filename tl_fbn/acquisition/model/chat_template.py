"""Which tokens of a text belong to the chat template, which to the question, which to the answer.

::

    layout = fbn.token_layout(model, fbn.chats("sort")[0])
    layout.positions("special")          # [1, 7]: [INST] and [/INST]
    layout                               # in a notebook: the text, coloured by kind

========== ===================================================================================================
kind       tokens
========== ===================================================================================================
special    what the template adds: turn markers, role names, the white space between them
content    what is inside the messages of user and system
answer     what is inside the messages of the assistant
========== ===================================================================================================

The template tells by itself: it is rendered once with marks in the place of the messages, and what is left between the
marks is its own text, whatever the contents are. Song et al. (2024) look for two literal spans, ``[INST]`` and
``[/INST]``; ``spans=["[INST]", "[/INST]"]`` does that, in chats and in plain strings.

A byte-pair merge may glue template and content into one token: a token that holds any visible character of the template
is special; one that holds only its white space beside content is content. Position 0 is never used: nothing predicts it.

Turns count from the user's messages; the markers that close the assistant's answer belong to the turn they end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch

from tl_fbn.acquisition.design.block_design import Chat
from tl_fbn.acquisition.model.contexts import beginning, render
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.token_layout import Groups, TokenLayout, Tokens
from tl_fbn.errors import InputError

Item = str | Sequence[int] | Sequence[Mapping[str, str]] | Chat
Items = Sequence[Item] | Sequence[np.ndarray] | Sequence[torch.Tensor] | np.ndarray | torch.Tensor


def token_layout(
    model: HookedModel,
    item: Item,
    *,
    tokens: Tokens = "special",
    groups: Groups = "turns",
    spans: Sequence[str] | None = None,
    bos_eos: bool = True,
    reply: bool = False,
    seed: int | None = None,
) -> TokenLayout:
    """What every token of a text belongs to, and which of them :func:`tl_fbn.cgvst` would score.

    ::

        fbn.token_layout(model, fbn.chats("sort")[0])  # in a notebook: which tokens are special, coloured

    Args:
        model: A model with a tokenizer, or a tokenizer.
        item: A chat (messages with role and content), a string, or token ids (whose kinds are unknown).
        tokens: The tokens that are shown as scored, as for :func:`tl_fbn.cgvst`; none are where none are found.
        groups: Their groups, likewise.
        spans: Literal texts that are special, e.g. ``["[INST]", "[/INST]"]``; the first opens a turn of a string. By default what the
            tokenizer's chat template adds to the messages.
        bos_eos: False: the template's beginning and end of text are empty, as in Song et al. (2024).
        reply: Open the assistant's turn at the end of a chat whose last message is another's.
        seed: Of ``tokens="random"``.

    Raises:
        InputError: A chat without a template, a tokenizer that does not know where its tokens are in the text, or a
            template that rewrites the messages.
    """
    tokenizer = getattr(model, "tokenizer", model)
    layout = Layouts(tokenizer, spans=spans, bos_eos=bos_eos, reply=reply).of(item)
    found = any(kind == tokens for kind in layout.kinds[1:]) or tokens in ("all", "random")
    return replace(layout, used=tuple(map(tuple, layout.grouped(tokens, groups, seed=seed)))) if found else layout


@dataclass(eq=False)
class Layouts:
    """Lays out many texts of one tokenizer; templates are rendered once for every sequence of roles.

    Args:
        tokenizer: A Hugging Face tokenizer, or None where all items are token ids.
        spans: As for :func:`token_layout`.
        bos_eos: Likewise.
        reply: Likewise.
        d_vocab: Size of the model's vocabulary, if known; a BOS beyond it is none.
    """

    tokenizer: Any
    spans: Sequence[str] | None = None
    bos_eos: bool = True
    reply: bool = False
    d_vocab: int | None = None
    _pieces: dict[tuple[str, ...], tuple[list[str], list[int]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.spans is not None and (isinstance(self.spans, str) or not self.spans or not all(self.spans)):
            raise InputError(f"spans={self.spans!r} must be a list of texts, e.g. ['[INST]', '[/INST]']")

    def of(self, item: Item) -> TokenLayout:
        """The layout of one text."""
        if isinstance(item, str):
            return self._of_string(item)
        if len(item) and isinstance(item[0], (Mapping, tuple)):
            return self._of_chat(as_chat(cast("Sequence[Any]", item)))
        ids = tuple(int(token) for token in cast("Sequence[int]", item))
        return TokenLayout(ids, tuple(str(i) for i in ids), ("",) * len(ids), np.zeros(len(ids), dtype=int))

    def _of_chat(self, chat: Chat) -> TokenLayout:
        text = render(self._require(), chat, reply=self.reply, bos_eos=self.bos_eos)
        roles = tuple(role for role, _ in chat)
        pieces, closes = self._template(roles)
        kinds = np.full(len(text), "special", dtype=object)
        turns = np.zeros(len(text), dtype=int)
        turn = -1
        for number, (first, stop) in enumerate(self._contents(text, pieces, chat)):
            kinds[first:stop] = "answer" if roles[number] == "assistant" else "content"
            if roles[number] == "user":
                turn += 1
                if turn:  # what stands before a user's message is its opening, less what closes the message before
                    turns[first - len(pieces[number]) + closes[number] :] = turn
        if self.spans is not None:
            kinds[kinds == "special"] = "content"
            _mark_spans(text, self.spans, kinds)
        return self._placed(text, kinds, turns, None, tuple(content for _, content in chat))

    def _of_string(self, text: str) -> TokenLayout:
        tokenizer = self._require()
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
        if answering is not None:
            marks = "|".join(re.escape(span) for span in sorted(spans, key=len, reverse=True))
            for match in re.finditer(f"{re.escape(answering)}(.*?)(?={marks}|$)", text, re.DOTALL):
                kinds[match.start(1) : match.end(1)] = "answer"
        _mark_spans(text, spans, kinds)
        for number, match in enumerate(re.finditer(re.escape(opening), text) if opening else ()):
            turns[match.start() :] = number
        bos = beginning(tokenizer, self.d_vocab) if self.bos_eos else None
        return self._placed(text, kinds, turns, bos, (text,))

    def _markers(self) -> tuple[str, str, list[str]]:
        """What opens a user's turn, what opens the assistant's, and all markers of the template, without white space."""
        pieces, closes = self._template(("user", "assistant", "user", "assistant"))
        opening = pieces[2][closes[2] :].strip()
        answering = pieces[1].strip()
        closing = pieces[2][: closes[2]].strip()
        if not opening or not answering:
            raise InputError(
                "the tokenizer's chat template has no visible text that opens a turn, so strings cannot be parsed; give chats, or spans="
            )
        return opening, answering, [mark for mark in (opening, answering, closing) if mark]

    def _template(self, roles: tuple[str, ...]) -> tuple[list[str], list[int]]:
        """The template's own text before, between and after the messages of these roles, and, of the text before each
        message, how many characters close the message before it."""
        if roles not in self._pieces:
            marks = [f"\ue000{number}\ue001" for number in range(len(roles))]
            chat = tuple(zip(roles, marks, strict=True))
            text = render(self.tokenizer, chat, reply=self.reply, bos_eos=self.bos_eos)
            pieces = re.split("\ue000\\d+\ue001", text)
            if re.findall("\ue000(\\d+)\ue001", text) != [str(number) for number in range(len(roles))]:
                raise InputError(
                    "the tokenizer's chat template leaves out or repeats messages, so its special tokens cannot be told "
                    "from the text; give spans="
                )
            closes = [0] * len(roles)
            for number in range(1, len(roles)):
                if roles[number] == "user":
                    closes[number] = self._closing(chat[:number], pieces[number])
            self._pieces[roles] = pieces, closes
        return self._pieces[roles]

    def _closing(self, before: Chat, piece: str) -> int:
        """How much of the text between two messages the template writes even if the second never comes."""
        tail = re.split("\ue000\\d+\ue001", render(self.tokenizer, before, bos_eos=self.bos_eos))[-1]
        return len(tail) if piece.startswith(tail) else 0

    def _contents(self, text: str, pieces: list[str], chat: Chat) -> list[tuple[int, int]]:
        """Where each message's content is in the rendered text."""
        for contents in ([content for _, content in chat], [content.strip() for _, content in chat]):
            cursor = 0
            found = []
            for piece, content in zip(pieces, contents, strict=False):
                cursor += len(piece)
                found.append((cursor, cursor + len(content)))
                cursor += len(content)
            if text == "".join(part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair):
                return found
        match = re.fullmatch("(.*?)".join(map(re.escape, pieces)), text, re.DOTALL)
        if match is None:
            raise InputError(
                "the tokenizer's chat template rewrites the messages, so its special tokens cannot be told from the text; give spans="
            )
        return [match.span(number + 1) for number in range(len(chat))]

    def _placed(
        self, text: str, kinds: np.ndarray, turns: np.ndarray, bos: int | None, texts: tuple[str, ...]
    ) -> TokenLayout:
        """Kinds of characters as kinds of tokens."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        spans = [tuple(span) for span in encoded["offset_mapping"]]
        visible = np.array([not letter.isspace() for letter in text], dtype=bool)
        template = (kinds == "special") & visible
        own: list[tuple[str, int]] = []
        for first, stop in spans:
            here = min(first, len(text) - 1)
            if template[first:stop].any():
                at = first + int(np.argmax(template[first:stop]))
                own.append(("special", int(turns[at])))
                continue
            inside = [at for at in range(first, stop) if kinds[at] != "special"]
            at = inside[0] if inside else here
            own.append((str(kinds[at]), int(turns[at])))
        words = [text[first:stop] for first, stop in spans]
        if bos is not None and ids[:1] != [bos]:
            ids, words, own = [bos, *ids], [str(self.tokenizer.bos_token), *words], [("special", 0), *own]
        return TokenLayout(
            tuple(ids),
            tuple(words),
            tuple(kind for kind, _ in own),
            np.array([turn for _, turn in own], dtype=int),
            texts,
        )

    def _require(self) -> Any:
        if self.tokenizer is None:
            raise InputError("the model has no tokenizer, so items must be lists of token ids, with positions=")
        if not getattr(self.tokenizer, "is_fast", False):
            raise InputError(
                f"{type(self.tokenizer).__name__} does not say where its tokens are in the text; load the fast tokenizer, or "
                "give token ids with positions="
            )
        return self.tokenizer


def as_chat(item: Sequence[Any]) -> Chat:
    """Messages as (role, content) pairs.

    Raises:
        InputError: A message without role or content.
    """
    pairs = []
    for message in item:
        if isinstance(message, Mapping):
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise InputError(
                    f"a message of a chat has a role and a content, both strings; got {str(dict(message))[:80]}"
                )
            pairs.append((message["role"], message["content"]))
        elif len(message) == 2 and all(isinstance(part, str) for part in message):
            pairs.append(tuple(message))
        else:
            raise InputError(f"a message of a chat has a role and a content, both strings; got {str(message)[:80]}")
    return tuple(pairs)


def _mark_spans(text: str, spans: Sequence[str], kinds: np.ndarray) -> None:
    for span in spans:
        for match in re.finditer(re.escape(span), text):
            kinds[match.start() : match.end()] = "special"
