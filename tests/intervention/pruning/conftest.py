"""Quiet loading of models."""

from __future__ import annotations

import pytest
import transformers


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
