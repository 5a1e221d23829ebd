"""Masking or keeping the first networks of an atlas: what the table says is what the hooks do."""

from __future__ import annotations

import numpy as np
import pytest

import tl_fbn as fbn
from tl_fbn.intervention.studies.controls import matched_controls


def atlas_of(model, sizes=(400, 300, 300)) -> fbn.Atlas:
    space = fbn.Scanner(model, site="mlp.neurons").space
    order = np.random.default_rng(0).permutation(space.n_units)
    parts = np.split(order, np.cumsum(sizes))[: len(sizes)]
    return fbn.Atlas.from_networks(
        {f"N{i}": fbn.Network.from_indices(space, np.sort(part)) for i, part in enumerate(parts)}
    )


@pytest.mark.parametrize("mode", ["retain", "inhibit"])
def test_each_line_is_an_evaluation_under_the_union(demo_model, mode):
    atlas, battery = atlas_of(demo_model), fbn.demo.battery().select(["copy", "upper"]).limit(12)
    table = fbn.studies.retention_curve(
        demo_model, atlas, battery, mode=mode, n_controls=3, seed=0, progress=False
    ).table
    assert table["networks"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["units"].tolist() == [400, 400, 700, 700, 1000, 1000]
    union = atlas.union(["N0", "N1"])
    act = fbn.retain if mode == "retain" else fbn.inhibit
    with act(demo_model, union):
        own = battery.evaluate(demo_model).set_index("task")["exact_match"]
    controls = []
    for control in matched_controls(union, 3, seed=2):
        with act(demo_model, control):
            controls.append(battery.evaluate(demo_model).set_index("task")["exact_match"])
    for line in table[table["networks"] == 2].itertuples():
        assert line.value == own[line.task] and line.baseline == 1.0 and line.metric == "exact_match"
        assert line.control_median == np.median([one[line.task] for one in controls])


def test_everything_kept_is_the_model_itself(demo_model):
    space = fbn.Scanner(demo_model, site="mlp.neurons").space
    whole = fbn.Atlas.from_networks({"all": ~fbn.Network.from_indices(space, [])})
    battery = fbn.demo.battery().select(["sort"]).limit(12)
    table = fbn.studies.retention_curve(demo_model, whole, battery, n_controls=0, seed=0, progress=False).table
    assert table["value"].tolist() == table["baseline"].tolist()
    assert np.isnan(table["control_median"]).all()


def test_refusals(demo_model):
    atlas, battery = atlas_of(demo_model), fbn.demo.battery().select(["copy"]).limit(4)
    with pytest.raises(ValueError, match=r"sizes=\(4,\) must be numbers of networks from 1 to 3"):
        fbn.studies.retention_curve(demo_model, atlas, battery, sizes=(4,), seed=0)


def test_the_union_of_an_atlas():
    space = fbn.UnitSpace("mlp.neurons", (5,))
    atlas = fbn.Atlas.from_networks(
        {"a": fbn.Network.from_indices(space, [0, 1]), "b": fbn.Network.from_indices(space, [1, 4])}
    )
    assert atlas.union().indices.tolist() == [0, 1, 4] and atlas.union().name == "union"
    assert atlas.union(["b"], name="only b").indices.tolist() == [1, 4]
    with pytest.raises(ValueError, match="union of no networks; networks: a, b"):
        atlas.union([])
