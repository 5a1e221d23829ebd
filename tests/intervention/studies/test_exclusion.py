"""Units that a study leaves alone are in no network, rival or control of it, and the study says how many they were."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import own_words
from tests.helpers.planted import PLANTS, planted
from tests.helpers.recordings import blocks
from tests.helpers.results import collapse
from tests.helpers.units import TOY
from tl_fbn.intervention.behaviour.battery import Battery
from tl_fbn.intervention.studies import exclusion
from tl_fbn.intervention.studies import lesion as lesions

SETTINGS = {"seed": 0, "n_controls": 12, "n_bootstrap": 50, "progress": False}
KINDS = ("random", "activity", "rotated")


@pytest.fixture(scope="module")
def broken():
    """A model that a planted pair holds up, what was found of it, and a battery of what the model says."""
    model, texts = planted(PLANTS["pair"])
    found = fbn.collapse_neurons(model, texts, largest=2, progress=False)
    return model, found, Battery.from_pairs({"a": own_words(model, 6), "b": own_words(model, 6, seed=1)})


@pytest.fixture
def networks(broken):
    space = broken[1].space
    mixed = fbn.Network.from_indices(space, [(1, 7), (1, 8), (1, 40), (0, 3)], provenance={"prompts": ["x"]})
    return {"a": mixed, "b": fbn.Network.from_indices(space, [(0, 5), (1, 9)])}


def test_names_signs_and_provenance_stay():
    network = fbn.Network(TOY, np.arange(10) < 4, np.ones(10, np.int8), "n", {"prompts": ["p"]})
    left = exclusion.without({"n": network}, collapse().network)["n"]
    assert left.indices.tolist() == [2] and left.name == "n" and left.provenance == network.provenance
    assert left.signs[2] == 1 and exclusion.without({"n": network}, None)["n"] is network


def test_the_table_says_what_each_cost_and_who_held_it():
    found = collapse()
    networks = {"n": fbn.Network.from_indices(TOY, [1, 2]), "m": fbn.Network.from_indices(TOY, [3, 1])}
    table = exclusion.exclusion_table(found, found.network, networks)
    assert table is not None
    assert table["units"].tolist() == ["0.0 + 0.1 + 2.2", "0.0 + 0.1", "0.3"]
    assert table["networks"].tolist() == ["n and m", "n and m", "m"]
    assert table["cost"].tolist() == found.to_dataframe()["cost"].head(3).tolist()
    plain = exclusion.exclusion_table(found.network, found.network, networks)
    assert plain is not None and plain["units"].tolist() == ["0.1", "0.3"]
    about = exclusion.exclusion_counts(found, found.network, networks)
    assert about["excluded"]["units"] == 4 and about["excluded"]["of"] == {"n": 1, "m": 2}
    assert exclusion.exclusion_in_words(about) == (
        "4 units (collapse) were taken out of networks, rivals and controls alike: 1 of n and 2 of m."
    )
    assert exclusion.exclusion_in_words({}) == "" and exclusion.exclusion_table(None, None, networks) is None


def test_a_study_without_them_is_that_of_smaller_networks(broken, networks):
    model, found, battery = broken
    assert set(found.network.indices) == {127, 128}
    whole = fbn.lesion_study(model, networks, battery, **SETTINGS)
    study = fbn.lesion_study(model, networks, battery, exclude=found, **SETTINGS)
    smaller = {"a": networks["a"] - found.network, "b": networks["b"]}
    by_hand = fbn.lesion_study(model, smaller, battery, **SETTINGS)
    np.testing.assert_array_equal(study.lesioned_items, by_hand.lesioned_items)
    assert study.sizes.sum(1).tolist() == [2, 2] and whole.sizes.sum(1).tolist() == [4, 2]
    # the planted pair breaks any task; without it the network does next to nothing
    own = whole.drops("log_likelihood"), study.drops("log_likelihood")
    assert own[0][0].min() > 1 > 20 * abs(own[1][0]).max()
    assert study.provenance["excluded"]["of"] == {"a": 2, "b": 0} and "excluded" not in whole.provenance
    assert repr(study).endswith("excluded units: 2") and "2 of a" in study._methods_()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_control_touches_them(broken, networks, kind, monkeypatch):
    model, _, battery = broken
    # a third of each layer, which controls of eight units would meet
    out = fbn.Network(networks["a"].space, np.arange(240) % 3 == 0)
    source = fbn.Network.from_indices(out.space, range(1, 240, 10))
    touched = []
    conditions = lesions.Condition

    def kept(label, *given, **more):
        if "control" in label:
            touched.append(given[0]())
        return conditions(label, *given, **more)

    monkeypatch.setattr(lesions, "Condition", kept)
    reference = recording_of(model)
    fbn.lesion_study(
        model,
        {"a": source},
        battery,
        controls=(kind,),
        reference=reference,
        exclude=out,
        **{**SETTINGS, "n_controls": 5},
    )
    assert len(touched) == 5
    for one in touched:
        for name, edit in one.edits.items():
            layer = int(name.split(".")[1])
            barred = np.flatnonzero(out.by_layer()[layer])
            assert not set(edit.members.tolist()) & set(barred.tolist())
            n_own = int((source - out).per_layer()[layer])
            assert (len(edit.values) if kind == "rotated" else len(edit.members)) == n_own


def recording_of(model):
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(40, 120)) for _ in range(2)]
    return fbn.Recording.from_arrays([layers], events=[blocks(["a", "b"] * 2, 10)])


def test_rivals_lose_them_too(broken, networks):
    model, found, battery = broken
    rivals = {"r": {"a": found.network | networks["b"]}}
    study = fbn.lesion_study(model, networks, battery, rivals=rivals, exclude=found.network, **SETTINGS)
    np.testing.assert_array_equal(study.rivals["r"][0], study.lesioned_items[1])
    assert study.excluded is not None and study.excluded["networks"].tolist() == ["a and r of a"] * 2
    with pytest.raises(fbn.InputError, match="takes out all 2 units of 'r of a', so nothing of it is left"):
        fbn.lesion_study(model, networks, battery, rivals={"r": {"a": found.network}}, exclude=found, **SETTINGS)


def test_a_folder_goes_on_only_with_the_same_units(broken, networks, tmp_path):
    model, found, battery = broken
    idle = {"b": networks["b"]}  # which holds none of them, so that only the setting differs
    fbn.lesion_study(model, idle, battery, path=tmp_path / "s", exclude=found, **SETTINGS)
    fbn.lesion_study(model, idle, battery, path=tmp_path / "s", exclude=found.network, **SETTINGS)
    for other in (None, networks["a"]):
        with pytest.raises(fbn.InputError, match=r"different .*exclude"):
            fbn.lesion_study(model, idle, battery, path=tmp_path / "s", exclude=other, **SETTINGS)


def test_the_page_shows_both_and_a_saved_study_too(broken, networks, tmp_path):
    model, found, battery = broken
    study = fbn.lesion_study(model, networks, battery, exclude=found, **SETTINGS)
    study.save(tmp_path / "s.safetensors")
    again = fbn.load(tmp_path / "s.safetensors")
    assert again.excluded.equals(study.excluded) and again.provenance["excluded"] == study.provenance["excluded"]
    section = next(one for one in study._report_sections_() if one["title"] == "Units that were taken out")
    assert section["table"].equals(study.excluded) and study.excluded["cost"].max() > 1
    assert "2 of a" in section["text"] and "random units of the same layers cost at most" in section["text"]
    fbn.Report("Both", found, study).save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Units that were taken out" in page and "Collapse neurons" in page


def test_what_cannot_be_taken_out_is_refused(broken, networks):
    model, found, battery = broken
    elsewhere = fbn.Network.from_indices(TOY, [0])
    for function in (fbn.plan_lesions, lambda *given, **options: fbn.lesion_study(*given, seed=0, **options)):
        with pytest.raises(fbn.InputError, match="cannot exclude units of"):
            function(model, networks, battery, exclude=elsewhere)
        with pytest.raises(fbn.InputError, match="takes out all 4 units of 'a'"):
            function(model, networks, battery, exclude=networks["a"])
    with pytest.raises(TypeError, match="exclude must be a Network, a Collapse or None; got"):
        fbn.lesion_study(model, networks, battery, exclude=[1, 2], **SETTINGS)
    none = fbn.Network.from_indices(found.space, [])
    study = fbn.lesion_study(model, networks, battery, exclude=none, **SETTINGS)
    assert study.provenance["excluded"]["units"] == 0 and study.excluded is not None and study.excluded.empty


def test_matched_controls_and_task_networks_leave_them_out(broken, demo_model):
    _, found, _ = broken
    network = fbn.Network.from_indices(found.space, [(1, 7), *((1, unit) for unit in range(20, 60))])
    out = fbn.Network(found.space, np.arange(240) % 2 == 1)
    for features in (None, np.random.default_rng(0).random((1, 240))):
        drawn = fbn.matched_controls(network, 20, seed=0, features=features, exclude=out)
        assert not any((one.members & out.members).any() for one in drawn)
        assert all((one.per_layer() == (network - out).per_layer()).all() for one in drawn)
    same = fbn.matched_controls(network, 5, seed=0, exclude=fbn.Network.from_indices(found.space, []))
    assert same == fbn.matched_controls(network, 5, seed=0)
    chats = {task: fbn.chats(task, n=4) for task in ("sort", "reverse")}
    plain = fbn.task_networks(demo_model, chats, seed=0, top=20, progress=False)
    left = fbn.task_networks(demo_model, chats, seed=0, top=20, exclude=plain["sort"], progress=False)
    assert len(left["sort"]) == 20 and not (left["sort"].members & plain["sort"].members).any()
    assert left["sort"].provenance["excluded"] == 20


def test_the_units_of_controls_that_a_study_keeps_are_those_it_silenced(broken, networks):
    model, found, battery = broken
    study = fbn.lesion_study(model, networks, battery, exclude=found, **SETTINGS)
    kept = study.control_units["random"]
    out = set(found.network.indices.tolist())
    assert out and not out & set(kept.ravel().tolist())
    # the first control of the first network, silenced by hand
    units = [unit for unit in kept[0, 0].tolist() if unit >= 0]
    before = battery.score(model)["a"].log_likelihood.mean()
    with fbn.inhibit(model, fbn.Network.from_indices(found.space, units)):
        lost = before - battery.score(model)["a"].log_likelihood.mean()
    drops = study.control_drops("log_likelihood")  # (network, control, task)
    assert drops[0, 0, 0] == pytest.approx(lost, abs=1e-5)
