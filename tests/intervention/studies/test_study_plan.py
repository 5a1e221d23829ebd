"""The numbers of a plan: counted, scaled from one timed run, and compared between threads and processes."""

from __future__ import annotations

import itertools

import pytest
import torch

from tl_fbn.intervention.studies import study_plan
from tl_fbn.intervention.studies.study_plan import StudyPlan, cost_of


def test_time_of_smaller_batteries_follows_from_their_tokens(demo_model, few_items, monkeypatch) -> None:
    clock = itertools.count(0.0)  # every evaluation takes a second
    monkeypatch.setattr(study_plan.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(study_plan, "_processes", lambda model: 1)
    half = few_items.select(["sort"])
    share = sum(half.sizes(demo_model)) / sum(few_items.sizes(demo_model))
    cost = cost_of(demo_model, [(half, 10), (few_items, 3)], 8192)
    assert cost["runs"] == 13 and cost["items"] == 16 and cost["seconds"] == pytest.approx(3 + 10 * share)
    assert cost["bytes"] == (10 * 8 + 3 * 16) * 2 * 8 and cost["seconds_in_processes"] == cost["seconds"]


def test_processes_are_advised_where_one_thread_is_nearly_as_fast(demo_model, few_items, monkeypatch) -> None:
    monkeypatch.setattr(study_plan, "_processes", lambda model: 4)
    threads = torch.get_num_threads()
    for slower, advised in ((2.0, True), (4.0, False)):
        monkeypatch.setattr(study_plan, "_one_thread", lambda *given, slower=slower: slower)
        plan = StudyPlan("study", **cost_of(demo_model, [(few_items, 5)], 8192))
        assert plan.seconds_in_processes == pytest.approx(plan.seconds * slower / 4)
        assert bool(plan.advice) is advised
    assert "n_jobs=4, inner_max_num_threads=1" in StudyPlan("s", 1, 1, 1, 1, 100.0, 1, 4, 50.0).advice
    assert torch.get_num_threads() == threads


def test_one_thread_is_measured_and_threads_are_as_before(demo_model, few_items) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert 0.1 < study_plan._one_thread(demo_model, few_items, 8192) < 10
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
