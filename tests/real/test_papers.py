"""The papers on a real chat model: the released score beside gradients of its weights, and settings that fit its chats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tl_fbn as fbn
from tl_fbn.acquisition.model.chat_template import Layouts

pytestmark = pytest.mark.real


def test_the_released_score_is_that_of_weight_gradients(real_path, word_tasks) -> None:
    model = fbn.load_model(real_path, "float32", "cpu", progress=False)
    tasks = fbn.Tasks({"past": word_tasks / "present-past.json"}, template="chat")
    used = fbn.papers.s1.settings.on(model)
    assert used.cgvst["spans"] is None and used.cgvst["groups"] == "turns"  # ChatML has no [INST]
    chats = fbn.few_shot_chats(tasks.rows("past"), n=2, seed=0, tokenizer=model.tokenizer, **used.chats)
    found = fbn.cgvst(model, chats, progress=False, **used.cgvst)
    layouts = Layouts(model.tokenizer, bos_eos=False)
    host = model.original_model
    by_hand = np.zeros(found.space.n_units)
    for chat in chats:
        layout = layouts.of(chat)
        ids = torch.tensor([layout.ids])
        host.zero_grad()
        with torch.enable_grad():
            for one in host.parameters():
                one.requires_grad_(True)
            logits = host(ids, use_cache=False).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            special = [at for at, kind in enumerate(layout.kinds) if kind == "special" and at > 0]
            last = max(layout.turns)
            before = [at - 1 for at in special if layout.turns[at] < last]
            query = [at - 1 for at in special if layout.turns[at] == last]
            (loss[before].mean() + loss[query].mean()).backward()
        by_hand += np.concatenate([layer.mlp.up_proj.weight.grad.sum(1).abs().numpy() for layer in host.model.layers])
    host.zero_grad()
    assert np.abs(found.values - by_hand).max() <= 1e-5 * by_hand.max()
