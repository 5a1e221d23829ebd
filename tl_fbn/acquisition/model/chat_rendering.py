"""A chat as text: the tokenizer's own chat template, called in one place.

A template is a small program (Jinja) that comes with a tokenizer. It may read variables beside the messages: whether
the model shall think aloud, a date, a list of tools. They are given by name, and a name that the template never reads
is an error, for the template itself would pass over it in silence. A template that refuses a chat (two messages of a
user's on end, a role that it does not know) is an error that says what it refused, and so is one that leaves a system
message out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

from tl_fbn.acquisition.design.prompt_forms import Chat
from tl_fbn.errors import InputError
from tl_fbn.kinds import shown
from tl_fbn.units.prose import listed

TemplateVariables = Mapping[str, Any] | None
# what this package says itself, and why it is no variable
_OWN_ARGUMENTS = {
    **dict.fromkeys(("conversation", "messages"), "the messages are the chat's"),
    **dict.fromkeys(("add_generation_prompt", "continue_final_message"), "an answer is opened where one is written"),
    **dict.fromkeys(("bos_token", "eos_token"), "bos_eos= keeps them or leaves them out"),
    **dict.fromkeys(("truncation", "max_length"), "max_tokens= leaves long chats out"),
    **dict.fromkeys(("tokenize", "return_tensors", "return_dict", "padding"), "token ids are made by this package"),
}
_OF_THE_TOKENIZER = ("chat_template", "tools", "documents")  # arguments of apply_chat_template, no variables


def render(
    tokenizer: Any, chat: Chat, *, reply: bool = False, bos_eos: bool = True, variables: TemplateVariables = None
) -> str:
    """A chat as text, as the tokenizer's chat template writes it.

    Args:
        tokenizer: A Hugging Face tokenizer.
        chat: Messages as (role, content) pairs.
        reply: True opens the assistant's turn at the end of a chat whose last message is another's.
        bos_eos: True keeps the beginning and end of text that the template writes; False makes both empty.
        variables: Variables of the template by name, such as ``{"enable_thinking": False}``; None gives none.

    Raises:
        InputError: The tokenizer has no chat template, the template refuses the chat or leaves its system message out,
            or a variable is one that it never reads.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "the tokenizer has no chat template, so chats cannot be shown; set tokenizer.chat_template, or give strings"
        )
    given = dict(variables or {})
    _require_variables(tokenizer, given)
    messages = [{"role": role, "content": content} for role, content in chat]
    # an answer that is already there is not opened again
    opens = reply and chat[-1][0] != "assistant"
    bare = {} if bos_eos else {"bos_token": "", "eos_token": ""}  # the template's variables, not the tokenizer's
    remedy = "give messages that it takes, another tokenizer.chat_template, or texts"
    if any(role == "system" for role, _ in chat):
        remedy = (
            "put what the system message says into the first message of the user's (few_shot_chats does so with "
            f'instruction="first"), or {remedy}'
        )
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opens, **bare, **given)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        roles = ", ".join(role for role, _ in chat)
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the tokenizer's chat template refuses a chat of {roles} ({why}); {remedy}") from error
    for role, content in chat:
        if role == "system" and _without_spaces(content) not in _without_spaces(text):
            raise InputError(
                f"the tokenizer's chat template leaves the system message {shown(content)} out, without a word; "
                f"{remedy}"
            )
    return text


def _without_spaces(text: str) -> str:
    """A text without white space, which templates take off and put in."""
    return "".join(text.split())


def _require_variables(tokenizer: Any, given: Mapping[str, Any]) -> None:
    """Raise an error for variables that this package sets itself, and for those that the template never reads."""
    for name in given:
        if name in _OWN_ARGUMENTS:
            raise InputError(f"chat_template_kwargs= has {name!r}, no variable of a template: {_OWN_ARGUMENTS[name]}")
    source = tokenizer.chat_template
    if not isinstance(source, str) or "chat_template" in given:
        return  # several templates, or one of the caller's: which is used is the tokenizer's to say
    unread = [name for name in given if name not in _OF_THE_TOKENIZER and not re.search(rf"\b{name}\b", source)]
    if unread:
        raise InputError(
            f"chat_template_kwargs= has {listed(unread)}, which the tokenizer's chat template never reads; look for "
            "the names of its variables in tokenizer.chat_template"
        )
