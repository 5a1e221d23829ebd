"""The tokens of one forward pass: their columns, their positions in their texts, and where each prompt ends.

A *column* is a place in the padded texts of a batch, counted from 0 and through the cache: a pass of ``n`` tokens
behind a cache of ``past`` columns reads the columns ``past`` to ``past + n - 1``. A *position* is a place in one
text: its column less the padding on its left. A text is identified by a number made of the tokens of its prompt, so
that whatever is drawn at random for a text does not depend on the texts that share its batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int


@dataclass(eq=False)
class Reading:
    """One forward pass, as far as its arguments tell.

    Args:
        past: Number of columns that the cache holds, before the tokens of this pass.
        ids: (batch, pos) token ids of this pass; None where the model was given embeddings.
        mask: (batch, column) attention mask, 1 where a column holds a token and 0 where it is padding; None where the
            caller gave none.
        prompt: (batch,) or (1,) number of columns up to the end of the prompt, where it is known from outside the pass.
        sorted: Whether texts stand in an order of this package's choosing, so that the number of a text in the batch
            tells a user nothing.
        pad: Id of the token that texts are padded with; None where the tokenizer does not say.
        earlier: A list of at most one (batch,) tensor of numbers that identify texts by their prompts; the pass that
            reads the prompts writes it, for the later passes of the same texts.
        memo: What layers worked out for this pass, so that the next layer need not do it again.
    """

    past: int
    ids: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    prompt: torch.Tensor | None = None
    sorted: bool = False
    pad: int | None = None
    earlier: list[torch.Tensor] = field(default_factory=list)
    memo: dict[Any, torch.Tensor] = field(default_factory=dict)

    def columns(self, n: int, device: torch.device) -> Int[torch.Tensor, " pos"]:
        """(pos,) columns of the tokens of this pass, those of the cache counted.

        Args:
            n: Number of tokens in this pass.
            device: Device of the result.
        """
        return torch.arange(self.past, self.past + n, device=device)

    def prompt_ends(self, n: int, device: torch.device) -> Int[torch.Tensor, " batch"]:
        """(batch,) the first column after each text's prompt; (1,) where it is the same for all.

        Args:
            n: Number of tokens in this pass.
            device: Device of the result.
        """
        if self.prompt is not None:
            return self.prompt.to(device)
        if self.past:
            return torch.tensor([self.past], device=device)
        holds_token = self._padding_mask(n, device)
        if holds_token is None:
            return torch.tensor([n], device=device)
        # n less the padding on the right: argmax of the reversed mask is the place of its first 1
        return n - holds_token.flip(1).long().argmax(1)

    def positions(self, n: int, device: torch.device) -> Int[torch.Tensor, "batch pos"]:
        """(batch, pos) position of each token in its own text, from 0; padding on the left is not counted.

        Args:
            n: Number of tokens in this pass.
            device: Device of the result.
        """
        holds_token = self._padding_mask(self.past + n, device)
        if holds_token is not None:
            # number of tokens up to and including a column, less one; padding on the left would be -1
            return (holds_token.long().cumsum(1) - 1).clamp(min=0)[:, self.past :]
        return self.columns(n, device)[None]

    def texts(self, batch: int, n: int, device: torch.device) -> Int[torch.Tensor, " batch"]:
        """(batch,) a number that identifies each text by the tokens of its prompt.

        Where the tokens are unknown it is the text's place in the batch. The number does not depend on the other
        texts of the batch, nor on whether a cache is used.

        Args:
            batch: Number of texts.
            n: Number of tokens in this pass.
            device: Device of the result.
        """
        if not self.past and self.ids is not None:
            ids = self.ids.to(device)
            of_prompt = self.columns(n, device) < self.prompt_ends(n, device)[:, None]
            holds_token = self._padding_mask(n, device)
            counted = (of_prompt if holds_token is None else of_prompt & holds_token).expand(batch, n)
            # each (token, position) pair is hashed and the hashes of a prompt are summed; 1,000,003 is a prime
            words = mixed(ids * 1_000_003 + self.positions(n, device))
            self.earlier[:] = [torch.where(counted, words, torch.zeros_like(words)).sum(1)]
        if self.earlier and len(self.earlier[0]) == batch:
            return self.earlier[0].to(device)
        return torch.arange(batch, device=device)

    def unmasked_padding(self, n: int) -> bool:
        """Whether some texts, but not all, end with the padding token although no attention mask was given.

        Args:
            n: Number of tokens in this pass.
        """
        if self.pad is None or self.mask is not None or self.prompt is not None or self.past or self.ids is None:
            return False
        # texts that all end with it may have been written so: the padding token is often that of the end of text
        ends = self.ids[:, n - 1] == self.pad
        return bool(ends.any() and not ends.all())

    def _padding_mask(self, columns: int, device: torch.device) -> Bool[torch.Tensor, "batch column"] | None:
        """The attention mask as booleans, True for tokens; None unless it has that many columns and masks some."""
        if self.mask is None or self.mask.ndim != 2 or self.mask.shape[1] != columns:
            return None
        holds_token = self.mask.to(device) != 0
        return None if bool(holds_token.all()) else holds_token


def mixed(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Non-negative integers that look random and depend on the arguments alone (a multiply-xorshift mixer).

    Args:
        values: Integers of 64 bits.
        seed: Seed of the mixing; other seeds give other integers.
    """
    # the seed becomes an offset, so that equal values of different seeds begin apart
    found = values + (seed * 7_046_029_254_386_353 + 0x9E3779B97F4A7C) % 2**62
    for factor in (0x2545F4914F6CDD1D, 0x1B873593CC9E2D51):
        found = (found ^ (found >> 29)) * factor  # int64 wraps around: arithmetic modulo 2^64
    # the last xorshift, and the sign bit cleared
    return (found ^ (found >> 32)) & 0x7FFFFFFFFFFFFFFF
