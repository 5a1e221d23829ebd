"""Fixtures of tests in several folders: models, a recording of noise, the package as users run it.

And in how many processes tests run. Where pytest-xdist is installed, a run of all tests (no path, no ``-n``) takes two,
if there are two processors. Each then has one thread: what tests compute is small, and threads of two processes on two
processors wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks

# read by the libraries of numpy, scipy and torch when they are first imported
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    alone = option.usepdb or option.collectonly or option.keyword
    # pytest-cov has already begun to count in this process alone, where -n is not in the command
    if everything and not alone and option.numprocesses is None and not config.pluginmanager.hasplugin("_cov"):
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 if n_processors > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """What workers inherit: they have imported nothing yet."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


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
