"""A chat as text: what the tokenizer itself writes, variables that are read, and templates that refuse."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN
from tests.oracle.templates import CHATML, character_tokenizer
from tl_fbn.acquisition.model.chat_rendering import render
from tl_fbn.acquisition.model.chat_template import as_chat

THINKING = CHATML.replace(
    "<|im_start|>assistant\n' }}{% endif %}",
    "<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}{{ 'quiet' }}{% endif %}"
    "{% endif %}{{ date_string }}",
)
STRICT = "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('no ' + m.role) }}{% endif %}{{ m.content }}{% endfor %}"


def test_variables_reach_the_template():
    tokenizer = character_tokenizer(THINKING)
    asked = (("user", "ab"),)
    variables = {"enable_thinking": False, "date_string": "today"}
    messages = [{"role": "user", "content": "ab"}]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **variables)
    assert render(tokenizer, asked, reply=True, variables=variables) == expected
    assert expected.endswith("quiettoday")
    assert "quiet" not in render(tokenizer, asked, reply=True)


def test_variables_reach_the_template_through_every_door():
    tokenizer = character_tokenizer(THINKING)
    variables = {"date_string": "xyz"}
    layout = fbn.token_layout(tokenizer, TURN, chat_template_kwargs=variables)
    assert "".join(layout.words).endswith("xyz") and "xyz" not in "".join(fbn.token_layout(tokenizer, TURN).words)
    # the answer is the same, and what is read before it is what the template writes
    battery = fbn.Battery.from_chats({"t": [TURN]}, tokenizer, chat_template_kwargs=variables)
    assert tokenizer.decode(battery.tasks["t"].items[0].alternatives[0]) == "c"
    counted = fbn.few_shot_chats([("", "ab", "c")], seed=0, n_shots=0, tokenizer=tokenizer, max_tokens=len(layout.ids))
    assert len(counted) == 1
    with pytest.raises(ValueError, match="longer than max_tokens"):
        fbn.few_shot_chats(
            [("", "ab", "c")],
            seed=0,
            n_shots=0,
            tokenizer=tokenizer,
            max_tokens=len(layout.ids) - 1,
            chat_template_kwargs=variables,
        )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"enable_thinkng": True}, "enable_thinkng, which the tokenizer's chat template never reads"),
        ({"messages": []}, "'messages', no variable of a template: the messages are the chat's"),
        ({"add_generation_prompt": True}, "an answer is opened where one is written"),
        ({"bos_token": ""}, "bos_eos= keeps them or leaves them out"),
        ({"max_length": 3}, "max_tokens= leaves long chats out"),
        ({"tokenize": True}, "token ids are made by this package"),
    ],
)
def test_names_that_would_be_passed_over_are_errors(variables, message):
    with pytest.raises(fbn.errors.InputError, match=message):
        render(character_tokenizer(THINKING), as_chat(TURN), variables=variables)


def test_a_template_that_refuses_says_what():
    tokenizer = character_tokenizer(STRICT)
    with pytest.raises(fbn.errors.InputError, match=r"refuses a chat of system, user \(no system\)"):
        render(tokenizer, (("system", "a"), ("user", "b")))
    with pytest.raises(fbn.errors.InputError, match=r"refuses a chat of user \(Expected an expression"):
        render(character_tokenizer("{% if %}"), (("user", "a"),))
    with pytest.raises(fbn.errors.InputError, match="has no chat template"):
        render(character_tokenizer(None), (("user", "a"),))
