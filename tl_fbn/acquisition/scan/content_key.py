"""The key of a recording: what decides whether two recordings are the same.

The key is the SHA-256 of a dictionary of fields that describe the content: weights, the fingerprint of a pass
(:mod:`tl_fbn.acquisition.model.fingerprint`), what the tokenizer says of the tokens, token ids, blocks, site, dtype,
how tokens are generated, and the interventions of this package in force. Never a path, a time, a batch size or the
name of a machine. Large contents are fields as digests of their own, so that the dictionary is short, and is kept
beside the key in ``recording.json``. A folder that holds something else is refused with the fields that differ, and
not only with a key that differs.

Whether a model computes what it did when a folder was begun is told by numbers within a tolerance, which are kept
beside the key (``probe``): other devices and batches round differently. Where they agree, the folder's own key stands.

Cost: the weights are hashed at every call, at about the speed of memory, and a text of 16 tokens is read; for a large
model all else is small beside it.

What it does not do: tell what a user's own hooks do to the model; ``hooks_id`` stands for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tl_fbn.acquisition.design.block_design import BlockDesign
from tl_fbn.acquisition.model import host
from tl_fbn.acquisition.model.contexts import Context
from tl_fbn.acquisition.model.direct_logits import described_norms
from tl_fbn.acquisition.model.fingerprint import Fingerprint, apart
from tl_fbn.acquisition.model.host import HookedModel, tokenizer_of
from tl_fbn.acquisition.model.model_state import ModelState
from tl_fbn.acquisition.recording import store
from tl_fbn.errors import InputError
from tl_fbn.units import UnitSpace
from tl_fbn.units.outgoing_norms import OUTGOING_NORMS

LIBRARIES = ("torch", "transformers", "transformer-lens", "numpy")  # whose versions stand beside a key


def content_fields(
    state: ModelState, design: BlockDesign, runs: Sequence[Sequence[Context]], what: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of the key of a recording, or of a stream, which has the key that a recording of it would have.

    Args:
        state: The model as it is now, with the interventions in force.
        design: The block design that is shown.
        runs: For every run its contexts, as the model reads them.
        what: Fields that say what is recorded of the contexts: site, widths, dtype and the like.

    Returns:
        Field names to values that JSON can hold.
    """
    # condition and block of every prompt count too: the same tokens in other blocks are another recording
    model = state.model
    shown = [[[c.condition, c.block, list(c.ids)] for c in run] for run in runs]
    return {
        "weights": state.weights,
        "computes": state.fingerprint.fields,
        "compatibility_mode": bool(getattr(model, "compatibility_mode", False)),
        "tokenizer": _words_digest(model, None if design.generate else {i for run in runs for c in run for i in c.ids}),
        "tokens": digest(shown),
        "blocks": digest([design.tokens_per_block, list(map(list, design.schedule))]),
        "generation": _generation_fields(model, design),
        "interventions": state.edits,
        **what,
    }


def description(
    state: ModelState,
    design: BlockDesign,
    runs: Sequence[Sequence[Context]],
    fields: Mapping[str, Any],
    spaces: Sequence[UnitSpace],
) -> dict[str, Any]:
    """What ``recording.json`` says: the key with its fields, and what people want to read of it.

    Args:
        state: The model when the fields were made.
        design: The block design that is shown.
        runs: For every run its contexts, as the model reads them.
        fields: The fields of the key (:func:`content_fields`).
        spaces: The units of every site that is recorded.
    """
    pool = fields["pool"]
    return {
        "key": digest(fields),
        "fields": dict(fields),
        "spaces": [{"site": space.site, "widths": list(space.widths)} for space in spaces],
        "model": spaces[0].model,
        "model_dtype": host.number_type(state.model),
        "n_runs": len(runs),
        "prompts": sorted({one for run in runs for context in run for one in context.digests}),
        "design": {
            "order": design.order,
            "seed": design.seed,
            "tokens_per_block": design.tokens_per_block,
            "unit": "row = one token" if pool is None else f"row = one prompt ({pool})",
        },
        **described_norms(state.model, spaces),
        **beside_a_key(state),
    }


def beside_a_key(state: ModelState) -> dict[str, Any]:
    """What is kept beside a key, and is no part of it, to compare the model with itself later.

    Args:
        state: The model when the key was made.
    """
    return {"versions": versions(), "probe": dict(state.fingerprint.numbers)}


