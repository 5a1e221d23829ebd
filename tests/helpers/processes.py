"""In how many processes tests run.

Where pytest-xdist is installed, a run of all tests (no path, no ``-n``) takes two, if there are two processors. Each
then has one thread: what tests compute is small, and threads of two processes on two processors wait for each other.
"""

from __future__ import annotations

import os

import pytest

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
