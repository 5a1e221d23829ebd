"""Decoding: each mode gives the numbers of plain re-reading, choices are seeded per context, end-of-text is never
chosen.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.models import bridged, tiny_gpt2, tiny_llama, tiny_model
from tl_fbn.acquisition.model.sampling import Chooser, Decoder, decoding_mode

TEXTS = [[5, 1, 7, 30], [2, 9], [40, 3, 3, 8, 21]]
MORE = [[[4], [6], [11]], [[12], [0], [13]]]


@pytest.mark.parametrize(("make", "mode"), [(tiny_llama, "padded"), (tiny_gpt2, "padded"), (None, "reread")])
def test_modes_are_found_and_give_the_same_logits(make: Any, mode: str) -> None:
    model = tiny_model() if make is None else bridged(make())
    assert decoding_mode(model) == mode
    decoder = Decoder(model, mode)  # type: ignore[arg-type]
    with torch.no_grad():
        for new in (TEXTS, *MORE):
            logits = decoder.feed(new)
            for i, text in enumerate(decoder.texts):
                alone = model(torch.tensor([text]))[0, -1]
                torch.testing.assert_close(logits[i], alone, rtol=1e-4, atol=1e-5)
    assert decoder.texts[1] == [2, 9, 6, 0]


def test_a_model_whose_positions_ignore_the_mask_decodes_equal_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bridged(tiny_gpt2())
    honest = type(model).forward

    def forgetful(self: Any, ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **options: Any) -> Any:
        return honest(self, ids, **options)  # pads are read like words

    monkeypatch.setattr(type(model), "forward", forgetful)
    assert decoding_mode(model) == "equal"


def chooser(temperature: float = 0.0, end: int | None = None) -> Chooser:
    model = SimpleNamespace(tokenizer=SimpleNamespace(eos_token_id=end), cfg=SimpleNamespace(d_vocab=5))
    return Chooser(model, temperature, seed=3)


def test_greedy_takes_the_most_probable_but_never_the_end() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0, 9.0], [5.0, 0.0, 0.0, 0.0, 0.0]])
    assert chooser().choose(logits, np.zeros(2)).tolist() == [4, 0]
    assert chooser(end=4).choose(logits, np.zeros(2)).tolist() == [1, 0]


def test_draws_depend_on_run_and_context_only() -> None:
    one = chooser(1.0)
    np.testing.assert_array_equal(one.draws(0, 4, 6), chooser(1.0).draws(0, 4, 6))
    np.testing.assert_array_equal(one.draws(0, 4, 9)[:6], one.draws(0, 4, 6))
    assert not np.array_equal(one.draws(0, 4, 6), one.draws(1, 4, 6))
    assert not np.array_equal(one.draws(0, 4, 6), one.draws(0, 5, 6))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_follows_the_distribution_at_its_temperature(temperature: float) -> None:
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0, 2.0])
    n = 20_000
    drawn = chooser(temperature, end=4).choose(logits.expand(n, -1), np.random.default_rng(0).random(n))
    expected = torch.cat([(logits[:4] / temperature).softmax(-1), torch.zeros(1)]).numpy()
    share = np.bincount(drawn, minlength=5) / n
    assert share[4] == 0
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.25 / n))


def test_the_ends_of_the_unit_interval_are_tokens() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0]] * 2)
    assert chooser(1.0).choose(logits, np.array([0.0, np.nextafter(1, 0)])).tolist() == [0, 4]
    assert chooser(1.0, end=4).choose(logits, np.array([0.0, np.nextafter(1, 0)])).tolist() == [0, 3]
