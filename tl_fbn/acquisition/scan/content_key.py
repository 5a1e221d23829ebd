"""What decides whether two recordings are the same: fields of content, and one digest over them.

Weights, tokenizer, token ids, blocks, site, dtype, how tokens are generated, and our own interventions in force. Never a
path, a time, a batch size or a host. A folder that holds something else is refused with the fields that differ.
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
    """The fields of a key.

    Args:
        model: The model, with the interventions in force.
        design: The design.
        runs: The contexts of every run of the design, as the model reads them.
        what: What is recorded of them: site, widths, dtype and the like.
    """
    shown = [[[c.condition, c.block, list(c.ids)] for c in run] for run in runs]
    return {
        "weights": host.weights_digest(model),
        "compatibility_mode": bool(getattr(model, "compatibility_mode", False)),
        "tokenizer": tokenizer_digest(tokenizer_of(model)),
        "tokens": digest(shown),
        "blocks": digest([design.tokens_per_block, list(map(list, design.schedule))]),
        "generation": _generation(model, design),
        "interventions": host.active_edits(model),
        **what,
    }


def _generation(model: HookedModel, design: BlockDesign) -> dict[str, Any] | None:
    if not design.generate:
        return None
    return {
        "tokens_per_prompt": design.tokens_per_prompt,
        "carry_context": design.carry_context,
        "temperature": design.temperature,
        "seed": design.seed if design.temperature else None,
        "never": host.end_tokens(model),
    }


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Vocabulary and special tokens: what turns ids into the words of the row table, and strings into ids."""
    if tokenizer is None:
        return None
    special = sorted(map(int, tokenizer.all_special_ids))
    return digest([sorted(tokenizer.get_vocab().items()), special, tokenizer.bos_token_id])


def digest(content: Any) -> str:
    """SHA-256 of JSON-serialisable content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def refuse_other(path: Path, about: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raise InputError, naming the fields that differ, unless the recording at ``path`` is the one of these fields."""
    if about["key"] == digest(fields):
        return
    theirs = about["fields"]
    differing = [name for name in sorted({*fields, *theirs}) if theirs.get(name) != fields.get(name)]
    described = "; ".join(
        f"{name}: {_short(theirs.get(name))} there, {_short(fields.get(name))} here" for name in differing
    )
    raise InputError(f"{path} holds a different recording ({described}); give another folder, or delete that one")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
