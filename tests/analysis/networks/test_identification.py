"""Telling tasks apart: planted tasks are told, noise is at chance, prompts on both sides are refused."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.tasks import recordings
from tl_fbn.analysis.networks.identification import run_maps

METHODS = ["correlation", "dice", "activation"]


@pytest.mark.parametrize("method", METHODS)
def test_planted_tasks_are_told(method):
    result = fbn.identify_task(recordings(1.6, tokens=True), seed=0, method=method, top=0.125)
    assert result.accuracy >= 0.9
    assert result.p < 0.01
    assert result.chance == 0.25
    assert result.confusion.to_numpy().sum() == 16
    low, high = result.interval
    assert low < result.accuracy <= high


@pytest.mark.parametrize("method", [METHODS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in METHODS[1:])])
def test_noise_is_at_chance(method):
    results = [
        fbn.identify_task(recordings(0.0, seed=seed), seed=seed, method=method, n_permutations=99) for seed in range(6)
    ]
    assert 0.15 <= np.mean([result.accuracy for result in results]) <= 0.35
    assert np.mean([result.p <= 0.05 for result in results]) <= 0.25


@pytest.mark.parametrize("method", METHODS)
def test_networks_from_elsewhere_tell_every_run(method):
    learnt = {
        task: fbn.fit_glm(recording).contrast(f"{task} - rest").t for task, recording in recordings(1.0, seed=1).items()
    }
    networks = {task: one.top(0.2) for task, one in learnt.items()}
    for given in (learnt, networks):
        result = fbn.identify_task(recordings(1.6, seed=2, n_runs=1), networks=given, seed=0, method=method, top=0.125)
        assert result.accuracy >= 0.75
        assert result.n == 4


@pytest.mark.parametrize("method", METHODS)
def test_networks_without_signs_tell_as_well_as_those_with(method):
    learnt = {
        task: fbn.fit_glm(recording).contrast(f"{task} - rest").t.top(0.125)
        for task, recording in recordings(1.0, seed=1).items()
    }
    unsigned = {task: fbn.Network(one.space, one.members, name=task) for task, one in learnt.items()}
    fresh = recordings(1.6, seed=2)
    hits = [
        fbn.identify_task(fresh, networks=given, seed=0, method=method, top=0.125).accuracy
        for given in (learnt, unsigned)
    ]
    assert hits[0] == hits[1] >= 0.75


def test_tasks_of_different_numbers_of_runs_are_told():
    some = recordings(1.6, tokens=True)
    first = next(iter(some))
    some[first] = recordings(1.6, tokens=True, n_runs=3)[first]
    result = fbn.identify_task(some, seed=0, top=0.125)
    assert result.confusion.to_numpy().sum(1).tolist() == [3, 4, 4, 4]
    assert result.accuracy >= 0.9


def test_refusals():
    some = recordings(0.0, n_runs=1)
    with pytest.raises(ValueError, match="tells tasks apart; got 1"):
        fbn.identify_task({"task0": some["task0"]}, seed=0)
    with pytest.raises(ValueError, match="at least two runs of every task"):
        fbn.identify_task(some, seed=0)
    with pytest.raises(ValueError, match="fewer than two"):
        fbn.networks.reliability(some)
    with pytest.raises(ValueError, match="no network for task1, task2, task3"):
        fbn.identify_task(some, networks={"task0": fbn.Network.from_indices(some["task0"].space, [1])}, seed=0)
    with pytest.raises(ValueError, match=r"conditions rest, task0; name it by its condition"):
        run_maps({"sorting": some["task0"]})


def test_shown():
    result = fbn.identify_task(recordings(1.0), seed=0)
    assert "chance 25%" in repr(result)
    assert "<table" in result._repr_html_()
    assert result.to_dataframe().index.name == "true"


def task_recordings(model, folder, *, shuffled: bool = False):
    """Six tasks of the formal language against rest, four runs each, no prompt in two of them."""
    tasks = ["reverse", "sort", "shift", "upper", "count", "add"]
    rest = fbn.prompts("rest", n=6 * 80)
    found = {}
    for i, task in enumerate(tasks):
        bank = {task: fbn.prompts(task, n=240), "rest": rest[i * 80 : (i + 1) * 80]}
        if shuffled:  # labels that say nothing: half of each task's prompts are another's
            mixed = [text for other in tasks for text in fbn.prompts(other, n=240)[i * 40 : (i + 1) * 40]]
            bank[task] = mixed
        design = fbn.block_design(bank, n_runs=4, n_cycles=3, tokens_per_block=48, seed=i)
        found[task] = fbn.Scanner(model, surprisal=False).scan(design, folder / task, progress=False)
    return found


def test_the_demo_models_tasks_are_told_with_runs_held_out(demo_model, tmp_path):
    found = task_recordings(demo_model, tmp_path)
    for method in METHODS:
        result = fbn.identify_task(found, seed=0, method=method, n_permutations=200)
        assert result.n == 24
        assert result.accuracy >= 0.95, result
        assert result.p < 0.01


@pytest.mark.slow
def test_labels_that_say_nothing_are_told_at_chance(demo_model, tmp_path):
    found = task_recordings(demo_model, tmp_path, shuffled=True)
    result = fbn.identify_task(found, seed=0, n_permutations=200)
    assert result.accuracy <= 0.4
    assert result.interval[0] <= 1 / 6 <= result.interval[1] or result.p > 0.01


def test_an_identification_comes_back_from_its_file(tmp_path):
    found = fbn.networks.Identification(("b", "a"), np.array([[3, 1], [0, 4]]), "dice", 0.02, 500)
    found.save(tmp_path / "told.safetensors")
    again = fbn.networks.Identification.load(tmp_path / "told.safetensors")
    assert repr(again) == repr(found) and again.confusion.equals(found.confusion)
