"""Where tests find the real chat model (:mod:`examples.real_model`) and the word tasks beside the project."""

from __future__ import annotations

import os
from pathlib import Path

from examples.real_model import WHEEL as WHEEL
from examples.real_model import real_model_path as real_model_path


def function_vectors() -> Path | None:
    """Folder of the word tasks of Todd et al. (2024), beside the project or named by ``TL_FBN_WORD_TASKS``; None where
    there is none.
    """
    beside = Path(__file__).parents[3] / "shared" / "data" / "function_vectors"
    folder = Path(os.environ.get("TL_FBN_WORD_TASKS", beside))
    return folder if folder.is_dir() else None
