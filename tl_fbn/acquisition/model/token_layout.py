"""The tokens of one text, what each belongs to (template, question, answer), and which of them a loss is made of.

A loss is the sum of means: the mean over the positions of one group of tokens plus the mean over those of the next,
as in Song et al. (2024). By default the groups are all turns before the last, and the last turn. Song et al. cut by
count: with P the sorted positions of special tokens, their groups are P[1:28] and P[29:], where 28 is 4 turns of 7
special tokens.

Position 0 is never used: a language model predicts each token from those before it, and nothing stands before the
first.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from tl_fbn.errors import InputError, one_of
from tl_fbn.signatures import checked

Tokens = Literal["special", "all", "answer", "content", "random"]
Groups = Literal["turns"] | int | None
# background of each kind of token in a notebook
COLOURS = {"special": "#fdb863", "preamble": "#b8e0c8", "content": "#e8e8e8", "answer": "#b2abd2", "": "#ffffff"}


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """The tokens of one text and what each belongs to.

    :func:`tl_fbn.token_layout` makes one.

    >>> layout = fbn.token_layout(model, fbn.chats("sort")[0])
    >>> layout.to_dataframe().head(3)
       position  token_id   token     kind  turn
    0         0         1   <bos>  special     0
    1         1         4  [INST]  special     0
    2         2        10    sort  content     0
    >>> layout.positions("special"), layout.grouped("answer")
    ([1, 9], [[10, 11, 12, 13, 14]])

    Args:
        ids: Token ids.
        words: The text of each token.
        kinds: What each token belongs to: ``"special"`` (the template's markers), ``"preamble"`` (what the template
            says by itself, such as a default system prompt), ``"content"`` (messages of user and system) or
            ``"answer"`` (messages of the assistant); empty where that is unknown, as for a text given as token ids.
        turns: (token,) turn of the conversation that each token belongs to, from 0.
        texts: The texts that the tokens are of. Their digests tell later whether a network is tested on the prompts
            it was found on.
        used: For each group of the loss the positions that are scored; pictures frame them.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    turns: Int[np.ndarray, " token"]
    texts: tuple[str, ...] = ()
    used: tuple[tuple[int, ...], ...] = ()

    @checked
    def positions(self, tokens: Tokens = "special", *, seed: int | None = None) -> list[int]:
        """Positions of one kind of token, ascending, without position 0, which nothing predicts.

        Args:
            tokens: ``"special"``, ``"content"`` or ``"answer"`` for the tokens of that kind; ``"all"`` for all;
                ``"random"`` for tokens drawn at random, in every turn as many as it has special ones.
            seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.

        Raises:
            InputError: There is no such token behind position 0, ``tokens`` is none of these words, or ``"random"``
                is given without a seed.
        """
        one_of(tokens, Tokens, "tokens")
        if tokens == "random":
            found = self._random_positions(seed)
        else:
            found = [at for at, kind in enumerate(self.kinds) if at and tokens in ("all", kind)]
        if not found:
            raise InputError(self._message_for_none(tokens))
        return found

    def _random_positions(self, seed: int | None) -> list[int]:
        """In every turn as many positions as it has special tokens, drawn without replacement; ascending."""
        if seed is None:
            raise InputError('tokens="random" needs seed=')
        rng = np.random.default_rng(
            [seed, *self.ids]
        )  # of the text's own tokens, so that texts are drawn independently
        special = self.positions("special")
        found: list[int] = []
        for turn in np.unique(self.turns):
            in_turn = np.flatnonzero(self.turns == turn)
            in_turn = in_turn[in_turn > 0]  # position 0 is never used
            n = sum(self.turns[at] == turn for at in special)
            found += rng.choice(in_turn, n, replace=False).tolist()
        return sorted(found)

    @checked
    def grouped(
        self, tokens: Tokens = "special", groups: Groups = "turns", *, seed: int | None = None
    ) -> list[list[int]]:
        """Positions by group: the loss is the sum of the groups' means. A group without a position is left out.

        Args:
            tokens: ``"special"``, ``"content"`` or ``"answer"`` for the tokens of that kind; ``"all"`` for all;
                ``"random"`` for tokens drawn at random, in every turn as many as it has special ones.
            groups: ``"turns"`` makes two groups, all turns before the last and the last turn; None makes one group; a
                number n makes the groups P[1:n] and P[n+1:] of the sorted positions P, as Song et al. (2024) do with
                n = 28.
            seed: Seed of the random draw of tokens; needed for ``tokens="random"`` and not used otherwise.

        Raises:
            InputError: There is no such token, an argument is none of these, or the groups of a number are empty.
        """
        found = self.positions(tokens, seed=seed)
        if groups is None:
            return [found]
        # the demonstrations of a few-shot chat, and the question that is asked last
        if groups == "turns":
            last = self.turns.max()
            cut = [[at for at in found if self.turns[at] < last], [at for at in found if self.turns[at] == last]]
            return [group for group in cut if group]
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise InputError(f"groups must be 'turns', None or a number of positions from 1; got {groups!r}")
        # P counts position 0 too if it is of the kind; it is then dropped from the groups
        of_kind = [0, *found] if self.kinds[0] == tokens or tokens == "all" else found
        cut = [[at for at in part if at] for part in (of_kind[1:groups], of_kind[groups + 1 :])]
        if not any(cut):
            raise InputError(
                f"groups={groups} leaves none of {len(of_kind)} positions: they are cut into P[1:{groups}] and "
                f'P[{groups + 1}:]. Use groups="turns"'
            )
        return [group for group in cut if group]

    def _message_for_none(self, tokens: str) -> str:
        """The error message where no token of a kind is found."""
        text = "".join(self.words)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        if not any(self.kinds) and tokens != "all":
            return (
                f"which of {len(self.ids)} token ids are {tokens} tokens is unknown; give positions=, or chats or "
                "strings with spans="
            )
        if tokens not in ("special", "random"):
            return f"{shown!r} has no {tokens} tokens behind its first token; use other tokens="
        return (
            f"no special tokens in {shown!r}; give spans=, e.g. ['[INST]', '[/INST]'], "
            "or chats that the template renders"
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One line a token: position, token_id, token, kind, turn."""
        columns = {"token_id": self.ids, "token": self.words, "kind": self.kinds, "turn": self.turns}
        return pd.DataFrame({"position": np.arange(len(self.ids)), **columns})

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = (
            "Every token of one text by what it belongs to. Hovering shows position, kind, turn and id; "
            "a frame marks what is scored."
        )
        return [{"title": "Tokens", "text": text, "html": self._repr_html_()}]

    def __repr__(self) -> str:
        counts = {kind or "unknown": self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}
        return f"TokenLayout of {len(self.ids)} tokens: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())

    def _repr_html_(self) -> str:
        # position to the number of its group, from 1
        group_of = {at: number for number, group in enumerate(self.used, start=1) for at in group}
        cells = []
        for at, (token, word, kind, turn) in enumerate(zip(self.ids, self.words, self.kinds, self.turns, strict=True)):
            shown = word.replace("\n", "\u21b5") or "\u00b7"  # a line break as an arrow, an empty token as a dot
            scored = f", scored in group {group_of[at]}" if at in group_of else ""
            frame = f"outline:2px {'solid' if group_of[at] == 1 else 'dashed'} #333;" if at in group_of else ""
            title = html.escape(f"{at}: {kind or 'unknown'}, turn {turn}, id {token}{scored}")
            style = (
                f"background:{COLOURS[kind]};color:#000;{frame}display:inline-block;border-radius:3px;padding:0 2px;"
                "margin:1px 2px;white-space:pre"
            )
            cells.append(f'<span title="{title}" style="{style}">{html.escape(shown)}</span>')
        legend = " ".join(
            f'<span style="background:{COLOURS[kind]};color:#000;padding:0 4px;border-radius:3px">{kind}</span>'
            for kind in COLOURS
            if kind and kind in self.kinds
        )
        frames = f" {len(group_of)} scored tokens are framed." if self.used else ""
        caption = f"{html.escape(repr(self))}. {legend}{frames}"
        return f'<div><p>{caption}</p><p style="line-height:2">{"".join(cells)}</p></div>'
