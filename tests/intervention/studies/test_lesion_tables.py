"""Tables of lesion studies: intervals and tests as others compute them, selectivity, dissociations and equivalence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.lesions import made_up_study
from tests.helpers.models import own_words
from tl_fbn.intervention.behaviour.battery import Battery


def test_dissociation_is_the_interaction(rigged):
    model, neuron = rigged
    space = fbn.Scanner(model).space
    battery = Battery.from_pairs({"x": own_words(model, seed=0), "y": own_words(model, seed=1)})
    networks = {"x": fbn.Network.from_indices(space, [(1, neuron)]), "y": fbn.Network.from_indices(space, [(0, 3)])}
    result = fbn.lesion_study(model, networks, battery, n_controls=30, seed=0, progress=False)
    drops, found = result.drops(), result.dissociation("x", "y")
    assert found["interaction"] == pytest.approx(drops[0, 0] - drops[0, 1] + drops[1, 1] - drops[1, 0])
    assert 1 / 31 <= found["p"] <= 1
    with pytest.raises(ValueError, match="'z' must name a network and a task"):
        result.dissociation("x", "z")


def test_intervals_are_of_the_kind_of_score_and_mcnemar_is_statsmodels(study):
    from statsmodels.stats.contingency_tables import mcnemar

    table = study.to_dataframe().set_index(["network", "task"])
    before, after = study.baseline_items[:20, 0], study.lesioned_items[0, :20, 0]
    line = table.loc[("task", "task")]
    # all 20 items are lost: (n d)^2 = z^2 n (1 - D) (1 + D) with d = 1 - D has the root D = (n - z^2) / (n + z^2)
    assert (before - after).tolist() == [1.0] * 20
    squared = stats.norm.ppf(0.975) ** 2
    np.testing.assert_allclose([line["low"], line["high"]], [(20 - squared) / (20 + squared), 1])
    assert line["low"] <= line["drop"] <= line["high"]
    counts = [[((before == a) & (after == b)).sum() for b in (1, 0)] for a in (1, 0)]
    assert line["mcnemar_p"] == pytest.approx(mcnemar(counts, exact=True).pvalue)
    assert table.loc[("other", "task"), "mcnemar_p"] > 0.05
    assert (table["chance"] > 0).all()
    assert (table["constant"] > 0).all()
    assert set(study.provenance["flags"]) == {"", "task", "other"}


def test_selectivity_is_own_minus_the_mean_of_the_others(demo_model):
    rng = np.random.default_rng(0)
    space = fbn.Scanner(demo_model).space
    networks = {
        name: fbn.Network.from_indices(space, np.sort(rng.choice(space.n_units, 300, replace=False)))
        for name in ("sort", "add")
    }
    battery = fbn.demo.battery(n=12).select(["sort", "add", "copy"])
    study = fbn.lesion_study(demo_model, networks, battery, n_controls=2, seed=0, progress=False)
    drops, summary = study.drops(), study.summary().set_index("network")
    for i, name in enumerate(("sort", "add")):
        own, others = drops[i, i], np.delete(drops[i], i)
        line = summary.loc[name]
        assert line["selectivity"] == pytest.approx(own - others.mean())
        assert line["low"] <= line["selectivity"] <= line["high"]
        assert line["isi"] == pytest.approx(max(0.0, np.log(max(own, 1e-12) / (max(others.mean(), 0) + 0.01))))
        assert line["other_worst"] == others.max()
    pairs = study.dissociations()
    assert pairs[["first", "second"]].to_numpy().tolist() == [["sort", "add"]]
    single = study.dissociation("sort", "add")
    assert pairs["interaction"][0] == single["interaction"]
    assert single["low"] <= single["interaction"] <= single["high"]


def test_a_double_dissociation_needs_both_sides():
    rng = np.random.default_rng(0)
    controls = (rng.random((2, 150, 2, 60)) < 0.1).astype(float)
    both = np.array([[0.8, 0.1], [0.1, 0.7]])
    one = np.array([[0.8, 0.1], [0.6, 0.65]])  # b's network hurts a as much as its own task
    for rates, expected in ((both, True), (one, False)):
        own = (rng.random((2, 2, 60)) < rates[:, :, None]).astype(float)
        found = made_up_study(own, controls).dissociation("a", "b")
        assert found["p"] < 0.01
        assert found["double"] is expected


def test_equivalence_rejects_no_more_than_it_says():
    """At the margin itself, random lesions are called harmless in at most 5 % of studies; far below it, nearly
    always.
    """
    rng = np.random.default_rng(0)
    calls = {0.05: [], 0.0: []}
    for effect, found in calls.items():
        for _ in range(300):
            of_item, of_control = rng.normal(0, 0.1, (1, 1, 1, 40)), rng.normal(0, 0.03, (1, 60, 1, 1))
            drops = effect + of_item + of_control + rng.normal(0, 0.1, (1, 60, 1, 40))
            study = made_up_study(np.zeros((1, 1, 40)), drops)
            found.append(bool(study.equivalence(margin=0.05)["equivalent"][0]))
    assert np.mean(calls[0.05]) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(calls[0.0]) > 0.6
