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

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from jaxtyping import Int

from tl_fbn.acquisition.design import Chat
from tl_fbn.acquisition.presentation import beginning, render

Tokens = Literal["special", "all", "answer", "content", "random"]
Groups = Literal["turns"] | int | None
Item = str | Sequence[int] | Sequence[Mapping[str, str]] | Chat
COLOURS = {"special": "#fdb863", "content": "#e8e8e8", "answer": "#b2abd2", "": "#ffffff"}


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """The tokens of one text and what each belongs to.

    Args:
        ids: Token ids.
        words: The text of each token.
        kinds: ``"special"``, ``"content"`` or ``"answer"`` for each token; empty where unknown (token ids).
        turns: (token,) turn of the conversation, from 0.
        texts: The texts this came from, for the digests that guard against testing on them.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    turns: Int[np.ndarray, " token"]
    texts: tuple[str, ...] = ()

    def positions(self, tokens: Tokens = "special", *, seed: int | None = None) -> list[int]:
        """Positions of one kind of token, ascending, without position 0, which nothing predicts.

        Args:
            tokens: ``"special"``, ``"content"``, ``"answer"``, ``"all"``, or ``"random"``: in every turn as many as it has special ones.
            seed: Of ``"random"``.

        Raises:
            ValueError: None found, an unknown kind, or ``"random"`` without a seed.
        """
        if tokens not in get_args(Tokens):
            raise ValueError(f"tokens={tokens!r} is none of {', '.join(map(repr, get_args(Tokens)))}")
        if tokens == "random":
            found = self._random(seed)
        else:
            found = [at for at, kind in enumerate(self.kinds) if at and tokens in ("all", kind)]
        if not found:
            raise ValueError(self._nothing(tokens))
        return found

    def _random(self, seed: int | None) -> list[int]:
        if seed is None:
            raise ValueError('tokens="random" needs seed=')
        rng = np.random.default_rng([seed, *self.ids])
        special = self.positions("special")
        found: list[int] = []
        for turn in np.unique(self.turns):
            everywhere = np.flatnonzero(self.turns == turn)
            everywhere = everywhere[everywhere > 0]
            n = sum(self.turns[at] == turn for at in special)
            found += rng.choice(everywhere, n, replace=False).tolist()
        return sorted(found)

    def grouped(
        self, tokens: Tokens = "special", groups: Groups = "turns", *, seed: int | None = None
    ) -> list[list[int]]:
        """Positions in the groups whose means make up the loss; a group without a position is left out.

        Args:
            tokens: As for :meth:`positions`.
            groups: ``"turns"``: all turns before the last, and the last; None: one group; a number n: with P the sorted
                positions, P[1:n] and P[n+1:], as Song et al. (2024) cut theirs at 28.
            seed: Of ``"random"``.
        """
        found = self.positions(tokens, seed=seed)
        if groups is None:
            return [found]
        if groups == "turns":
            last = self.turns.max()
            cut = [[at for at in found if self.turns[at] < last], [at for at in found if self.turns[at] == last]]
            return [group for group in cut if group]
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise ValueError(f'groups={groups!r} is none of "turns", None, or a number of positions from 1')
        of_kind = [0, *found] if self.kinds[0] == tokens or tokens == "all" else found
        cut = [[at for at in part if at] for part in (of_kind[1:groups], of_kind[groups + 1 :])]
        if not any(cut):
            raise ValueError(
                f"groups={groups} leaves none of {len(of_kind)} positions: they are cut into P[1:{groups}] and "
                f'P[{groups + 1}:]. Use groups="turns"'
            )
        return [group for group in cut if group]

    def _nothing(self, tokens: str) -> str:
        text = "".join(self.words)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        if not any(self.kinds) and tokens != "all":
            return (
                f"which of {len(self.ids)} token ids are {tokens} tokens is unknown; give positions=, or chats or strings "
                "with spans="
            )
        if tokens not in ("special", "random"):
            return f"{shown!r} has no {tokens} tokens behind its first token; use other tokens="
        return f"no special tokens in {shown!r}; give spans=, e.g. ['[INST]', '[/INST]'], or chats that the template renders"

    def to_dataframe(self) -> pd.DataFrame:
        """One line a token: position, token_id, token, kind, turn."""
        columns = {"token_id": self.ids, "token": self.words, "kind": self.kinds, "turn": self.turns}
        return pd.DataFrame({"position": np.arange(len(self.ids)), **columns})

    def __repr__(self) -> str:
        counts = {kind or "unknown": self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}
        return f"TokenLayout of {len(self.ids)} tokens: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())

    def _repr_html_(self) -> str:
        cells = [
            f'<span title="{at}: {html.escape(kind or "unknown")}, turn {turn}, id {token}" style="background:{COLOURS[kind]};color:#000;'
            f'border-radius:3px;padding:0 2px;margin:0 1px;white-space:pre-wrap">{html.escape(word) or "&middot;"}</span>'
            for at, (token, word, kind, turn) in enumerate(
                zip(self.ids, self.words, self.kinds, self.turns, strict=True)
            )
        ]
        present = [kind for kind in COLOURS if kind in self.kinds and kind]
        legend = " ".join(
            f'<span style="background:{COLOURS[kind]};color:#000;padding:0 4px;border-radius:3px">{kind}</span>'
            for kind in present
        )
        return f'<div><p>{html.escape(repr(self))}. {legend}</p><p style="line-height:1.9">{"".join(cells)}</p></div>'


def token_layout(
    model: Any, item: Item, *, spans: Sequence[str] | None = None, bos_eos: bool = True, reply: bool = False
) -> TokenLayout:
    """What every token of a text belongs to.

    Args:
        model: A model with a tokenizer, or a tokenizer.
        item: A chat (messages with role and content), a string, or token ids (whose kinds are unknown).
        spans: Literal texts that are special, e.g. ``["[INST]", "[/INST]"]``; the first opens a turn of a string. By default what the
            tokenizer's chat template adds to the messages.
        bos_eos: False: the template's beginning and end of text are empty, as in Song et al. (2024).
        reply: Open the assistant's turn at the end of a chat whose last message is another's.

    Raises:
        ValueError: A chat without a template, a tokenizer that does not know where its tokens are in the text, or a
            template that rewrites the messages.
    """
    tokenizer = getattr(model, "tokenizer", model)
    return Layouts(tokenizer, spans=spans, bos_eos=bos_eos, reply=reply).of(item)


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
            raise ValueError(f"spans={self.spans!r} must be a list of texts, e.g. ['[INST]', '[/INST]']")

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
        kinds, turns = np.full(len(text), "special", dtype=object), np.zeros(len(text), dtype=int)
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
        kinds, turns = np.full(len(text), "content", dtype=object), np.zeros(len(text), dtype=int)
        spans = list(self.spans or [])
        if spans:
            opening, answering = spans[0], None
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
        opening, answering = pieces[2][closes[2] :].strip(), pieces[1].strip()
        closing = pieces[2][: closes[2]].strip()
        if not opening or not answering:
            raise ValueError(
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
                raise ValueError(
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
            cursor, found = 0, []
            for piece, content in zip(pieces, contents, strict=False):
                cursor += len(piece)
                found.append((cursor, cursor + len(content)))
                cursor += len(content)
            if text == "".join(part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair):
                return found
        match = re.fullmatch("(.*?)".join(map(re.escape, pieces)), text, re.DOTALL)
        if match is None:
            raise ValueError(
                "the tokenizer's chat template rewrites the messages, so its special tokens cannot be told from the text; give spans="
            )
        return [match.span(number + 1) for number in range(len(chat))]

    def _placed(
        self, text: str, kinds: np.ndarray, turns: np.ndarray, bos: int | None, texts: tuple[str, ...]
    ) -> TokenLayout:
        """Kinds of characters as kinds of tokens."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, spans = list(encoded["input_ids"]), [tuple(span) for span in encoded["offset_mapping"]]
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
            raise ValueError("the model has no tokenizer, so items must be lists of token ids, with positions=")
        if not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(self.tokenizer).__name__} does not say where its tokens are in the text; load the fast tokenizer, or "
                "give token ids with positions="
            )
        return self.tokenizer


def as_chat(item: Sequence[Any]) -> Chat:
    """Messages as (role, content) pairs.

    Raises:
        ValueError: A message without role or content.
    """
    pairs = []
    for message in item:
        if isinstance(message, Mapping):
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise ValueError(
                    f"a message of a chat has a role and a content, both strings; got {str(dict(message))[:80]}"
                )
            pairs.append((message["role"], message["content"]))
        elif len(message) == 2 and all(isinstance(part, str) for part in message):
            pairs.append(tuple(message))
        else:
            raise ValueError(f"a message of a chat has a role and a content, both strings; got {str(message)[:80]}")
    return tuple(pairs)


def _mark_spans(text: str, spans: Sequence[str], kinds: np.ndarray) -> None:
    for span in spans:
        for match in re.finditer(re.escape(span), text):
            kinds[match.start() : match.end()] = "special"
