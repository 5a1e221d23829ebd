"""Contrasts of maps, unique parts and shared cores against counts made by hand and by simulation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy import stats

import tl_fbn as fbn

SPACE = fbn.UnitSpace("mlp.neurons", (40, 60))


def some_maps(n: int = 4, *, seed: int = 0) -> dict[str, fbn.UnitMap]:
    """A core that all tasks share, and five units of each task's own."""
    rng = np.random.default_rng(seed)
    core = 5 * rng.random(100)
    maps = {}
    for task in range(n):
        values = core + 0.1 * rng.random(100)
        values[10 * task : 10 * task + 5] += 2
        maps[f"t{task}"] = fbn.UnitMap(SPACE, (task + 1) * values, "attribution", {"prompts": [f"p{task}"]})
    return maps


@pytest.mark.parametrize("how", ["difference", "z", "least"])
def test_a_contrast_finds_what_is_a_tasks_own_under_a_shared_core(how: str) -> None:
    maps = some_maps()
    for task, (name, specific) in enumerate(fbn.specific_scores(maps, how).items()):  # type: ignore[arg-type]
        own = set(range(10 * task, 10 * task + 5))
        if how == "z":  # saturates at (n - 1) / sqrt(n), which a lone small difference reaches too
            assert specific.values[sorted(own)].min() > 0.95 * 3 / 2 and specific.values.max() <= 1.5 + 1e-9
        else:
            assert set(specific.top(5).indices) == own
        assert set(maps[name].top(5).indices) != own
        assert specific.provenance["prompts"] == ["p0", "p1", "p2", "p3"]  # the other tasks' prompts had their say


def test_the_formulas() -> None:
    a, b, c = (fbn.UnitMap(SPACE, values, "t") for values in np.random.default_rng(1).random((3, 100)))
    scores = {"a": a, "b": b, "c": c}
    plain = fbn.specific_scores(scores, "difference", scale=None)["a"].values
    assert np.allclose(plain, a.values - (b.values + c.values) / 2)
    assert np.allclose(
        fbn.specific_scores(scores, "least", scale=None)["b"].values, b.values - np.maximum(a.values, c.values)
    )
    stacked = np.array([one.values / one.values.mean() for one in scores.values()])
    z = (stacked[2] - stacked.mean(0)) / stacked.std(0, ddof=1)
    assert np.allclose(fbn.specific_scores(scores, "z", scale="mean")["c"].values, z)
    assert "prompts" not in fbn.specific_scores(scores)["a"].provenance  # unknown stays unknown


def test_ranks_cancel_what_every_task_needs() -> None:
    rng = np.random.default_rng(2)
    values = rng.exponential(size=(2, 100))
    values[:, 7] = 100, 60  # first in both tasks
    values[0, 20] = 9  # second in one, nothing in the other
    values[1, 20] = 0
    maps = {name: fbn.UnitMap(SPACE, one, "attribution") for name, one in zip("ab", values, strict=True)}
    by_size, by_rank = (fbn.specific_scores(maps, "least", scale=scale)["a"] for scale in ("mean", "rank"))
    assert by_size.top(1).indices.tolist() == [7] and by_rank.top(1).indices.tolist() == [20]
    assert by_rank.values[7] == 0
    share = (stats.rankdata(values[0]) - 0.5) / 100
    expected = -np.log(1 - share) + np.log(1 - (stats.rankdata(values[1]) - 0.5) / 100)
    assert np.allclose(by_rank.values, expected)
    with_gap = values.copy()
    with_gap[0, 3] = np.nan
    gapped = {name: fbn.UnitMap(SPACE, one, "attribution") for name, one in zip("ab", with_gap, strict=True)}
    found = fbn.specific_scores(gapped, scale="rank")["a"].values
    assert np.isnan(found[3]) and np.isfinite(np.delete(found, 3)).all()
    with pytest.raises(ValueError, match="scale must be 'mean', 'rms' or 'rank' or None"):
        fbn.specific_scores(maps, scale="no")  # type: ignore[arg-type]


def test_unique_parts_core_and_multiplicity() -> None:
    networks = {
        "a": fbn.Network.from_indices(SPACE, [0, 1, 2, 50], provenance={"prompts": ["x"]}),
        "b": fbn.Network.from_indices(SPACE, [1, 2, 3, 51], provenance={"prompts": ["y"]}),
        "c": fbn.Network.from_indices(SPACE, [2, 3, 4, 51], provenance={"prompts": ["z"]}),
    }
    unique = fbn.networks.task_unique(networks)
    assert [one.indices.tolist() for one in unique.values()] == [[0, 50], [], [4]]
    assert unique["a"].provenance["prompts"] == ["x", "y", "z"]
    assert fbn.networks.shared_core(networks).indices.tolist() == [2]
    core = fbn.networks.shared_core(networks, at_least=2)
    assert core.indices.tolist() == [1, 2, 3, 51] and core.provenance["prompts"] == ["x", "y", "z"]
    table = fbn.networks.multiplicity(networks).table
    assert table["units"].tolist() == [93, 3, 3, 1] and table["expected"].sum() == pytest.approx(100)


def test_the_expected_multiplicity_is_that_of_random_networks() -> None:
    rng = np.random.default_rng(0)
    networks = {name: fbn.UnitMap(SPACE, rng.random(100), "t").top(20 + 5 * i) for i, name in enumerate("abcd")}
    drawn = [
        fbn.networks.multiplicity({name: control for name, (control,) in zip(networks, draw, strict=True)})
        .table["units"]
        .to_numpy()
        for draw in (
            [fbn.matched_controls(one, 1, seed=100 * s + i) for i, one in enumerate(networks.values())]
            for s in range(400)
        )
    ]
    assert np.allclose(np.mean(drawn, axis=0), fbn.networks.multiplicity(networks).table["expected"], atol=0.4)


def test_refusals() -> None:
    maps = some_maps(2)
    with pytest.raises(ValueError, match="at least two tasks; got 1"):
        fbn.specific_scores({"a": maps["t0"]})
    with pytest.raises(ValueError, match="how must be 'difference', 'z' or 'least'; got 'ratio'"):
        inspect.unwrap(fbn.specific_scores)(maps, "ratio")
    with pytest.raises(ValueError, match="the map of 'b' has infinite values, or none other than 0"):
        fbn.specific_scores({"a": maps["t0"], "b": fbn.UnitMap(SPACE, np.zeros(100), "t")})
    with pytest.raises(ValueError, match="at_least=3 of 2 networks"):
        fbn.networks.shared_core({name: one.top(3) for name, one in maps.items()}, at_least=3)
    with pytest.raises(ValueError, match="need at least two networks; got 1"):
        fbn.networks.task_unique({"a": maps["t0"].top(3)})
    other = fbn.UnitMap(fbn.UnitSpace("mlp.neurons", (50, 50)), np.ones(100), "t")
    with pytest.raises(ValueError, match="40"):
        fbn.specific_scores({"a": maps["t0"], "b": other})
