"""Quick runs of the three protocols on the embedded model, each made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tl_fbn as fbn
from tl_fbn.papers import PaperStudy


@pytest.fixture(scope="session")
def model() -> Any:
    """The embedded model."""
    return fbn.demo.load_model()


@pytest.fixture(scope="session")
def s0_study(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[PaperStudy, Path]:
    """The ICA protocol on three tasks, and its folder."""
    folder = tmp_path_factory.mktemp("papers") / "s0"
    tasks = fbn.demo.tasks(n=60).select(["sort", "reverse", "add"])
    return fbn.papers.s0.run(model, tasks, folder, seed=0, quick=True, progress=False), folder


@pytest.fixture(scope="session")
def s1_study(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[PaperStudy, Path]:
    """The CGVST protocol on three tasks, and its folder."""
    folder = tmp_path_factory.mktemp("papers") / "s1"
    tasks = fbn.demo.tasks(n=40, chat=True).select(["sort", "reverse", "add"])
    return fbn.papers.s1.run(model, tasks, folder, seed=0, quick=True, progress=False), folder


@pytest.fixture(scope="session")
def s2_study(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[PaperStudy, Path]:
    """The block-design protocol on four tasks, and its folder."""
    folder = tmp_path_factory.mktemp("papers") / "s2"
    return fbn.papers.s2.run(model, fbn.demo.topics(), folder, seed=0, quick=True, progress=False), folder