def add_norms(path: Path, model: HookedModel, spaces: Sequence[UnitSpace]) -> None:
    """Note the norms of outgoing weights in a recording that an earlier version began, if nothing else differs.

    Args:
        path: Folder of a recording with the key of what is asked for.
        model: The model, which is that of the key.
        spaces: The units of every site that is recorded.
    """
    about = store.read_about(path)
    if OUTGOING_NORMS in about or not (entry := described_norms(model, spaces)):
        return
    # in a folder that cannot be written to, the recording is as good as it was
    with contextlib.suppress(PermissionError):
        store.write_about(path, {**about, **entry})


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


def _words_digest(model: HookedModel, shown: set[int] | None) -> str | None:
    """Digest of what the row table says of token ids: their words, and which are special.

    Args:
        model: The model, with its tokenizer.
        shown: The ids that are shown; None for all that the model may write.

    Returns:
        The digest; None without a tokenizer.
    """
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        return None
    size = host.vocabulary_size(model) or math.inf
    # a token that the model cannot write, and one that is not shown, is in no row
    ids = sorted(shown if shown is not None else {i for i in tokenizer.get_vocab().values() if i < size})
    special = sorted({*map(int, tokenizer.all_special_ids)}.intersection(ids))
    bos = tokenizer.bos_token_id
    return digest([ids, tokenizer.convert_ids_to_tokens(ids), special, bos if bos in ids else None])


def digest(content: Any) -> str:
    """SHA-256, in hexadecimal, of some content.

    Args:
        content: Anything that JSON can hold; the order of the keys of its dictionaries does not matter.
    """
    # sorted keys and no spaces: one text for one content
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def refuse_other(
    path: Path, about: Mapping[str, Any], fields: Mapping[str, Any], fingerprint: Fingerprint | None = None
) -> str:
    """Raise an error unless what a folder holds is what is asked for.

    Args:
        path: The folder.
        about: Description of what the folder holds, with its ``key``, the ``fields`` of that key, and the numbers of
            the probe text (``probe``) and ``versions`` of libraries where they are known.
        fields: Fields of what is asked for.
        fingerprint: The model's fingerprint now; None where no model is part of the fields.

    Returns:
        The folder's own key.

    Raises:
        InputError: It is another; the message names the fields that differ.
    """
    stored, fields = about["fields"], json.loads(json.dumps(fields))  # both as a file has them: tuples are lists there
    # a field that only one of them has differs too: another version of the package may have other fields
    names = [name for name in sorted({*fields, *stored}) if stored.get(name) != fields.get(name)]
    there, here = stored.get("computes"), fields.get("computes")
    differing = [f"{one}: {_shortened(stored.get(one))} there, {_shortened(fields.get(one))} here" for one in names]
    if fingerprint is not None and there and here:
        # compared one by one, and as numbers: rounded, they may differ where the model is the same
        differing = [said for name, said in zip(names, differing, strict=True) if name != "computes"]
        differing += _differing_settings(about, there, here) + _differing_numbers(about, fingerprint)
    elif "computes" in names and not there:
        differing = [said for name, said in zip(names, differing, strict=True) if name != "computes"]
        differing.append(
            "what the model computes: not known there, as an earlier version did not keep it; what is there still opens"
        )
    if differing:
        raise InputError(
            f"{path} holds a different recording ({'; '.join(differing)}); give another folder, or delete that one"
        )
    return str(about["key"])


def _differing_settings(about: Mapping[str, Any], there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Settings of the model that are others now, in words."""
    then, now = there["settings"], here["settings"]
    # another version of a library may name more settings, or fewer: then those that both name decide
    same_versions = about.get("versions") == versions()
    names = {*then, *now} if same_versions else {*then} & {*now} - {"module.class"}
    found = [name for name in sorted(names) if then.get(name) != now.get(name)]
    said = [f"{name}: {_shortened(then.get(name))} there, {_shortened(now.get(name))} here" for name in found]
    if there["types"] != here["types"]:
        said.append(f"types of activations: {' '.join(there['types'])} there, {' '.join(here['types'])} here")
    return said


def _differing_numbers(about: Mapping[str, Any], fingerprint: Fingerprint) -> list[str]:
    """What the model says otherwise of the probe text, in words."""
    distances = apart(about["probe"], fingerprint.numbers) if "probe" in about else {}
    worst = max(distances, key=lambda name: distances[name], default="")
    if not worst or distances[worst] <= fingerprint.tolerance:
        return []
    return [
        f"what the model computes: a short text gives other activations, by {distances[worst]:.2g} of their scale at "
        f"{worst} (rounding: {fingerprint.tolerance:.1g})"
    ]


def versions() -> dict[str, str]:
    """Versions of the libraries that compute, which stand beside a key."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _shortened(value: Any) -> str:
    """A value for a message, of which a digest needs its first characters only."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
