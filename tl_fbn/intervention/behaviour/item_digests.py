"""Which texts a battery's items are made of, as digests: what a network must not have been found on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tl_fbn.acquisition.design.block_design import prompt_digest
from tl_fbn.acquisition.model.contexts import beginning, digests_of, encode
from tl_fbn.errors import InputTypeError
from tl_fbn.intervention.behaviour.tasks import BatteryItem, Task
from tl_fbn.kinds import shown


def task_digests(tasks: Mapping[str, Task], tokenizer: Any) -> dict[str, set[str]]:
    """Digests of every task's items, by the name of the task.

    Args:
        tasks: The tasks.
        tokenizer: The model's tokenizer; None where there is none.

    Raises:
        InputTypeError: The tokenizer is none.
    """
    if tokenizer is not None and not hasattr(tokenizer, "bos_token_id"):
        raise InputTypeError(f"tokenizer must be the model's own, or None; got {shown(tokenizer)}")
    return {
        name: {digest for item in task.items for digest in item_digests(item, tokenizer)}
        for name, task in tasks.items()
    }


def item_digests(item: BatteryItem, tokenizer: Any) -> set[str]:
    """Digests of an item's texts, its prompt, and the prompt with each alternative, as they are scored.

    They say whether a network was found on the item: as text, and as the token ids that a recording keeps. A
    beginning-of-text token is in no digest, so that it does not matter whether one was put in front.

    Args:
        item: The item.
        tokenizer: The model's tokenizer; None where there is none, and strings are then known as text only.
    """
    found = {prompt_digest(text) for text in item.texts}
    wholes = [item.whole(alternative) for alternative in item.alternatives]
    for text in ([item.prompt] if item.prompt else []) + wholes:
        found.add(prompt_digest(text))
        if tokenizer is not None or not isinstance(text, str):
            found.update(digests_of(text, encode(tokenizer, text, prepend_bos=False), beginning(tokenizer)))
    return found
