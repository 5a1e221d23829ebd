"""Tables of lesion studies: intervals and tests as others compute them, isolation, selectivity and equivalence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn
from tests.helpers.lesions import made_up_study


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
        worst = max(others.max(), 0.0)
        assert line["isolation"] == pytest.approx((own - worst) / (own + worst))
        assert -1 <= line["isolation_low"] <= line["isolation"] <= line["isolation_high"] <= 1
    assert list(study.summary())[2:8] == [
        *("own", "other_worst", "worst_task", "isolation", "isolation_low", "isolation_high")
    ]
    pairs = study.dissociations()
    assert pairs[["first", "second"]].to_numpy().tolist() == [["sort", "add"]]
    single = study.dissociation("sort", "add")
    assert pairs["interaction"][0] == single["interaction"]
    assert single["low"] <= single["interaction"] <= single["high"]


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
