"""What a template says by itself: a default system prompt is told from markers, in chats of several formats."""

from __future__ import annotations

from functools import partial

import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN, TWO
from tests.oracle.templates import CHATML, DEMO, GEMMA, LLAMA_2, LLAMA_3, character_tokenizer
from tl_fbn.acquisition.model.chat_rendering import render
from tl_fbn.acquisition.model.template_text import template_text

SAID = "You are a helpful assistant."
# as Qwen 2.5: a system message of its own where the chat has none
BY_DEFAULT = (
    "{% if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}"
    f"{{% else %}}{{{{ '<|im_start|>system\n{SAID}<|im_end|>\n' }}}}{{% endif %}}"
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + "
    "'<|im_end|>' + '\n' }}{% endif %}{% endfor %}"
)
# as Llama 3.1: a date stands in the system message, whether the chat has one or not
DATED = (
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul\n\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% endif %}{{ '<|eot_id|>' }}"
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\n\n' + m['content'] + '<|eot_id|>' }}{% endif %}{% endfor %}"
)
# no system messages at all, and words of its own in front
WORDS_FIRST = (
    "{{ bos_token }}{{ 'A talk.\n' }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
    "{% endif %}{{ '[' + m['role'] + '] ' + m['content'] + '\n' }}{% endfor %}"
)


def preamble_of(layout) -> str:
    return "".join(word for word, kind in zip(layout.words, layout.kinds, strict=True) if kind == "preamble")


@pytest.mark.parametrize(("template", "said"), [(BY_DEFAULT, SAID), (DATED, "Today: 26 Jul"), (WORDS_FIRST, "A talk.")])
@pytest.mark.parametrize("chat", [TURN, TWO], ids=["one turn", "two turns"])
def test_a_default_system_prompt_is_a_kind_of_its_own(template, said, chat):
    tokenizer = character_tokenizer(template)
    layout = fbn.token_layout(tokenizer, chat)
    assert preamble_of(layout) == said
    special = "".join(layout.words[at] for at in layout.positions("special"))
    assert said not in special and special.count("<|im_start|>user") == (template == BY_DEFAULT) * len(chat) // 2
    assert "preamble" in repr(layout) and "preamble" in layout._repr_html_()
    # the special tokens are those of the same template without its words, counted by that template
    bare = fbn.token_layout(character_tokenizer(template.replace(said, "")), chat)
    assert len(layout.positions("special")) == len(bare.positions("special"))


def test_the_share_of_special_tokens_in_a_short_chat_is_that_of_the_markers():
    # one question, one answer: the words of the default prompt outnumber all markers
    layout = fbn.token_layout(character_tokenizer(BY_DEFAULT), TURN)
    assert len(layout.positions("special")) == len("xsystem\nx\nxuser\nx\nxassistant\nx\n") - 1  # x is a marker
    assert layout.kinds.count("preamble") == len(SAID)


@pytest.mark.parametrize("template", [CHATML, LLAMA_2, LLAMA_3, GEMMA, DEMO])
def test_templates_that_say_nothing_have_no_preamble(template):
    assert preamble_of(fbn.token_layout(character_tokenizer(template), TWO)) == ""


def test_a_given_system_prompt_is_content():
    chat = [{"role": "system", "content": SAID}, *TURN]
    layout = fbn.token_layout(character_tokenizer(BY_DEFAULT), chat)
    assert preamble_of(layout) == ""
    assert "".join(layout.words[at] for at in layout.positions("content")) == f"{SAID}ab"
    dated = fbn.token_layout(character_tokenizer(DATED), chat)
    assert preamble_of(dated) == "Today: 26 Jul"


def test_pieces_and_what_closes_a_message():
    tokenizer = character_tokenizer(CHATML)
    shown = partial(render, tokenizer)
    found = template_text(("user", "assistant", "user"), shown, shown)
    assert found.pieces == [
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n",
    ]
    assert found.closes == [0, 0, len("<|im_end|>\n")] and found.preamble == (0, 0)
    with pytest.raises(fbn.errors.InputError, match="leaves out or repeats messages"):
        template_text(("user",), lambda chat: "nothing", shown)
