"""The main job in small: lesions show what they are said to show, and what was recorded is used again."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import tiny_model
from tests.helpers.recordings import blocks
from tl_fbn.acquisition.design.stimuli import formal
from tl_fbn.demo import pipeline


def test_lesions_break_their_own_task_and_random_ones_do_not(result):
    """The claim in small; ``tl-fbn demo`` makes it with 100 items and 100 controls, where p can reach .0099."""
    _, found = result
    own = found.study.summary().set_index("network")
    assert (own["units"] <= 0.05 * found.atlas.space.n_units).all()
    strong = own[
        (own["own"] >= 0.4)
        & (own["own"] >= 3 * own["other_median"])
        & (own["control_median"] < 0.25 * own["own"])
        & (own["p"] <= 0.05)
    ]
    assert len(strong) >= 4, own
    assert set(found.study.discovery.values()) == {"disjoint"}


def test_amplification_raises_what_the_network_stands_for(result):
    _, found = result
    table = found.amplification.set_index("network")
    assert (table["p"] <= 0.05).sum() >= 4, table.to_string()
    assert (table["change"] > table["control_median"]).all(), table.to_string()


def test_a_second_demo_reuses_the_recording(result):
    experiment, found = result
    lines: list[str] = []
    again = pipeline.run_demo(experiment, found.folder, n_controls=1, progress=False, say=lines.append)
    assert again.reused and not found.reused
    assert any("no forward pass was run" in line for line in lines)
    assert again.recording.key == found.recording.key
    assert [a == b for a, b in zip(again.atlas.values(), found.atlas.values(), strict=True)] == [True] * 7


def test_questions_ask_for_a_copy_where_the_answer_is_of_another_task() -> None:
    experiment = pipeline.formal_experiment(n_items=3)
    assert set(experiment.amplified.tasks) == set(formal.TASKS) - {"copy"}
    for name, task in experiment.amplified.tasks.items():
        plain = experiment.battery.tasks[name]
        for asked, item in zip(task.items, plain.items, strict=True):
            assert str(asked.prompt).startswith("[INST] copy : ")
            assert str(asked.prompt).split(" : ")[1] == str(item.prompt).split(" : ")[1]
            assert asked.alternatives[0] == item.alternatives[0]
    assert set(experiment.conditions) == {*formal.TASKS, "rest"} and experiment.phase == "answer"


def test_a_map_is_the_smallest_difference_to_any_other_condition() -> None:
    """Units whose mean is planted in each condition; effects are differences of cell means."""
    means = {"a": [3.0, 1.0, 0.0], "b": [1.0, 2.0, 0.0], "rest": [0.0, 0.0, 5.0]}
    order, rng = ["a", "b", "rest"] * 6, np.random.default_rng(0)
    values = np.repeat([means[name] for name in order], 10, axis=0) + 1e-6 * rng.normal(size=(180, 3))
    recording = fbn.Recording.from_arrays([[values]], events=[blocks(order, 10)])
    fit = fbn.fit_glm(recording, drift="none", position=False)
    maps = pipeline.condition_maps(fit, ["a", "b"])
    np.testing.assert_allclose(maps["a"].values, [2, -1, -5], atol=1e-4)
    np.testing.assert_allclose(maps["b"].values, [-2, 1, -5], atol=1e-4)


def test_amplification_is_measured_beside_controls_of_its_own() -> None:
    model = tiny_model()
    space = fbn.Scanner(model).space
    atlas = fbn.Atlas.from_networks(
        {"a": fbn.Network.from_indices(space, [0, 30]), "x": fbn.Network.from_indices(space, [1])}
    )
    items = fbn.Battery.from_pairs({"a": [((3, 4, 5), (6,)), ((7, 8), (9,))]})
    experiment = pipeline.Experiment(model, {}, items, items, "note", n_cycles=1)
    table = pipeline.amplification_table(experiment, atlas, n_controls=4, seed=5, progress=False)
    assert table["network"].tolist() == ["a"]  # the other has no items
    plain = items.evaluate(model)["log_likelihood"][0]
    changes = []
    for network in (atlas["a"], *fbn.matched_controls(atlas["a"], 4, seed=1005)):
        with fbn.amplify(model, network, add=pipeline.ADD):
            changes.append(items.evaluate(model)["log_likelihood"][0] - plain)
    line = table.iloc[0]
    assert line["change"] == pytest.approx(changes[0], abs=1e-9)
    assert line["control_median"] == pytest.approx(np.median(changes[1:]), abs=1e-9)
    assert line["p"] == (1 + sum(one >= changes[0] for one in changes[1:])) / 5
