"""Telling tasks apart: planted tasks are told, noise is at chance, prompts on both sides are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.designs import token_prompts
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.helpers.tasks import recordings
from tl_fbn.acquisition.recording.descriptions import DIGESTS
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


def test_shared_prompts_are_refused():
    apart = recordings(1.0, tokens=True)
    rows = [run.rows for run in apart["task0"]]
    rows[1] = rows[0]
    arrays = [[np.array(run.layer(0))] for run in apart["task0"]]
    leaking = fbn.Recording.from_arrays(arrays, events=[run.events for run in apart["task0"]], rows=rows)
    with pytest.raises(ValueError, match=r"12 prompts of run 0 are also in other runs"):
        fbn.identify_task({**apart, "task0": leaking}, seed=0)


def test_networks_found_on_these_prompts_are_refused(demo_model, tmp_path):
    found, networks = {}, {}
    for task, seed in (("sort", 0), ("upper", 1)):
        bank = fbn.prompts("rest", n=200)[seed * 100 : seed * 100 + 100]
        design = fbn.block_design(
            {task: fbn.prompts(task, n=200), "rest": bank}, n_runs=2, n_cycles=2, tokens_per_block=32, seed=seed
        )
        found[task] = fbn.Scanner(demo_model).scan(design, tmp_path / task, progress=False)
        networks[task] = fbn.fit_glm(found[task]).contrast(f"{task} - rest").threshold(top=0.05)
    assert fbn.identify_task(found, seed=0).accuracy >= 0.75
    with pytest.raises(ValueError, match=r"prompts of these recordings were used to find the network of 'sort'"):
        fbn.identify_task(found, networks=networks, seed=0)


def generated(model, folder, *, seed, **options):
    """One recording of two tasks, whose rows are what the model writes; even seeds have the same prompts."""
    bank = {name: token_prompts(8, seed=10 * i + seed % 2) for i, name in enumerate(("sort", "upper"))}
    design = fbn.block_design(
        bank, n_runs=2, n_cycles=2, tokens_per_block=6, tokens_per_prompt=3, seed=seed, generate=True
    )
    return fbn.Scanner(model, surprisal=False, **options).scan(design, folder, progress=False)


@pytest.mark.slow
def test_maps_are_refused_on_the_prompts_that_the_model_wrote_after(tmp_path):
    model = bridged(tiny_llama())
    found = generated(model, tmp_path / "found", seed=0)
    fit = fbn.fit_glm(found, progress=False)
    maps = {
        name: fit.contrast(f"{name} - {other}", level="token").t
        for name, other in (("sort", "upper"), ("upper", "sort"))
    }
    other = generated(model, tmp_path / "other", seed=1)
    assert fbn.identify_task({"sort": other, "upper": other}, networks=maps, seed=0, progress=False).n == 4
    again = generated(model, tmp_path / "again", seed=2)  # the same prompts in another order
    last = generated(model, tmp_path / "last", seed=2, pool="last")
    found.pool("mean").save(tmp_path / "pooled")
    pooled = fbn.Recording.open(tmp_path / "pooled")
    alien = fbn.Recording.from_arrays(  # whose prompts nobody knows
        [[run.layer(layer) for layer in range(2)] for run in found], events=[run.events for run in found]
    )
    of_alien = fbn.fit_glm(alien, progress=False)
    alien_maps = {
        name: of_alien.contrast(f"{name} - {other}", level="token").t
        for name, other in (("sort", "upper"), ("upper", "sort"))
    }
    for recording in (found, again, last, found.pool("mean"), pooled):
        recordings = {"sort": recording, "upper": recording}
        with pytest.raises(ValueError, match=r"prompts of these recordings were used .* one half to each recording"):
            fbn.identify_task(recordings, networks=maps, seed=0, progress=False)
    with pytest.raises(ValueError, match=r"'sort' was found in the recording of 'sort', 'upper'; identify on other"):
        fbn.identify_task({"sort": alien, "upper": alien}, networks=alien_maps, seed=0, progress=False)
    # what an earlier version recorded: run.json has the prompts' ids, and no digests
    older = [replace(run, about={k: v for k, v in run.about.items() if k != DIGESTS}) for run in again]
    older = fbn.Recording(again.spaces, (tuple(older),), again.about)
    with pytest.raises(ValueError, match="prompts of these recordings were used"):
        fbn.identify_task({"sort": older, "upper": older}, networks=maps, seed=0, progress=False)
    # runs that write after each other's prompts are no runs of their own
    swapped = fbn.Recording(found.spaces, ((found[1], found[0]),), found.about)
    with pytest.raises(ValueError, match="prompts of run 0 are also in other runs"):
        fbn.identify_task({"sort": found, "upper": swapped}, seed=0, progress=False)


def test_prompts_that_blocks_cut_are_known_too(tmp_path):
    model = tiny_model()
    prompts = {name: token_prompts(20, seed=seed) for seed, name in enumerate("ab")}
    design = fbn.block_design(prompts, n_runs=2, n_cycles=3, tokens_per_block=2, seed=0)
    recording = fbn.Scanner(model).scan(design, tmp_path / "r", progress=False)
    assert all(run.rows["flags"].str.contains("cut").sum() == 6 for run in recording)
    fit = fbn.fit_glm(recording, drift="none", progress=False)
    maps = {name: fit.contrast(f"{name} - {other}", level="token").t for name, other in ("ab", "ba")}
    with pytest.raises(ValueError, match="12 prompts of these recordings were used"):
        fbn.identify_task({"a": recording, "b": recording}, networks=maps, seed=0, progress=False)


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
