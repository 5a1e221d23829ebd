"""The key of a recording: what decides whether two recordings are the same.

The key is the SHA-256 of a dictionary of fields that describe the content: weights, tokenizer, token ids, blocks,
site, dtype, how tokens are generated, and the interventions of this package in force. Never a path, a time, a batch
size or the name of a machine. Large contents are fields as digests of their own, so that the dictionary is short, and
is kept beside the key in ``recording.json``. A folder that holds something else is refused with the fields that
differ, and not only with a key that differs.

Cost: the weights are hashed at every call, at about the speed of memory; for a large model all else is small beside it.

What it does not do: tell what a user's own hooks do to the model; ``hooks_id`` stands for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.errors import InputError


def content_fields(
    model: HookedModel, design: BlockDesign, runs: Sequence[Sequence[Context]], what: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of the key of a recording, or of a stream, which has the key that a recording of it would have.

    Args:
        model: The model, with the interventions in force.
        design: The block design that is shown.
        runs: For every run its contexts, as the model reads them.
        what: Fields that say what is recorded of the contexts: site, widths, dtype and the like.

    Returns:
        Field names to values that JSON can hold.
    """
    # condition and block of every prompt count too: the same tokens in other blocks are another recording
    shown = [[[c.condition, c.block, list(c.ids)] for c in run] for run in runs]
    return {
        "weights": host.weights_digest(model),
        "compatibility_mode": bool(getattr(model, "compatibility_mode", False)),
        "tokenizer": tokenizer_digest(tokenizer_of(model)),
        "tokens": digest(shown),
        "blocks": digest([design.tokens_per_block, list(map(list, design.schedule))]),
        "generation": _generation_fields(model, design),
        "interventions": host.active_edits(model),
        **what,
    }


def _generation_fields(model: HookedModel, design: BlockDesign) -> dict[str, Any] | None:
    """What decides which tokens the model writes; None for a design that shows prompts only."""
    if not design.generate:
        return None
    return {
        "tokens_per_prompt": design.tokens_per_prompt,
        "carry_context": design.carry_context,
        "temperature": design.temperature,
        "seed": design.seed if design.temperature else None,  # greedy decoding draws no random numbers
        "never": host.end_tokens(model),
    }


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Digest of a tokenizer's vocabulary and special tokens: what turns strings into ids, and ids into the row table.

    Args:
        tokenizer: A Hugging Face tokenizer, or None.

    Returns:
        The digest; None without a tokenizer.
    """
    if tokenizer is None:
        return None
    special = sorted(map(int, tokenizer.all_special_ids))
    return digest([sorted(tokenizer.get_vocab().items()), special, tokenizer.bos_token_id])


def digest(content: Any) -> str:
    """SHA-256, in hexadecimal, of some content.

    Args:
        content: Anything that JSON can hold; the order of the keys of its dictionaries does not matter.
    """
    # sorted keys and no spaces: one text for one content
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def refuse_other(path: Path, about: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raise an error unless the recording in a folder is the one that is asked for.

    Args:
        path: Folder of the recording.
        about: Description of the recording in the folder, with its ``key`` and the ``fields`` of that key.
        fields: Fields of the recording that is asked for.

    Raises:
        InputError: It is another; the message names the fields that differ.
    """
    if about["key"] == digest(fields):
        return
    stored = about["fields"]
    # a field that only one of them has differs too: another version of the package may have other fields
    differing = [name for name in sorted({*fields, *stored}) if stored.get(name) != fields.get(name)]
    described = "; ".join(
        f"{name}: {_shortened(stored.get(name))} there, {_shortened(fields.get(name))} here" for name in differing
    )
    raise InputError(f"{path} holds a different recording ({described}); give another folder, or delete that one")


def _shortened(value: Any) -> str:
    """A value for a message, of which a digest needs its first characters only."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
