"""Scores under interventions: what the engine gives, read as a lesion study reads it."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.papers import conditions
from tl_fbn.papers.paper_folder import PaperFolder


@pytest.fixture(scope="module")
def battery():
    return fbn.demo.battery(n=6).select(["sort", "reverse", "add"])


@pytest.fixture(scope="module")
def atlas(model):
    chats = {task: fbn.chats(task, n=8) for task in ("sort", "reverse", "add")}
    return fbn.task_networks(model, chats, top=0.02, seed=0, halves=False, progress=False)


@pytest.fixture
def folder(model, tmp_path):
    return PaperFolder(tmp_path / "f", model, "mlp.neurons", {"seed": 0})


def test_losses_are_those_of_a_lesion_study(folder, model, battery, atlas):
    found = conditions.scored(folder, "x", model, battery, atlas, conditions.silenced, seed=0, progress=False)
    study = fbn.lesion_study(model, atlas, battery, n_controls=2, metric="log_likelihood", seed=0, progress=False)
    drops = study.drops("log_likelihood")
    assert np.allclose(found.matrix(list(atlas)).iloc[:, 1:].to_numpy(), drops)
    assert np.isclose(found.mean_loss("sort"), drops[0].mean())
    low, high = found.interval("sort", "sort")
    assert low < found.loss("sort", "sort") < high
    assert found.mean_score(None) == battery.evaluate(model)["exact_match"].mean()


def test_nothing_is_scored_twice(folder, model, battery, atlas, monkeypatch):
    ask = {"seed": 0, "progress": False}
    first = conditions.scored(folder, "x", model, battery, atlas, conditions.silenced, **ask)
    monkeypatch.setattr(fbn.Battery, "score", lambda *_, **__: pytest.fail("scored again"))
    again = conditions.scored(folder, "x", model, battery, atlas, conditions.silenced, **ask)
    assert (first.after == again.after).all()


def test_verbs_do_what_they_say(model, atlas):
    network = atlas["sort"]
    _, before = model.run_with_cache("[INST] sort : c a b [/INST]")
    layer = int(np.argmax(network.per_layer()))
    members = network.by_layer()[layer]
    verbs = {
        0.0: conditions.silenced(model, network),
        2.0: conditions.strengthened(2.0)(model, network),
    }
    first = int(np.flatnonzero(network.per_layer())[0])  # what lies above it is changed by it, too
    for factor, verb in verbs.items():
        with verb:
            _, cache = model.run_with_cache("[INST] sort : c a b [/INST]")
        inside = network.by_layer()[first]
        expected = factor * before["post", first][..., inside]
        assert np.allclose(cache["post", first][..., inside].detach(), expected.detach(), atol=1e-5)
    with conditions.added(1.0)(model, network):
        _, cache = model.run_with_cache("[INST] sort : c a b [/INST]")
    inside = network.by_layer()[first]
    more = cache["post", first][..., inside] - before["post", first][..., inside]
    assert np.allclose(more.detach(), 1.0, atol=1e-5)
    with conditions.kept(model, network):
        _, cache = model.run_with_cache("[INST] sort : c a b [/INST]")
    assert (cache["post", layer][..., ~members] == 0).all()


def test_own_beside_others_and_controls(folder, model, battery, atlas):
    found = conditions.scored(folder, "x", model, battery, atlas, conditions.silenced, seed=0, progress=False)
    drawn = {name: fbn.matched_controls(one, 4, seed=0) for name, one in atlas.items()}
    lost = conditions.control_losses(folder, "c", model, battery, drawn, conditions.silenced, seed=0, progress=False)
    table = conditions.own_and_others(found, list(atlas), lost).set_index("network")
    with fbn.inhibit(model, drawn["add"][1]):
        by_hand = battery.select(["add"]).score(model)["add"].log_likelihood
    before = battery.select(["add"]).score(model)["add"].log_likelihood
    assert np.isclose(lost["add"][1], (before - by_hand).mean(), atol=1e-6)
    line = table.loc["add"]
    assert line["worst"] == max(found.loss("add", "sort"), found.loss("add", "reverse"))
    assert line["p"] == (1 + (lost["add"] >= line["own"]).sum()) / 5
    isolated = line["own"] >= max(0.05, 3 * line["worst"]) and line["own"] > lost["add"].max()
    assert bool(line["isolated"]) is bool(isolated)
