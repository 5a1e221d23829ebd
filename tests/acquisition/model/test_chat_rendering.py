"""A chat as text: what the tokenizer itself writes, variables that are read, and templates that refuse."""

from __future__ import annotations

import pytest

import tl_fbn as fbn
from tests.helpers.chats import TURN
from tests.helpers.models import bridged, tiny_llama
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


SILENT = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
INSTRUCTED = [{"role": "system", "content": "Sort  the letters."}, *TURN]
HINT = r'put what the system message says into the first message of the user.s .few_shot_chats does so with instruction="first"'


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (STRICT, r"refuses a chat of system, user, assistant \(no system\)"),
        (SILENT, r"leaves the system message 'Sort  the letters\.' out, without a word"),
    ],
)
def test_a_system_message_that_is_not_shown_is_one_error_at_every_door(template, why, tmp_path):
    tokenizer = character_tokenizer(template)
    model = bridged(tiny_llama())
    model.tokenizer = tokenizer
    rows = [("Sort  the letters.", "ba", "ab"), ("Sort  the letters.", "dc", "cd")]
    conditions = {"a": [INSTRUCTED], "b": [[INSTRUCTED[0], {"role": "user", "content": "de"}, INSTRUCTED[2]]]}
    design = fbn.block_design(conditions, n_runs=1, n_cycles=1, tokens_per_block=4, seed=0)
    doors = [
        lambda: fbn.few_shot_chats(rows, seed=0, n_shots=0, instruction="system", tokenizer=tokenizer),
        lambda: fbn.few_shot_chats(rows, seed=0, n_shots=0, instruction="system", tokenizer=tokenizer, max_tokens=99),
        lambda: fbn.Battery.from_chats({"t": [INSTRUCTED]}, tokenizer),
        lambda: fbn.token_layout(tokenizer, INSTRUCTED),
        lambda: fbn.cgvst(model, [INSTRUCTED], progress=False),
        lambda: fbn.Scanner(model).plan(design),
        lambda: fbn.Scanner(model).scan(design, tmp_path / "r", progress=False),
    ]
    for door in doors:
        with pytest.raises(fbn.InputError, match=why + ".*" + HINT) as refused:
            door()
        assert "\n" not in str(refused.value)
    # without a system message, the same template serves
    assert len(fbn.few_shot_chats(rows, seed=0, n_shots=0, instruction="first", tokenizer=tokenizer)) == 2


def test_white_space_that_a_template_takes_off_a_system_message_is_no_loss():
    tokenizer = character_tokenizer(CHATML.replace("m['content'] +", "m['content'] | trim +"))
    assert "Sort  the letters." in render(
        tokenizer, as_chat([{**INSTRUCTED[0], "content": " Sort  the letters.\n"}, *TURN])
    )
