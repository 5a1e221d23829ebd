"""Special-token positions against counts made by hand, on five templates."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN, TWO
from tests.helpers.paths import SHARED
from tests.oracle.templates import CHATML, DEMO, GEMMA, LLAMA_2, LLAMA_3, character_tokenizer
from tl_fbn.acquisition.model.chat_template import Layouts, as_chat

# positions counted by hand in the rendered text; <s>, </s> and marks are one token, anything else one token a character
COUNTED = {
    # <s>[INST] ab [/INST] c </s><s>[INST] de [/INST] fgh </s>
    "llama-2": (LLAMA_2, [*range(1, 8), *range(10, 19), 20, 21, *range(22, 30), *range(32, 41), 44, 45], 22),
    # <|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n<|im_start|>user\nde<|im_end|>\n<|im_start|>assistant\nfgh<|im_end|>\n
    "chatml": (
        CHATML,
        [*range(1, 6), *range(8, 21), 22, 23, *range(24, 30), *range(32, 45), 48, 49],
        24,
    ),
    # <s><|start_header_id|>user<|end_header_id|>\n\nab<|eot_id|><|sh|>assistant<|eh|>\n\nc<|eot_id|><|sh|>user<|eh|>\n\nde...
    "llama-3": (
        LLAMA_3,
        [*range(1, 9), *range(11, 25), 26, *range(27, 35), *range(37, 51), 54],
        27,
    ),
    # <s><start_of_turn>user\nab<end_of_turn>\n<start_of_turn>model\nc<end_of_turn>\n<start_of_turn>user\nde...
    "gemma": (
        GEMMA,
        [*range(1, 7), *range(9, 18), 19, 20, *range(21, 27), *range(29, 38), 41, 42],
        21,
    ),
    # <s> [INST] ab [/INST] c [INST] de [/INST] fgh
    "demo": (DEMO, [*range(1, 9), *range(11, 20), *range(21, 29), *range(31, 40)], 21),
}


@pytest.mark.parametrize("name", COUNTED)
def test_special_positions_equal_those_counted_by_hand(name: str) -> None:
    template, special, second_turn = COUNTED[name]
    layout = fbn.token_layout(character_tokenizer(template), TWO)
    assert layout.positions("special") == special
    assert sorted({*special, *layout.positions("content"), *layout.positions("answer")}) == layout.positions("all")
    words = ["".join(layout.words[at] for at in layout.positions(kind)) for kind in ("content", "answer")]
    assert words == ["abde", "cfgh"]
    assert layout.grouped() == [[at for at in special if at < second_turn], [at for at in special if at >= second_turn]]
    assert layout.grouped("answer")[1] == [at for at in layout.positions("answer") if at >= second_turn]


def test_the_demo_models_own_template(demo_model: Any) -> None:
    chat = fbn.chats("sort", n=1)[0]
    layout = fbn.token_layout(demo_model, chat)
    assert [layout.words[at] for at in layout.positions()] == ["[INST]", "[/INST]"]
    assert layout.ids[0] == demo_model.tokenizer.bos_token_id
    assert 0 not in layout.positions("all")
    string = fbn.token_layout(demo_model, fbn.prompts("sort", n=1)[0])
    assert (string.ids, string.kinds) == (layout.ids, layout.kinds)


def test_beginning_and_end_of_text_can_be_empty_as_released() -> None:
    layout = fbn.token_layout(character_tokenizer(LLAMA_2), TWO, bos_eos=False)
    assert "<s>" not in layout.words and "</s>" not in layout.words
    assert "".join(layout.words) == "[INST] ab [/INST] c [INST] de [/INST] fgh "


def test_literal_spans_in_a_plain_string() -> None:
    tokenizer = character_tokenizer(None)
    layout = fbn.token_layout(tokenizer, "Q: 1 A: 2 Q: 3 A:", spans=["Q:", "A:"])
    assert layout.words[0] == "<s>"  # strings get a beginning of text in front
    assert layout.positions() == [1, 2, 6, 7, 11, 12, 16, 17]
    assert layout.grouped() == [[1, 2, 6, 7], [11, 12, 16, 17]]


def test_a_merge_across_the_boundary_is_special() -> None:
    tokenizer = character_tokenizer(DEMO, merges=(("]", " "), ("a", "b"), ("\n", "a")))
    layout = fbn.token_layout(tokenizer, TURN)
    kinds = dict(zip(layout.words, layout.kinds, strict=True))
    assert kinds["] "] == "special" and kinds["ab"] == "content"
    glued = character_tokenizer("{% for m in messages %}#{{ m['content'] }}{% endfor %}", merges=(("#", "a"),))
    layout = fbn.token_layout(glued, [{"role": "user", "content": "abc"}])
    assert layout.words == ("#a", "b", "c") and layout.kinds == ("special", "content", "content")
    spaced = character_tokenizer("{% for m in messages %}# {{ m['content'] }}{% endfor %}", merges=((" ", "a"),))
    layout = fbn.token_layout(spaced, [{"role": "user", "content": "abc"}])
    assert layout.words == ("#", " a", "b", "c") and layout.kinds == ("special", "content", "content", "content")


def test_contents_that_look_like_the_template_are_content() -> None:
    chat = [{"role": "user", "content": "user"}, {"role": "assistant", "content": "assistant\n"}]
    layout = fbn.token_layout(character_tokenizer(CHATML), chat)
    assert "".join(layout.words[at] for at in layout.positions("content")) == "user"
    assert "".join(layout.words[at] for at in layout.positions("answer")) == "assistant\n"
    quoted = [{"role": "user", "content": "say [INST] x [/INST] y"}, {"role": "assistant", "content": "[INST]"}]
    layout = fbn.token_layout(character_tokenizer(DEMO), quoted)
    assert "".join(layout.words[at] for at in layout.positions("answer")) == "[INST]"


def test_a_system_message_and_a_question_without_an_answer() -> None:
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "ab"}]
    layout = Layouts(character_tokenizer(CHATML), reply=True).of(chat)
    assert "".join(layout.words).endswith("<|im_start|>assistant\n")
    assert "".join(layout.words[at] for at in layout.positions("content")) == "Sab"
    assert set(layout.turns) == {0}
    with pytest.raises(ValueError, match="no answer tokens"):
        layout.positions("answer")


def test_a_real_sentencepiece_tokenizer() -> None:
    folder = SHARED / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("the shared model is not here")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = LLAMA_2
    chat = [{"role": "user", "content": "Once upon a time"}, {"role": "assistant", "content": "there was a dog"}]
    layout = fbn.token_layout(tokenizer, chat, bos_eos=False)
    content = tokenizer.decode([layout.ids[at] for at in layout.positions("content")]).strip()
    assert content == "Once upon a time"
    special = tokenizer.decode([layout.ids[at] for at in [0, *layout.positions("special")]])
    assert special.replace(" ", "") == "[INST][/INST]"
    assert (
        list(layout.ids)
        == tokenizer("[INST] Once upon a time [/INST] there was a dog ", add_special_tokens=False)["input_ids"]
    )


def test_refusals_say_what_to_do() -> None:
    tokenizer = character_tokenizer(DEMO)
    with pytest.raises(ValueError, match="no chat template"):
        fbn.token_layout(character_tokenizer(None), TURN)
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        Layouts(None).of("abc")
    with pytest.raises(ValueError, match="spans='x' must be a list"):
        inspect.unwrap(fbn.token_layout)(tokenizer, "abc", spans="x")
    with pytest.raises(ValueError, match="leaves out or repeats"):
        fbn.token_layout(character_tokenizer("{{ messages[0]['content'] }}"), TURN)
    with pytest.raises(ValueError, match="rewrites the messages"):
        fbn.token_layout(
            character_tokenizer("{% for m in messages %}{{ m['content'] }}{{ m['content'] | length }}#{% endfor %}"),
            TURN,
        )
    with pytest.raises(ValueError, match="a role and a content"):
        as_chat([{"role": "user"}])
