"""The model writes: cached decoding of a batch of contexts, token by token.

The host's own ``generate`` stops at end-of-text, draws from one random stream for the whole batch and never reads the last
token it wrote. Here every context gets exactly its number of tokens (end-of-text is never chosen), sampling depends on the
seed, the run and the context and not on who shares the batch, and every token written is read, for its activations are
what is recorded.

Three ways of decoding, found out on the model itself by a probe of two short contexts:

``"padded"``   key-value cache, contexts of several lengths padded on the left under a mask;
``"equal"``    key-value cache, only contexts of equal length share a batch (where the model's positions ignore the mask);
``"reread"``   no cache: every step reads the whole text (native bridges, HookedTransformer). Slow, and the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel

DecodingMode = Literal["padded", "equal", "reread"]


class Decoder:
    """A batch of texts that grows.

    Args:
        model: The model.
        mode: How to decode.
    """

    def __init__(self, model: HookedModel, mode: DecodingMode) -> None:
        self._model = model
        self._mode = mode
        self._cache: Any = None
        self._mask: torch.Tensor | None = None
        self.prompt: list[int] = []
        self.texts: list[list[int]] = []

    def feed(self, new: Sequence[Sequence[int]]) -> Float[torch.Tensor, "batch vocab"]:
        """Append tokens to every text and read them.

        Args:
            new: For every text its new tokens; of several lengths only at the beginning.

        Returns:
            Logits of the next token of every text.
        """
        self.texts = [[*old, *more] for old, more in zip(self.texts or [[]] * len(new), new, strict=True)]
        device = host.model_device(self._model)
        if not self.prompt:  # behind these columns the model writes; padding on the left counts
            lengths = [len(text) for text in self.texts]
            self.prompt = lengths if self._mode == "reread" else [max(lengths)]
        if self._mode == "reread":
            ids, mask, _ = host.pad_batch(self.texts, device)
            with declared(self._model, self.prompt):
                logits = host.forward(self._model, ids, mask)
            assert logits is not None
            ends = torch.tensor([len(text) - 1 for text in self.texts], device=logits.device)
            return logits[torch.arange(len(ends), device=logits.device), ends]
        ids, mask = _left_padded(new, device)
        self._mask = mask if self._mask is None else torch.cat([self._mask, mask], dim=1)
        options: dict[str, Any] = {} if bool(self._mask.all()) else {"attention_mask": self._mask}
        if self._cache is not None:
            options["past_key_values"] = self._cache
        with declared(self._model, self.prompt):
            logits, self._cache = self._model(ids, return_type="logits_and_cache", use_cache=True, **options)
        return logits[:, -1]


def _left_padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, sequences))
    ids = torch.tensor([[0] * (longest - len(sequence)) + list(sequence) for sequence in sequences])
    mask = torch.tensor([[0] * (longest - len(sequence)) + [1] * len(sequence) for sequence in sequences])
    return ids.to(device), mask.to(device)


@torch.no_grad()
def decoding_mode(model: HookedModel) -> DecodingMode:
    """The fastest way of decoding that gives this model's own numbers."""
    size = host.vocabulary_size(model) or 8
    texts = [[i * 7 % size for i in range(5)], [i * 3 % size for i in range(2)]]
    following = [[1 % size], [2 % size]]
    reference = Decoder(model, "reread")
    reference.feed(texts)
    expected = reference.feed(following).float()
    tolerance = (1e-3 if next(model.parameters()).dtype == torch.float32 else 5e-2) * expected.std()
    for mode in ("padded", "equal"):
        batches = [[0, 1]] if mode == "padded" else [[0], [1]]
        try:
            for batch in batches:
                decoder = Decoder(model, mode)
                decoder.feed([texts[i] for i in batch])
                if decoder._cache is None:
                    return "reread"
                found = decoder.feed([following[i] for i in batch]).float()
                if not bool(((found - expected[batch]).abs() <= tolerance).all()):
                    break
            else:
                return mode
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
            continue  # a host or an architecture that cannot do it this way
    return "reread"


class Chooser:
    """Chooses next tokens: the most probable, or sampled at a temperature.

    Args:
        model: The model, for the tokens never to choose.
        temperature: 0 for greedy.
        seed: Of the sampling.
    """

    def __init__(self, model: HookedModel, temperature: float, seed: int) -> None:
        self._never = host.end_tokens(model)
        self._temperature = temperature
        self._seed = seed

    def draws(self, run: int, context: int, n: int) -> Float[np.ndarray, " draw"]:
        """Uniform numbers for the tokens of one context, whoever shares its batch."""
        name = hashlib.sha256(f"{self._seed}/{run}/{context}".encode()).digest()
        return np.random.default_rng(list(name)).random(n)

    def choose(
        self, logits: Float[torch.Tensor, "batch vocab"], draws: Float[np.ndarray, " batch"]
    ) -> Int[np.ndarray, " batch"]:
        """One token for every text."""
        allowed = logits.float()
        if self._never:
            allowed = allowed.index_fill(1, torch.tensor(self._never, device=allowed.device), -torch.inf)
        if not self._temperature:
            return allowed.argmax(-1).cpu().numpy()
        cumulative = (allowed.double() / self._temperature).softmax(-1).cumsum(-1).cpu().numpy()
        # the last token with any probability takes what rounding leaves of the unit interval
        return np.array(
            [np.searchsorted(row, u * row[-1], side="right") for row, u in zip(cumulative, draws, strict=True)]
        )
