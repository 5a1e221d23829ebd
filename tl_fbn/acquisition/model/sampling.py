"""Text that the model writes: decoding of a batch of contexts, token by token, with a key-value cache where possible.

The host's own ``generate`` stops at end of text, draws from one random stream for the whole batch, and never reads
the last token it wrote. Here every context gets exactly its number of tokens (end of text is never chosen); a sampled
token depends on the seed, the run and the context, and not on the other contexts of the batch; and every token that
is written is read too, as its activations are recorded.

There are three ways of decoding. A probe of two short contexts finds the first that gives the model's own numbers:

``"padded"``
    key-value cache; contexts of several lengths share a batch, padded on the left under an attention mask;
``"equal"``
    key-value cache; only contexts of equal length share a batch (for models whose positions ignore the mask);
``"reread"``
    no cache: every step reads the whole text (native bridges, HookedTransformer). Slow, and the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.forward_context import declared
from tl_fbn.acquisition.model.host import HookedModel
from tl_fbn.acquisition.model.unembedding import unembedding_of_places

DecodingMode = Literal["padded", "equal", "reread"]


class Decoder:
    """A batch of texts to which tokens are appended.

    Args:
        model: The model.
        mode: How to decode: ``"padded"``, ``"equal"`` or ``"reread"``; :func:`decoding_mode` finds it.
    """

    def __init__(self, model: HookedModel, mode: DecodingMode) -> None:
        self._model = model
        self._mode = mode
        self._cache: Any = None
        self._mask: torch.Tensor | None = None  # (batch, column) of all columns so far
        self.prompt: list[int] = []  # first column after the prompt: of each text, or one number for all
        self.texts: list[list[int]] = []  # token ids of every text so far, without padding

    def feed(self, new: Sequence[Sequence[int]]) -> Float[torch.Tensor, "batch vocab"]:
        """Append tokens to every text and let the model read them.

        Args:
            new: For every text its new tokens; their number may differ between texts at the first call only.

        Returns:
            Logits of the token after the last of every text.
        """
        self.texts = [[*old, *more] for old, more in zip(self.texts or [[]] * len(new), new, strict=True)]
        device = host.model_device(self._model)
        # what is fed first is prompt; padding on the left shifts its end to the same column for all
        if not self.prompt:
            lengths = [len(text) for text in self.texts]
            self.prompt = lengths if self._mode == "reread" else [max(lengths)]
        if self._mode == "reread":
            ids, mask, _ = host.pad_batch(self.texts, device)
            ends = torch.tensor([len(text) - 1 for text in self.texts])
            with declared(self._model, self.prompt):
                return self._last_logits(ids, ends, lambda: host.forward(self._model, ids, mask))
        ids, mask = _left_padded(new, device)
        self._mask = mask if self._mask is None else torch.cat([self._mask, mask], dim=1)
        options: dict[str, Any] = {} if bool(self._mask.all()) else {"attention_mask": self._mask}
        if self._cache is not None:
            options["past_key_values"] = self._cache

        def run() -> torch.Tensor:
            logits, self._cache = self._model(ids, return_type="logits_and_cache", use_cache=True, **options)
            return logits

        with declared(self._model, self.prompt):
            if ids.shape[1] == 1:
                return run()[:, -1]
            return self._last_logits(ids, torch.full(ids.shape[:1], ids.shape[1] - 1), run)

    def _last_logits(
        self, ids: torch.Tensor, ends: Int[torch.Tensor, " batch"], run: Callable[[], Any]
    ) -> Float[torch.Tensor, "batch vocab"]:
        """Logits at the last position of every text; those of prompts are not computed, nor kept."""
        with unembedding_of_places(self._model) as logits_at:
            return logits_at(ids, torch.arange(len(ends)), ends, run)


def _left_padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (batch, pos) with zeros in front of short sequences, and the mask of what are tokens."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[0] * (longest - len(sequence)) + list(sequence) for sequence in sequences])
    mask = torch.tensor([[0] * (longest - len(sequence)) + [1] * len(sequence) for sequence in sequences])
    return ids.to(device), mask.to(device)


@torch.no_grad()
def decoding_mode(model: HookedModel) -> DecodingMode:
    """The fastest way of decoding that gives this model's own numbers, found by trying.

    Args:
        model: The model.
    """
    size = host.vocabulary_size(model) or 8
    # two texts of unequal length, so that padding matters, and a token after each, so that the cache does
    texts = [[i * 7 % size for i in range(5)], [i * 3 % size for i in range(2)]]
    following = [[1 % size], [2 % size]]
    reference = Decoder(model, "reread")
    reference.feed(texts)
    expected = reference.feed(following).float()
    # relative to the spread of the logits; half precision rounds differently with and without a cache
    tolerance = host.rounding_tolerance(model) * expected.std()
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
    """Chooses next tokens: the most probable, or sampled at a temperature; end of text is never chosen.

    Args:
        model: The model, which says what its end-of-text tokens are.
        temperature: 0 takes the most probable token; logits are divided by any other value before sampling.
        seed: Seed of the sampling; the same seed gives the same tokens, whichever contexts share a batch.
    """

    def __init__(self, model: HookedModel, temperature: float, seed: int) -> None:
        self._end_tokens = host.end_tokens(model)
        self._temperature = temperature
        self._seed = seed

    def draws(self, run: int, context: int, n: int) -> Float[np.ndarray, " draw"]:
        """Uniform random numbers in [0, 1), one for each token to write after one context.

        Args:
            run: Number of the run.
            context: Number of the context within the run.
            n: Number of tokens.
        """
        # a generator for each context, seeded by its number: what is drawn does not depend on the batch
        digest = hashlib.sha256(f"{self._seed}/{run}/{context}".encode()).digest()
        return np.random.default_rng(list(digest)).random(n)

    def choose(
        self, logits: Float[torch.Tensor, "batch vocab"], draws: Float[np.ndarray, " batch"]
    ) -> Int[np.ndarray, " batch"]:
        """The next token of every text.

        Args:
            logits: Logits of the next token of every text.
            draws: A uniform number in [0, 1) for every text; not used at temperature 0.
        """
        allowed = logits.float()
        if self._end_tokens:
            allowed = allowed.index_fill(1, torch.tensor(self._end_tokens, device=allowed.device), -torch.inf)
        if not self._temperature:
            return allowed.argmax(-1).cpu().numpy()
        # inverse of the cumulative distribution: the first token at which it exceeds the uniform number
        cumulative = (allowed.double() / self._temperature).softmax(-1).cumsum(-1).cpu().numpy()
        # u times the total, which rounding may leave unlike 1, is always below the total: some token is found
        return np.array(
            [np.searchsorted(row, u * row[-1], side="right") for row, u in zip(cumulative, draws, strict=True)]
        )
