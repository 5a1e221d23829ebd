"""Lesions on other processes: the same results, from models of their own, and hooks nowhere but there."""

from __future__ import annotations

import os

import joblib
import numpy as np
import pytest
import torch
from joblib.parallel import parallel_config

import tl_fbn as fbn
from tl_fbn.intervention.studies.workers import in_order


def where_and_what(bundle: tuple[torch.nn.Module, float], number: int) -> tuple[int, float]:
    model, factor = bundle
    return os.getpid(), factor * number + sum(int(p.numel()) for p in model.parameters())


def test_without_a_backend_everything_runs_here() -> None:
    bundle = (torch.nn.Linear(2, 3), 10.0)
    expected = [(os.getpid(), 9.0), (os.getpid(), 19.0), (os.getpid(), 29.0)]
    assert list(in_order(where_and_what, bundle, range(3))) == expected


@pytest.mark.parametrize("options", [{"backend": "threading", "n_jobs": 2}, {"n_jobs": 1}])
def test_threads_and_single_jobs_stay_on_the_given_model(options: dict) -> None:
    bundle = (torch.nn.Linear(2, 3), 10.0)
    with parallel_config(**options):
        assert {pid for pid, _ in in_order(where_and_what, bundle, range(4))} == {os.getpid()}


def test_results_come_as_they_are_made() -> None:
    made = in_order(where_and_what, (torch.nn.Linear(2, 3), 1.0), range(10**9))
    assert next(made)[1] == 9.0


@pytest.mark.slow
def test_a_study_on_other_processes_is_the_same_study(demo_model) -> None:
    battery = fbn.demo.battery(n=6).select(["sort", "add"])
    space = fbn.Scanner(demo_model).space
    networks = {
        name: fbn.Network.from_indices(space, range(start, 1152, 40)) for name, start in (("sort", 0), ("x", 7))
    }
    battery.score(demo_model)  # transformers puts hooks of its own on a model that has run

    def study(**options) -> fbn.studies.LesionStudy:
        return fbn.lesion_study(demo_model, networks, battery, n_controls=3, seed=0, progress=False, **options)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as loky's workers have it: another number rounds otherwise
    try:
        here = study(controls=("random", "rotated"))
        with parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
            there = study(controls=("random", "rotated"))
    finally:
        torch.set_num_threads(threads)
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    assert np.array_equal(here.lesioned_items, there.lesioned_items)
    for kind in ("random", "rotated"):
        assert np.array_equal(here.control_scores[kind], there.control_scores[kind])
    assert here.summary().equals(there.summary())
