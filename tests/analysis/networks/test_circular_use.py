"""Circular use: rows on which networks were found are known again, whatever was made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.designs import token_prompts
from tests.helpers.models import bridged, tiny_llama, tiny_model
from tests.helpers.tasks import recordings
from tl_fbn.acquisition.recording.descriptions import DIGESTS


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
