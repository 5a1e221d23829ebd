"""The demo, run once for all tests of what it found."""

from __future__ import annotations

import pytest

from tl_fbn.demo import pipeline


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    """The demo with fewer items and controls than the command uses."""
    folder = tmp_path_factory.mktemp("demo")
    experiment = pipeline.formal_experiment(n_items=40)
    return experiment, pipeline.run_demo(experiment, folder, n_controls=19, progress=False)
