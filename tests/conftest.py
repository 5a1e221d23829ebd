"""Fixtures of tests in several folders: models, a recording of noise, the package as users run it; and hooks that say in
how many processes tests run.
"""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.processes import pytest_cmdline_main as pytest_cmdline_main
from tests.helpers.processes import pytest_xdist_auto_num_workers as pytest_xdist_auto_num_workers
from tests.helpers.processes import pytest_xdist_setupnodes as pytest_xdist_setupnodes
from tests.helpers.recordings import blocks


@pytest.fixture(scope="session")
def demo_model():
    """The embedded model; never leave hooks on it."""
    return fbn.demo.load_model()


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def noise_recording() -> fbn.Recording:
    """Two runs of white noise: 2 layers of 5 and 7 units, 8 blocks of 10 rows of conditions a and b."""
    rng = np.random.default_rng(0)
    runs = [[rng.normal(size=(80, width)) for width in (5, 7)] for _ in range(2)]
    return fbn.Recording.from_arrays(runs, events=[blocks(["a", "b"] * 4, 10)] * 2)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package without the tests' type checker: as users call it, and as fast."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
