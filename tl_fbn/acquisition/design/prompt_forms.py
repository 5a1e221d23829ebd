"""What a prompt is: a text, a chat or token ids. One check, for every door through which prompts come in.

A door is a design, a battery, the items of a gradient score, prompts that means are measured on. All take the same
three forms, and nothing is turned into one of them by force: ``str(None)`` is a text, ``int(3.7)`` is a token id, and
a model reads both without a word.

======= ==============================================================================================================
text    a string, as it is
chat    messages, each with a role and a content; of a content in parts, the parts of text are joined
ids     whole numbers, as a list, tuple, array or tensor of one axis
======= ==============================================================================================================

Refused are whatever else might pass for one: a tokenizer's whole output, a dict, bytes, a set, floats, masks of
booleans, parts of a message that are no text, messages that call tools (what a template writes of them would be lost).
A lone surrogate in a text is refused too: it has no bytes, so no tokenizer can read it.

What it does not do: say whether token ids are in a model's vocabulary, or how long a prompt may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from tl_fbn.errors import InputError
from tl_fbn.kinds import shown_with_type

Chat = tuple[tuple[str, str], ...]  # (role, content) of every message
Prompt = str | tuple[int, ...] | Chat
ALLOWED = "a prompt is a string, a list of token ids or a chat"
_ALLOWED_MESSAGE = "every message needs a role and a content, both text"
# what templates read of a message beside role and content; a chat here has no place for it
_READ_BY_TEMPLATES = ("tool_calls", "tool_call_id", "reasoning_content", "reasoning", "thinking")


def checked_prompt(given: Any, where: str) -> Prompt:
    """A prompt in the form in which this package keeps it: a string, a tuple of token ids, or a chat as pairs.

    Args:
        given: What was given as a prompt.
        where: What the prompt is called in messages, such as ``"prompt 3 of condition 'sort'"``.

    Raises:
        InputError: It is none of the three forms, or empty.
    """
    if isinstance(given, str):
        return checked_text(given, where)
    if isinstance(given, Sequence) and len(given) and isinstance(given[0], (Mapping, tuple)):
        return checked_chat(given, where)
    return checked_ids(given, where)


def checked_text(given: Any, where: str) -> str:
    """A text that is not empty, and that a tokenizer can read.

    Args:
        given: What was given as a text.
        where: What the text is called in messages.

    Raises:
        InputError: It is no text, empty, or holds a lone surrogate.
    """
    if not isinstance(given, str):
        raise InputError(f"{where} is {shown_with_type(given)}, no text")
    if not given:
        raise InputError(f"{where} is {given!r}, which is empty; every prompt needs at least one token")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds a lone surrogate ({given[error.start]!a} at character {error.start}), which is no text; "
            "read the file as UTF-8, or take it out"
        ) from error
    return str(given)  # of numpy's own strings, plain ones


def checked_ids(given: Any, where: str) -> tuple[int, ...]:
    """Token ids as a tuple of numbers.

    Args:
        given: What was given as token ids: a list, tuple, array or tensor of whole numbers.
        where: What they are called in messages.

    Raises:
        InputError: It is no sequence of whole numbers, or an empty one.
    """
    if isinstance(given, Mapping):
        remedy = 'of a tokenizer\'s output, give ["input_ids"]' if "input_ids" in given else ALLOWED
        raise InputError(f"{where} is {shown_with_type(given)}; {remedy}")
    values = given.tolist() if hasattr(given, "tolist") else given  # of arrays and tensors, also those of one number
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray, memoryview)):
        raise InputError(f"{where} is {shown_with_type(given)}; {ALLOWED}")
    if not len(values):
        raise InputError(f"{where} is {values!r}, which is empty; every prompt needs at least one token")
    for at, value in enumerate(values):
        # True is an int in Python, and a mask is no list of ids
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            remedy = "give one list a prompt" if isinstance(value, Sequence) and not isinstance(value, str) else ALLOWED
            raise InputError(
                f"{where} has {shown_with_type(value)} at place {at}, where a token id (a whole number) stands; "
                f"{remedy}"
            )
        if value < 0:
            raise InputError(f"{where} has {value} at place {at}; token ids are whole numbers from 0")
    return tuple(map(int, values))


def checked_chat(given: Any, where: str) -> Chat:
    """Messages as (role, content) pairs, which a design can keep as one value.

    Args:
        given: What was given as a chat: messages, each a mapping with ``role`` and ``content`` or a pair of the two. A
            content may be a list of parts, ``{"type": "text", "text": ...}`` or strings, which are joined.
        where: What the chat is called in messages.

    Raises:
        InputError: It is no list of messages, or a message has no role, a content that is no text, or calls tools.
    """
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or not len(given):
        raise InputError(
            f"{where} is {shown_with_type(given)}, no chat; a chat is a list of messages, and {_ALLOWED_MESSAGE}"
        )
    return tuple(_checked_message(message, f"message {number} of {where}") for number, message in enumerate(given))


def _checked_message(message: Any, where: str) -> tuple[str, str]:
    """Role and content of one message."""
    if isinstance(message, Mapping):
        if lost := [name for name in _READ_BY_TEMPLATES if message.get(name)]:
            raise InputError(
                f"{where} has {', '.join(lost)}, which would not be shown; {_ALLOWED_MESSAGE}. Render the chat "
                "yourself, and give the text or its token ids"
            )
        if not {"role", "content"} <= set(message):
            raise InputError(f"{where} is {shown_with_type(dict(message))}; {_ALLOWED_MESSAGE}")
        role, content = message["role"], message["content"]
    elif isinstance(message, (tuple, list)) and len(message) == 2:
        role, content = message
    else:
        raise InputError(f"{where} is {shown_with_type(message)}; {_ALLOWED_MESSAGE}")
    if not isinstance(role, str) or not role:
        raise InputError(f"{where} has the role {shown_with_type(role)}; {_ALLOWED_MESSAGE}")
    return role, _joined_parts(content, where)


def _joined_parts(content: Any, where: str) -> str:
    """The content of a message as one text; an empty one is a text too."""
    parts = content if isinstance(content, (list, tuple)) else [content]
    texts = []
    for part in parts:
        if isinstance(part, Mapping) and part.get("type") == "text":
            part = part.get("text")
        if not isinstance(part, str):
            what = "the content" if parts is not content else "a part of its content,"
            raise InputError(
                f"{where} has {what} {shown_with_type(part)}; {_ALLOWED_MESSAGE}, or a list of parts of text"
            )
        texts.append(checked_text(part, f"the content of {where}") if part else "")
    return "".join(texts)


def checked_prompts(given: Any, where: str) -> list[Any]:
    """Several prompts as a list, in an order that is the same in every process; each is still to be checked.

    Args:
        given: What was given as a list of prompts.
        where: What it is called in messages, such as ``"condition 'sort'"``.

    Raises:
        InputError: It is one string, a mapping, a set, or nothing that holds prompts.
    """
    if isinstance(given, (str, bytes)):
        raise InputError(f"{where} is one string; give a list of prompts")
    if isinstance(given, (set, frozenset)):
        raise InputError(
            f"{where} is a set, whose order differs between processes, so that no seed decides what is shown; give a "
            "list of prompts, such as sorted(...)"
        )
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{where} is {shown_with_type(given)}; give a list of prompts")
    return list(given)


def is_chat(prompt: object) -> TypeGuard[Chat]:
    """Whether a prompt of a design is a chat, a tuple of (role, content) pairs; token ids are a tuple of numbers."""
    return isinstance(prompt, tuple) and bool(prompt) and isinstance(prompt[0], tuple)
