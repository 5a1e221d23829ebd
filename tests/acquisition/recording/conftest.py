"""A folder with one committed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.stores import write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path)
