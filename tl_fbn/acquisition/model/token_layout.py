"""The tokens of one text, what each belongs to, and which of them a loss is made of.

Groups are Song et al.'s (2024): their loss is the mean over the first group's positions plus the mean over the second's. Theirs are cut by
count, at 28 = 4 turns of 7 special tokens; by default ours are the turns before the last, and the last.

Position 0 is never used: nothing predicts it.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from tl_fbn.errors import InputError, one_of

Tokens = Literal["special", "all", "answer", "content", "random"]
Groups = Literal["turns"] | int | None
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
        used: Positions that are scored, by group; shown with a frame.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    turns: Int[np.ndarray, " token"]
    texts: tuple[str, ...] = ()
    used: tuple[tuple[int, ...], ...] = ()

    def positions(self, tokens: Tokens = "special", *, seed: int | None = None) -> list[int]:
        """Positions of one kind of token, ascending, without position 0, which nothing predicts.

        Args:
            tokens: ``"special"``, ``"content"``, ``"answer"``, ``"all"``, or ``"random"``: in every turn as many as it has special ones.
            seed: Of ``"random"``.

        Raises:
            InputError: None found, an unknown kind, or ``"random"`` without a seed.
        """
        one_of(tokens, Tokens, "tokens")
        if tokens == "random":
            found = self._random(seed)
        else:
            found = [at for at, kind in enumerate(self.kinds) if at and tokens in ("all", kind)]
        if not found:
            raise InputError(self._nothing(tokens))
        return found

    def _random(self, seed: int | None) -> list[int]:
        if seed is None:
            raise InputError('tokens="random" needs seed=')
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
            raise InputError(f"groups must be 'turns', None or a number of positions from 1; got {groups!r}")
        of_kind = [0, *found] if self.kinds[0] == tokens or tokens == "all" else found
        cut = [[at for at in part if at] for part in (of_kind[1:groups], of_kind[groups + 1 :])]
        if not any(cut):
            raise InputError(
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

    def _report_sections_(self) -> list[dict[str, Any]]:
        text = "Every token of one text by what it belongs to. Hovering shows position, kind, turn and id; a frame marks what is scored."
        return [{"title": "Tokens", "text": text, "html": self._repr_html_()}]

    def __repr__(self) -> str:
        counts = {kind or "unknown": self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}
        return f"TokenLayout of {len(self.ids)} tokens: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())

    def _repr_html_(self) -> str:
        group_of = {at: number for number, group in enumerate(self.used, start=1) for at in group}
        cells = []
        for at, (token, word, kind, turn) in enumerate(zip(self.ids, self.words, self.kinds, self.turns, strict=True)):
            shown = word.replace("\n", "\u21b5") or "\u00b7"
            scored = f", scored in group {group_of[at]}" if at in group_of else ""
            frame = f"outline:2px {'solid' if group_of[at] == 1 else 'dashed'} #333;" if at in group_of else ""
            title = html.escape(f"{at}: {kind or 'unknown'}, turn {turn}, id {token}{scored}")
            style = f"background:{COLOURS[kind]};color:#000;{frame}display:inline-block;border-radius:3px;padding:0 2px;margin:1px 2px;white-space:pre"
            cells.append(f'<span title="{title}" style="{style}">{html.escape(shown)}</span>')
        legend = " ".join(
            f'<span style="background:{COLOURS[kind]};color:#000;padding:0 4px;border-radius:3px">{kind}</span>'
            for kind in COLOURS
            if kind and kind in self.kinds
        )
        frames = f" {len(group_of)} scored tokens are framed." if self.used else ""
        return f'<div><p>{html.escape(repr(self))}. {legend}{frames}</p><p style="line-height:2">{"".join(cells)}</p></div>'
