"""Models in one ``.gguf`` file, the format of llama.cpp: unpacked once into a checkpoint folder that hosts read.

Weights in such a file are packed, most often in blocks of four or eight bits. A model whose weights stay packed has no
matrix to read, to cut or to take a gradient of, so they are unpacked: transformers reads the file, and the folder that
it writes lies in the cache of huggingface_hub under the digest of the file. Unpacking takes some twenty seconds for
135 million parameters, and loading the folder afterwards two.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import xxhash
from filelock import FileLock

from tl_fbn.errors import InputError

MAGIC = b"GGUF"  # the first four bytes of every such file
_ABOUT = "tl_fbn_gguf.json"  # in the folder, beside the checkpoint: what only the .gguf file says
_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # llama.cpp's names of types that are not packed
_READ_AT_ONCE = 1 << 22  # bytes of a file that are hashed at a time


def unpacked(path: Path) -> Path:
    """The checkpoint folder of a ``.gguf`` file, made once and kept in the cache.

    Args:
        path: The file. Its content names the folder, so that a file that was moved is not unpacked again.

    Returns:
        A folder with config, tokenizer and weights of 32 bits, which hold exactly what the file says.

    Raises:
        InputError: The package gguf is not installed, the file is no GGUF or cut short, or transformers does not know
            its architecture.
    """
    from huggingface_hub import cached_assets_path

    with path.open("rb") as opened:
        if opened.read(4) != MAGIC:
            raise InputError(
                f"{path} does not begin with the letters GGUF, so it is no GGUF file or not wholly downloaded; give a "
                ".gguf file, a checkpoint folder or a model's name"
            )
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f'{path} is read with the package gguf, which is not here: pip install "tl-fbn[gguf]"')
    home = cached_assets_path("tl_fbn", "gguf", "unpacked")
    folder = home / _digest(path)
    # another process may be at it, too: the second one waits and finds the folder
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            half = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=home))
            try:
                _unpack(path, half)
                half.replace(folder)
            finally:
                shutil.rmtree(half, ignore_errors=True)
        elif _stored_type(folder) is None:
            _note_stored_type(path, folder)
    return folder


def stored_dtype(folder: Path) -> str:
    """The number type that is nearest to what the file of an unpacked folder stores.

    Args:
        folder: What :func:`unpacked` returned.

    Returns:
        ``"float32"`` or ``"float16"`` where most numbers of the file are stored as such, else ``"bfloat16"``: packed
        weights have no type of their own, and four or eight bits lose nothing that counts in its eight.
    """
    return _PLAIN.get(_stored_type(folder) or "", "bfloat16")


def packed_type(folder: Path) -> str | None:
    """What most weights of the file of an unpacked folder are packed in, by llama.cpp's name, such as ``"Q4_1"``.

    Args:
        folder: What :func:`unpacked` returned.

    Returns:
        The name; None where most numbers are stored as such.
    """
    stored = _stored_type(folder)
    return None if stored in _PLAIN else stored


def _stored_type(folder: Path) -> str | None:
    """What most numbers are stored in, as is noted beside a checkpoint; None where an earlier version noted less."""
    return json.loads((folder / _ABOUT).read_text()).get("stored")


def _most_stored_type(path: Path) -> str:
    """What most numbers of a file are stored in, by llama.cpp's name; the file takes seconds to read."""
    from gguf import GGMLQuantizationType, GGUFReader

    numbers: dict[int, int] = {}
    for tensor in GGUFReader(path).tensors:
        numbers[tensor.tensor_type] = numbers.get(tensor.tensor_type, 0) + int(tensor.n_elements)
    return GGMLQuantizationType(max(numbers, key=numbers.__getitem__)).name


def _note_stored_type(path: Path, folder: Path) -> None:
    """Write beside a checkpoint what most numbers of the file that it was made of are stored in."""
    stored = _most_stored_type(path)
    # "dtype" is what earlier versions read
    (folder / _ABOUT).write_text(json.dumps({"dtype": _PLAIN.get(stored, "bfloat16"), "stored": stored}))


def _digest(path: Path) -> str:
    """Sixteen bytes of hash of a file's content, as 32 letters."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as opened:
        while piece := opened.read(_READ_AT_ONCE):
            digest.update(piece)
    return digest.hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    """Write config, tokenizer and unpacked weights of a file into a folder."""
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": path.name, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):  # transformers that can leave weights packed unpack them on request only
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(os.fspath(path.parent), **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(os.fspath(path.parent), gguf_file=path.name)
        _note_stored_type(path, folder)
    # gguf and transformers raise whatever a broken file makes them stumble over
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"{path} cannot be read as a model ({type(error).__name__}: {first_line}); the file may be cut short or "
            "its architecture unknown to transformers: download it again, or give a checkpoint folder"
        ) from error
    # the weights are plain now, and a config that calls them packed would be believed when the folder is loaded
    config: Any = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
