"""Lesion maps: planted units and the neuron of a rigged model are found, too few lesions are said, and errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tl_fbn as fbn
from tests.helpers.models import own_words
from tests.helpers.paths import ROOT
from tests.helpers.random_lesions import drawn_units, indicator, study_of_lesions
from tl_fbn.intervention.behaviour.battery import Battery

PLANTED = [5, 70, 180]


def planted_study(*, n_controls: int = 120, size: int = 16) -> fbn.studies.LesionStudy:
    """Two source networks; three units cost task a .3 each, nothing costs task b."""
    rng = np.random.default_rng(0)
    units = drawn_units(rng, (size, size), n_controls, 200)
    drops = rng.normal(0, 0.05, (2, n_controls, 2)) + np.array([0.0, 0.2])[:, None, None]
    drops[..., 0] += 0.3 * indicator(units, 200)[..., PLANTED].sum(-1)
    return study_of_lesions(units, drops, (100, 100))


@pytest.fixture(scope="module")
def found() -> fbn.studies.LesionMap:
    return planted_study().lesion_map(progress=False)


def test_planted_units_are_found_and_no_others(found: fbn.studies.LesionMap) -> None:
    network = found.threshold("a")
    assert network.indices.tolist() == PLANTED and set(network.signs[PLANTED]) == {1}
    assert len(found.threshold("b")) == 0
    effects = found.map("a", "effect").values[PLANTED]
    np.testing.assert_allclose(effects, 0.3, atol=0.08)
    assert set(np.argsort(-found.map("a", "weight").values)[:3]) == set(PLANTED)
    summary = found.summary().set_index("task")
    assert summary["found"].tolist() == [3, 0] and (summary["tested"] > 190).all()
    assert summary.loc["a", "r2"] > 0.3 and summary.loc["a", "r2_p"] == 1 / 200
    assert summary.loc["b", "r2"] < 0.05 and summary.loc["b", "r2_p"] > 0.05
    assert not found.too_few and "too few" not in found.verdict()
    first, second = found.verdict().splitlines()
    assert first.startswith("a: 3 of ") and "layer 0 unit 5 (" in first and "predicts the loss" in first
    assert second.startswith("b: none of ") and "does not predict the loss" in second


def test_p_and_what_it_takes_agree(found: fbn.studies.LesionMap) -> None:
    for task in found.tasks:
        line = found.summary().set_index("task").loc[task]
        t, p = found.map(task).values, found.map(task, "p").values
        tested = np.isfinite(t)
        assert ((p <= 0.05) == (t > line["critical_t"]))[tested].all() and np.isnan(p[~tested]).all()
        errors = (found.map(task, "effect").values / t)[tested]
        assert line["detectable"] == pytest.approx(line["critical_t"] * np.median(errors))


def test_networks_remember_the_items_they_were_found_on(found: fbn.studies.LesionMap) -> None:
    assert found.threshold("a").provenance["prompts"] == ["a1", "a2"]
    assert found.map("b").provenance["prompts"] == ["b1", "b2"]
    unknown = replace(found, digests={})
    assert "prompts" not in unknown.threshold("a").provenance


def test_it_saves_itself_and_lays_itself_out(found: fbn.studies.LesionMap, tmp_path: Path) -> None:
    found.save(tmp_path / "map.safetensors")
    again = fbn.load(tmp_path / "map.safetensors")
    assert repr(again) == repr(found) and again.to_dataframe().equals(found.to_dataframe())
    assert again.summary().equals(found.summary()) and again.digests == found.digests
    table = found.to_dataframe()
    assert list(table) == ["task", "layer", "unit", "lesions", "effect", "t", "p", "weight"]
    assert table["lesions"].min() >= 5 and not table.isna().to_numpy().any()
    best = table.sort_values("p").iloc[0]
    assert found.space.index(int(best["layer"]), int(best["unit"])) in PLANTED
    first, second = found._report_sections_()
    assert first["picture"] == "lesion_map" and found.verdict().splitlines()[0] in first["text"]
    assert len(second["table"]) == 20
    (methods,) = found._methods_()
    assert "240 random lesions (random controls of a and b; units " in methods and "1,000 permutations" in methods


def test_a_study_keeps_what_a_map_needs(tmp_path: Path) -> None:
    study = planted_study()
    study.save(tmp_path / "study.safetensors")
    again = fbn.studies.LesionStudy.load(tmp_path / "study.safetensors")
    options = {"n_permutations": 19, "progress": False}
    assert again.lesion_map(**options).to_dataframe().equals(study.lesion_map(**options).to_dataframe())
    other = study.lesion_map(seed=1, **options)
    assert not np.array_equal(other.largest, study.lesion_map(**options).largest)
    assert np.array_equal(other.statistics, study.lesion_map(**options).statistics)


def test_too_few_lesions_are_said() -> None:
    few = planted_study(n_controls=20, size=4).lesion_map(progress=False)
    assert few.too_few and "too few to know single units" in repr(few)
    said = few.verdict().splitlines()[0]
    # 160 silenced units over 200 are .8 a unit; 5 take 6.25 times as many lesions as 40
    assert said.startswith("40 random lesions are too few to know single units: of 200 units half are in 1 or fewer")
    assert said.endswith("It takes about 250 lesions of this size.")
    none = planted_study(n_controls=8, size=1).lesion_map(progress=False)
    assert none.to_dataframe().empty and none.summary()["tested"].tolist() == [0, 0]
    assert np.isnan(none.summary()["critical_t"]).all() and "none of 0 tested units" in none.verdict()
    assert len(none.threshold("a")) == 0


def test_a_task_that_never_changes_is_said() -> None:
    study = planted_study()
    scores = study.control_scores["random"].copy()
    scores[:, :, 1] = 1.0
    never = replace(study, control_scores={"random": scores}).lesion_map(n_permutations=19, progress=False)
    assert never.verdict().splitlines()[1] == "b: no random lesion changed it."
    assert len(never.threshold("b", fwe=0.05)) == 0 and never.summary()["found"].tolist()[1] == 0


def test_the_neuron_that_decides_every_answer_is_found(rigged) -> None:
    model, neuron = rigged
    space = fbn.Scanner(model).space
    network = fbn.Network.from_indices(space, [(1, unit) for unit in range(20, 35)])
    battery = Battery.from_pairs({"task": own_words(model, seed=0), "second": own_words(model, seed=1)})
    study = fbn.lesion_study(model, {"task": network}, battery, n_controls=60, seed=0, progress=False)
    found = study.lesion_map(n_permutations=199, progress=False)
    assert found.threshold("task").indices.tolist() == [space.index(1, neuron)]
    assert found.summary().set_index("task").loc["task", "r2"] > 0.2
    with pytest.raises(fbn.InputError, match="was found on 40 of the prompts that task 'task' scores"):
        fbn.lesion_study(model, {"task": found.threshold("task")}, battery, n_controls=1, seed=0, progress=False)


@pytest.mark.filterwarnings("ignore:.*saved by an earlier version, without a checksum:UserWarning")
def test_errors() -> None:
    study = planted_study()
    for options, words in (
        ({"n_permutations": 18}, "n_permutations=18 shows no p below .05"),
        ({"min_lesions": 1}, "min_lesions=1 must be at least 2"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"metric": "accuracy"}, "metric must be"),
        ({"control": "activity"}, "control must be one of this study's"),
    ):
        with pytest.raises(fbn.InputError, match=words):
            study.lesion_map(**options)
    rotated = replace(study, control_scores={"rotated": study.control_scores["random"]})
    with pytest.raises(fbn.InputError, match="silence directions, no units"):
        rotated.lesion_map()
    old = fbn.load(ROOT / "tests/data/version_0_1/lesions.safetensors")
    assert old.space is None and dict(old.control_units) == {}
    with pytest.raises(fbn.InputError, match=r"saved by a version that did not keep.*scores nothing anew"):
        old.lesion_map()
    with pytest.raises(fbn.InputError, match="8 random lesions are too few to hold any out"):
        planted_study(n_controls=4).lesion_map()
    scores = np.where([True, False], np.nan, study.control_scores["random"])
    baseline = np.where([True, False], np.nan, study.baseline_items)
    texts = replace(study, control_scores={"random": scores}, baseline_items=baseline)
    with pytest.raises(fbn.InputError, match='no exact_match for a, b; give metric="log_likelihood"'):
        texts.lesion_map(metric="exact_match")
    found = study.lesion_map(n_permutations=19, progress=False)
    for call, words in (
        (lambda: found.map("c"), "task must be one of this map's, 'a' or 'b'; got 'c'"),
        (lambda: found.map("a", "z"), "kind must be"),
        (lambda: found.threshold("a", fwe=1.5), "fwe=1.5 is no error rate"),
        (lambda: found.threshold("a", fwe=0.01), "19 permutations show no p below 0.05"),
    ):
        with pytest.raises(fbn.InputError, match=words):
            call()
