"""What a model is called in tables, pages and file names: the last part of its name or path that says something.

TransformerLens keeps what a model was loaded by: a name of the Hub (``owner/model``), or the path of a folder, which
differs between machines and often ends in a word such as ``hf`` or ``final``, so that all models would have one name.
Such a word is kept behind the folder above it, and of a folder of the Hub's cache the name of the model is taken.
"""

from __future__ import annotations

import os
import re

# names of folders that say nothing about the model in them
WORDLESS = (
    *("hf", "model", "models", "checkpoint", "checkpoints", "final", "best", "latest", "last", "output", "outputs"),
    *("out", "merged", "weights", "saved", "saved_model", "export", "exported", "safetensors", "gguf", "pytorch"),
)
_WORDLESS = re.compile(rf"({'|'.join(WORDLESS)}|checkpoint-.+|step[-_]?\d+|epoch[-_]?\d+)", re.IGNORECASE)
_OF_CACHE = re.compile(r"models--(?:.+--)?([^-].*?)")  # models--owner--name, in the cache of huggingface_hub


def name_of_source(source: str) -> str:
    """What a model is called that was loaded from a name, a folder or a ``.gguf`` file.

    >>> name_of_source("HuggingFaceTB/SmolLM2-135M"), name_of_source("/data/llama-2/hf/"), name_of_source("a/b.gguf")
    ('SmolLM2-135M', 'llama-2-hf', 'b')

    Args:
        source: Name of the Hub or path; it need not exist.
    """
    if source in (".", "..") or source.startswith(("./", "../")):
        source = os.path.abspath(source)  # noqa: PTH100  (follows no links)
    parts = [part for part in re.split(r"[/\\]", source) if part not in ("", ".")]
    if not parts:
        return source
    for place, part in enumerate(parts[:-1]):
        known = _OF_CACHE.fullmatch(part)
        if known and parts[place + 1] == "snapshots" and len(parts) == place + 3:
            return known[1]
    parts[-1] = re.sub(r"\.gguf$", "", parts[-1], flags=re.IGNORECASE) or parts[-1]
    first = len(parts) - 1
    while first > 0 and _WORDLESS.fullmatch(parts[first]):
        first -= 1
    # a drive, "..", or nothing but such words says no more than the last of them
    return "-".join(parts[first:] if re.search(r"\w", parts[first]) and not parts[first].endswith(":") else parts[-1:])
