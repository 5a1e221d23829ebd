"""Presets: what they say of their settings, and what a model's chat template needs instead of a paper's literals."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_llama, tiny_model, worded


def test_sites_a_model_has_not_are_left_out():
    assert "mlp.up" not in fbn.papers.s2.settings.sites(tiny_model())


def test_a_preset_prints_its_unknowns():
    text = str(fbn.papers.s2.settings)
    assert "Nencka et al. 2023" in text
    assert "not stated, our choice:\n  prompts: ours" in text
    with pytest.raises(TypeError, match="cannot be hooked"):
        fbn.papers.s2.settings.sites("gpt2")


CHATML = (
    "{% for m in messages %}w9 {{ 'w3' if m.role == 'user' else 'w4' }} {{ m.content }} w8 {% endfor %}"
    "{% if add_generation_prompt %}w9 w4 {% endif %}"
)


def test_s1_takes_what_another_chat_template_writes(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(worded(tmp_path / "model", tiny_llama(), template=CHATML))).eval()
    s1 = fbn.papers.s1.settings
    fitted = s1.on(model)
    assert fitted.cgvst == {**s1.cgvst, "spans": None, "groups": "turns", "max_tokens": 64}
    assert fitted.chats == {**s1.chats, "max_tokens": 64}
    assert fitted.respond == {**s1.respond, "stop": ("w9 w3",)}
    assert (fitted.top, fitted.inhibit) == (s1.top, s1.inhibit)
    (said,) = [words for name, words in fitted.unknown.items() if name.startswith("on ")]
    assert "does not write [INST] and [/INST]" in said and "max_tokens=64" in said and said in str(fitted)
    assert "on " not in [name[:3] for name in s1.unknown]
    rows = [("w11", f"w{i}", f"w{i + 1}") for i in range(12, 20)]
    chats = fbn.few_shot_chats(rows, seed=0, tokenizer=model.tokenizer, **fitted.chats)
    with pytest.raises(ValueError, match=r"item 0 holds none of spans=.*preset\.on\(model\)"):
        fbn.cgvst(model, chats, **s1.cgvst, progress=False)
    scores = fbn.cgvst(model, chats, **fitted.cgvst, progress=False)
    assert scores.values.any() and scores.provenance["variant"] == "row_sum"
    assert fbn.papers.s2.settings.on(model) is fbn.papers.s2.settings


def test_s1_stays_as_it_is_where_it_applies(demo_model):
    s1 = fbn.papers.s1.settings
    fitted = s1.on(demo_model)  # [INST] and [/INST], each one token
    assert fitted.cgvst == {**s1.cgvst, "groups": "turns", "max_tokens": 128}
    assert fitted.respond == s1.respond
    chats = fbn.few_shot_chats(fbn.chats("add", n=12), seed=0, tokenizer=demo_model.tokenizer, **fitted.chats)
    assert all(message["content"] for chat in chats for message in chat)
    by_turns = fbn.cgvst(demo_model, chats, **fitted.cgvst, progress=False)
    by_count = fbn.cgvst(demo_model, chats, **{**fitted.cgvst, "groups": 11}, progress=False)
    assert not np.allclose(by_turns.values, by_count.values)
