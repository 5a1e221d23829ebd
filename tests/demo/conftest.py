"""The demo, run once for all tests of what it found."""

from __future__ import annotations

import pytest

from tl_fbn import demo
from tl_fbn.demo import pipeline, task_study


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    """The demo with fewer items and controls than the command uses."""
    folder = tmp_path_factory.mktemp("demo")
    experiment = pipeline.formal_experiment(n_items=40)
    return experiment, pipeline.run_demo(experiment, folder, n_controls=19, progress=False)


@pytest.fixture(scope="session")
def task_result(tmp_path_factory, demo_model):
    """A study of four formal tasks with few items and controls."""
    tasks = demo.tasks(n=60).select(["copy", "sort", "upper", "count"])
    subject = task_study.subject_of_tasks(tasks, demo_model, n_items=12, n_discovery=30)
    folder = tmp_path_factory.mktemp("tasks")
    lines: list[str] = []
    settings = {"share": 0.05, "n_controls": 4, "progress": False, "say": lines.append}
    return task_study.run_study(subject, demo_model, folder, **settings), lines
