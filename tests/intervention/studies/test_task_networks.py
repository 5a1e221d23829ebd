"""The network of each task: what the steps by hand give, from tasks, pairs and chats alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn

QUIET = {"seed": 3, "progress": False}


@pytest.fixture(scope="module")
def chats() -> dict[str, list]:
    return {task: fbn.chats(task, n=8) for task in ("sort", "reverse", "add")}


def test_networks_are_those_of_the_steps_by_hand(demo_model, chats) -> None:
    atlas = fbn.task_networks(demo_model, chats, top=0.02, **QUIET)
    halves: list[dict[str, fbn.UnitMap]] = [{}, {}]
    for number, (task, items) in enumerate(chats.items()):
        order = np.random.default_rng([3, number]).permutation(8)
        for half, chosen in zip(halves, (order[:4], order[4:]), strict=True):
            half[task] = fbn.attribution.gradient_x_activation(demo_model, [items[i] for i in chosen], progress=False)
    first, second = (fbn.specific_scores(half, "least") for half in halves)
    for task, network in atlas.items():
        values = np.minimum(first[task].values, second[task].values)
        expected = fbn.UnitMap(network.space, values, "specificity").top(0.02)
        # scores of a batch round otherwise than those of half of it
        assert len(network) == 23 and len(network & expected) >= 22 and network.name == task
        assert network.provenance["method"] == "task_networks" and network.provenance["task"] == task


def test_without_halves_one_map_of_all_items_is_cut(demo_model, chats) -> None:
    atlas = fbn.task_networks(demo_model, chats, top=10, halves=False, how="difference", scale="rank", **QUIET)
    maps = {
        task: fbn.attribution.gradient_x_activation(demo_model, items, progress=False) for task, items in chats.items()
    }
    for task, one in fbn.specific_scores(maps, "difference", scale="rank").items():
        assert len(atlas[task] & one.top(10)) >= 9


def test_pairs_chats_and_tasks_are_taken(demo_model, tmp_path: Path) -> None:
    battery = fbn.demo.battery(n=6).select(["sort", "add"])
    pairs = {name: [(item.prompt, item.alternatives[0]) for item in task.items] for name, task in battery.tasks.items()}
    atlas = fbn.task_networks(demo_model, pairs, top=20, **QUIET)
    listed = fbn.task_networks(demo_model, {name: list(map(list, one)) for name, one in pairs.items()}, top=20, **QUIET)
    assert all(np.array_equal(atlas[name].members, listed[name].members) for name in pairs)
    from_tasks = fbn.task_networks(demo_model, fbn.demo.tasks(n=60), n=4, top=20, **QUIET)
    assert len(from_tasks) == 7 and all(len(one) == 20 for one in from_tasks.values())
    # the items they were found on cannot test them
    with pytest.raises(fbn.InputError, match="was found on"):
        fbn.lesion_study(demo_model, atlas, battery, n_controls=1, **QUIET)


def test_what_is_no_set_of_tasks_is_refused(demo_model, chats) -> None:
    with pytest.raises(fbn.InputError, match="got 1, give at least two"):
        fbn.task_networks(demo_model, {"sort": chats["sort"]}, seed=0)
    with pytest.raises(fbn.InputError, match="sort has one item, which cannot be dealt"):
        fbn.task_networks(demo_model, chats | {"sort": chats["sort"][:1]}, seed=0)
    with pytest.raises(fbn.InputError, match="task 'sort' has no items"):
        fbn.task_networks(demo_model, chats | {"sort": []}, seed=0)
